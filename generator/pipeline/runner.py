"""Runs a build: every stage of every job in order, each at most once, and reports on all of them.

A build that was stopped at any moment, by Ctrl-C or the power, goes on where it was: a stage
counts as finished only once its outputs are whole, hashed and in the ledger.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from vacc_gen.generator.backends.base import (
    BACKEND_STAGES,
    Backend,
    Build,
    Outcome,
    Skip,
    Stage,
    Step,
)
from vacc_gen.generator.pipeline import preflight
from vacc_gen.generator.pipeline.ledger import LEDGER_FILE, Entry, Ledger, step_key
from vacc_gen.generator.pipeline.lock import build_lock
from vacc_gen.generator.pipeline.memory import peak_rss_bytes, reset_peak_rss
from vacc_gen.generator.pipeline.progress import Progress
from vacc_gen.generator.pipeline.report import StageRecord, Status, write_report
from vacc_gen.generator.plan import CompileJob
from vacc_gen.generator.workspace import Workspace
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

    Raises:
        VaccGenError: a stage failed, or another build holds the workspace.
    """
    state_dir = workspace.root / ".vacc-gen"
    with build_lock(state_dir / LOCK_FILE):
        run = _Run(workspace, backend, options, observer)
        try:
            for planned in run.preflight():
                run.take(planned)
        finally:
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

    def preflight(self) -> list[_Planned]:
        """Check everything that can be checked at once, and decide every step."""
        planned: list[_Planned] = []

        def check() -> StageRecord:
            jobs = preflight.select_jobs(self._workspace.plan.jobs, self._options.precisions)
            build = preflight.check_build(self._workspace, jobs, self._ledger.digest)
            notes = [*preflight.notes(self._workspace), *self._backend.check(build)]
            planned.extend(self._plan(build))
            writes_bytes = sum(
                one.step.writes_bytes
                for one in planned
                if isinstance(one.step, Step) and self._reusable(one) is None
            )
            preflight.check_disk(self._workspace.root, writes_bytes)
            details = {"notes": notes} if notes else {}
            return StageRecord(Stage.PREFLIGHT, None, Status.DONE, details=details)

        self._measured(Stage.PREFLIGHT, None, check)
        return planned

    def take(self, planned: _Planned) -> None:
        """Run, reuse or skip one step.

        Raises:
            VaccGenError: it failed.
        """
        stage, job, step = planned.stage, planned.job, planned.step
        if isinstance(step, Skip):
            self._finished(StageRecord(stage, job.precision, Status.SKIPPED, reason=step.reason))
            return

        def reuse_or_run() -> StageRecord:
            entry = self._reusable(planned)
            if entry is not None:
                return StageRecord(
                    stage,
                    job.precision,
                    Status.REUSED,
                    outputs=entry.outputs,
                    details={**entry.details, "made_in_seconds": round(entry.seconds, 3)},
                )
            self._ledger.forget(stage, job.name)
            self._ran_keys.add(planned.key)
            outcome = step.run(self._observer)
            return self._record(planned, outcome)

        record = self._measured(stage, job.precision, reuse_or_run)
        if record.status is Status.FAILED:
            raise StageError(f"{stage.value} of {job.name} failed: {record.reason}")
        if record.status is Status.DONE:
            self._ledger.record(
                stage,
                job.name,
                Entry(
                    planned.key,
                    record.seconds,
                    record.peak_rss_bytes,
                    record.outputs,
                    record.details,
                ),
            )

    def report(self) -> None:
        """Write report.json, with what there is to tell."""

        def write() -> StageRecord:
            peak = peak_rss_bytes()
            done = StageRecord(Stage.REPORT, None, Status.DONE, peak_rss_bytes=peak)
            write_report(self._workspace.root, self._backend.name, [*self.records, done])
            return done

        self._measured(Stage.REPORT, None, write)

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

    def _record(self, planned: _Planned, outcome: Outcome) -> StageRecord:
        return StageRecord(
            planned.stage,
            planned.job.precision,
            Status.FAILED if outcome.failure else Status.DONE,
            peak_rss_bytes=outcome.child_peak_rss_bytes,
            reason=outcome.failure,
            outputs=self._ledger.outputs(outcome.files),
            details=outcome.details,
        )

    def _measured(
        self, stage: Stage, precision: Precision | None, work: Callable[[], StageRecord]
    ) -> StageRecord:
        """Run `work`, and add to its record what it cost, however it ends."""
        self._observer.stage_started(stage, precision)
        reset_peak_rss()
        started = time.monotonic()
        record = StageRecord(stage, precision, Status.FAILED)
        try:
            record = work()
        except VaccGenError as error:
            record = dataclasses.replace(record, reason=error.message)
            raise
        except OSError as error:
            record = dataclasses.replace(record, reason=str(error))
            raise StageError(f"{stage.value} failed: {error}") from error
        except BaseException as error:
            stopped = isinstance(error, KeyboardInterrupt | SystemExit)
            reason = "interrupted" if stopped else f"{type(error).__name__}: {error}"
            record = dataclasses.replace(record, reason=reason)
            raise
        finally:
            peak = max(record.peak_rss_bytes, peak_rss_bytes())
            seconds = time.monotonic() - started
            record = dataclasses.replace(record, seconds=seconds, peak_rss_bytes=peak)
            self._finished(record)
        return record

    def _finished(self, record: StageRecord) -> None:
        self.records.append(record)
        self._observer.stage_finished(record)
