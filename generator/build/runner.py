"""Runs a build: every stage of every job in order, each at most once, and reports on all of them.

A build that was stopped at any moment, by Ctrl-C or the power, goes on where it was: a stage
counts as finished only once its outputs are whole, hashed and in the ledger.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Protocol

from vacc_gen.generator.backends.base import (
    BACKEND_STAGES,
    Backend,
    Build,
    Skip,
    Stage,
    Step,
)
from vacc_gen.generator.build import preflight
from vacc_gen.generator.build.ledger import LEDGER_FILE, Entry, Ledger, step_key
from vacc_gen.generator.build.lock import build_lock
from vacc_gen.generator.build.memory import peak_rss_bytes, reset_peak_rss
from vacc_gen.generator.build.report import StageRecord, Status, write_report
from vacc_gen.generator.plan import CompileJob, model_name
from vacc_gen.generator.progress import Progress
from vacc_gen.generator.workspace.workspace import Workspace
from vacc_gen.schema.errors import StageError, VaccGenError
from vacc_gen.schema.precision import Precision

LOCK_FILE = "build.lock"


@dataclass(frozen=True)
class BuildOptions:
    """What the command line may ask of a build."""

    until: Stage = Stage.REPORT
    """The last stage to run; later ones are skipped, the report is always written."""
    precisions: tuple[Precision, ...] = ()
    """Which of the recipe's jobs to build; empty: all."""
    force: bool = False
    """Run every stage again, whatever the ledger says."""


class Observer(Progress, Protocol):
    """A `Progress` that also hears of stages beginning and ending."""

    def stage_started(self, stage: Stage, precision: Precision | None) -> None:
        """A stage begins."""

    def stage_finished(self, record: StageRecord) -> None:
        """A stage ended, in whatever way."""


@dataclass(frozen=True)
class _Planned:
    """A stage of a job, and the key under which its result is kept."""

    stage: Stage
    job: CompileJob
    step: Step | Skip
    key: str
    upstream: frozenset[str]


def run_build(
    workspace: Workspace, backend: Backend, options: BuildOptions, observer: Observer
) -> tuple[StageRecord, ...]:
    """Build `workspace` and write its report.json, which tells of a failed build as well.

    A build that was asked for what cannot be (exit code 2) leaves the report as it is.

    Raises:
        VaccGenError: a stage failed, or another build holds the workspace.
    """
    state_dir = workspace.root / ".vacc-gen"
    with build_lock(state_dir / LOCK_FILE):
        run = _Run(workspace, backend, options, observer)
        try:
            for planned in run.preflight():
                run.take(planned)
        except BaseException as error:
            run.fail(error)
            if not (isinstance(error, VaccGenError) and error.exit_code == 2):
                run.report()
            if isinstance(error, OSError):
                raise StageError(f"the build failed: {error}") from error
            raise
        run.report()
    return tuple(run.records)


class _Run:
    """One run of a build; `records` grows by one for each stage of each job."""

    def __init__(
        self, workspace: Workspace, backend: Backend, options: BuildOptions, observer: Observer
    ) -> None:
        self.records: list[StageRecord] = []
        self._workspace = workspace
        self._backend = backend
        self._options = options
        self._observer = observer
        self._ledger = Ledger(workspace.root, workspace.root / ".vacc-gen" / LEDGER_FILE)
        self._ran_keys: set[str] = set()
        self._running: tuple[Stage, Precision | None] | None = None
        self._started = 0.0

    def preflight(self) -> list[_Planned]:
        """Check everything that can be checked at once, and decide every step."""
        self._begin(Stage.PREFLIGHT, None)
        jobs = preflight.select_jobs(self._workspace.plan.jobs, self._options.precisions)
        build = preflight.check_build(self._workspace, jobs, self._ledger.digest)
        notes = [*preflight.notes(self._workspace), *self._backend.check(build)]
        planned = self._plan(build)
        writes_bytes = sum(
            one.step.writes_bytes
            for one in planned
            if isinstance(one.step, Step) and self._reusable(one) is None
        )
        preflight.check_disk(self._workspace.root, writes_bytes)
        self._end(Status.DONE, details={"notes": notes} if notes else {})
        return planned

    def take(self, planned: _Planned) -> None:
        """Run, reuse or skip one step.

        Raises:
            VaccGenError: it failed.
        """
        stage, job, step = planned.stage, planned.job, planned.step
        self._begin(stage, job.precision)
        if isinstance(step, Skip):
            self._end(Status.SKIPPED, reason=step.reason)
        elif entry := self._reusable(planned):
            details = {**entry.details, "made_in_seconds": round(entry.seconds, 3)}
            self._end(Status.REUSED, outputs=entry.outputs, details=details)
        else:
            self._ledger.forget(stage, job.name)
            self._ran_keys.add(planned.key)
            outcome = step.run(self._observer)
            record = self._record(
                Status.FAILED if outcome.failure else Status.DONE,
                outcome.child_peak_rss_bytes,
                reason=outcome.failure,
                outputs=self._ledger.outputs(outcome.files),
                details=outcome.details,
            )
            if outcome.failure is None:
                # Before it is told: who hears that it is done may stop us and rely on it.
                self._ledger.record(stage, job.name, _entry(planned.key, record))
            self._told(record)
            if outcome.failure is not None:
                raise StageError(f"{stage.value} of {job.name} failed: {outcome.failure}")

    def fail(self, error: BaseException) -> None:
        """End the stage that runs, if one does, with what went wrong in it."""
        if self._running is not None:
            self._end(Status.FAILED, reason=_reason(error))

    def report(self) -> None:
        """Write report.json, with what there is to tell.

        Raises:
            StageError: it cannot be written.
        """
        self._begin(Stage.REPORT, None)
        records = [*self.records, self._record(Status.DONE)]
        plan = self._workspace.plan
        model = model_name(plan.recipe, plan.preset)
        try:
            write_report(self._workspace.root, model, self._backend.name, records)
        except OSError as error:
            self.fail(error)
            raise StageError(
                f"cannot write the report in {self._workspace.root}: {error.strerror}"
            ) from error
        self._end(Status.DONE)

    def _plan(self, build: Build) -> list[_Planned]:
        """All steps in order. Keys depend on inputs alone, so none needs to have run."""
        planned: list[_Planned] = []
        keys: dict[tuple[Stage, Precision], str] = {}
        for stage in BACKEND_STAGES:
            for job in build.jobs:
                step = self._step(stage, job, build)
                key, upstream = "", frozenset[str]()
                if isinstance(step, Step):
                    own = [key for (_, p), key in keys.items() if p is job.precision]
                    others = [keys[other] for other in step.after if other in keys]
                    upstream = frozenset(own + others)
                    key = step_key(stage, job.name, step.inputs, own + others)
                    keys[stage, job.precision] = key
                planned.append(_Planned(stage, job, step, key, upstream))
        return planned

    def _step(self, stage: Stage, job: CompileJob, build: Build) -> Step | Skip:
        order = list(Stage)
        if order.index(stage) > order.index(self._options.until):
            return Skip(f"the build was to end with {self._options.until.value}")
        return self._backend.step(stage, job, build)

    def _reusable(self, planned: _Planned) -> Entry | None:
        step = planned.step
        if self._options.force or planned.upstream & self._ran_keys or isinstance(step, Skip):
            return None
        return self._ledger.reusable(planned.stage, planned.job.name, planned.key, step.moved_to)

    def _begin(self, stage: Stage, precision: Precision | None) -> None:
        self._running = (stage, precision)
        self._observer.stage_started(stage, precision)
        reset_peak_rss()
        self._started = time.monotonic()

    def _record(self, status: Status, child_peak_rss_bytes: int = 0, **facts: Any) -> StageRecord:
        """The running stage as it stands; a stage that is skipped costs nothing."""
        assert self._running is not None
        if status is Status.SKIPPED:
            return StageRecord(*self._running, status, **facts)
        return StageRecord(
            *self._running,
            status,
            seconds=time.monotonic() - self._started,
            peak_rss_bytes=max(child_peak_rss_bytes, peak_rss_bytes()),
            **facts,
        )

    def _end(self, status: Status, **facts: Any) -> None:
        self._told(self._record(status, **facts))

    def _told(self, record: StageRecord) -> None:
        self._observer.stage_finished(record)
        self.records.append(record)
        self._running = None


def _entry(key: str, record: StageRecord) -> Entry:
    cost = (record.seconds, record.peak_rss_bytes)
    return Entry(key, *cost, outputs=record.outputs, details=record.details)


def _reason(error: BaseException) -> str:
    if isinstance(error, VaccGenError):
        return error.message
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return "interrupted"
    return str(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
