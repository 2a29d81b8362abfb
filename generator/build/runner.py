"""Runs a build: every stage of every job in order, each at most once, and reports on all of them.

A build that was stopped at any moment, by Ctrl-C or a power cut, continues where it was: a stage
counts as finished only once its outputs are whole, hashed and in the ledger.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from vacc_gen.generator.backends.base import (
    BACKEND_STAGES,
    STATE_FOLDER,
    Backend,
    Build,
    Skip,
    Stage,
    Step,
)
from vacc_gen.generator.backends.vamc import kill_children
from vacc_gen.generator.build import preflight
from vacc_gen.generator.build.ledger import Ledger, step_key
from vacc_gen.generator.build.report import Observer, StageRecord, Status, write_report
from vacc_gen.generator.files import check_disk, open_in_place, room_for
from vacc_gen.generator.plan import CompileJob
from vacc_gen.generator.progress import peak_rss_bytes, reset_peak_rss
from vacc_gen.generator.workspace import Workspace
from vacc_gen.schema.errors import StageError, UsageError, VaccGenError, on_one_line
from vacc_gen.schema.precision import Precision

LOCK_FILE = "build.lock"
HOLDER_BYTES = 300


@dataclass(frozen=True)
class BuildOptions:
    until: Stage = Stage.REPORT
    """The last stage to run; later ones are skipped, the report is always written."""
    precisions: tuple[Precision, ...] = ()
    """Which of the recipe's jobs to build; empty: all."""
    force: bool = False
    """Run every stage again, whatever the ledger says."""
    part: Stage | None = None
    """Of a build that is done in parts, the last stage of this one.

    It waits for other builds of the workspace. Unless it fails, the last part alone reports.
    """
    earlier: tuple[StageRecord, ...] = ()
    """What earlier parts did: it is neither done nor checked again."""


@dataclass(frozen=True)
class _Planned:
    stage: Stage
    job: CompileJob
    step: Step | Skip
    name: str
    """What the ledger calls it."""
    key: str


def run_build(
    workspace: Workspace, backend: Backend, options: BuildOptions, observer: Observer
) -> tuple[StageRecord, ...]:
    """Build `workspace` and write its report.json, of a failed build as well.

    A build that was asked for something impossible (exit code 2) leaves the report as it is.

    Raises:
        VaccGenError: a stage failed, or another build holds the workspace.
    """
    lock = workspace.root / STATE_FOLDER / LOCK_FILE
    with build_lock(lock, waits=options.part is not None):
        kill_children(workspace.root)  # which a build that was killed left running
        run = _Run(workspace, backend, options, observer)
        try:
            run.run()
        except OSError as error:
            reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            raise StageError(f"the build failed: {reason}") from error
    return tuple(run.records)


class _Run:
    """One run of a build; `records` grows by one for each stage of each job."""

    def __init__(
        self, workspace: Workspace, backend: Backend, options: BuildOptions, observer: Observer
    ) -> None:
        self.records: list[StageRecord] = list(options.earlier)
        self._workspace, self._backend = workspace, backend
        self._options, self._observer = options, observer
        self._ledger = Ledger(workspace.root)
        self._ran = {r.precision for r in options.earlier if r.status is Status.DONE}

    def run(self) -> None:
        try:
            with self._stage(Stage.PREFLIGHT) as record:
                planned = self._preflight(record)
            with room_for(self._workspace.root, self._needed_bytes(planned)):
                for step in planned:
                    with self._stage(step.stage, step.job.precision) as record:
                        self._take(step, record)
        except BaseException as error:
            if self.records and self.records[-1].status is not Status.FAILED:
                _fail(self.records[-1], error)  # between two stages
            if getattr(error, "exit_code", None) != UsageError.exit_code:
                with suppress(OSError):  # what went wrong first is what is reported
                    self._report()
            raise
        if self._options.part in (None, self._options.until):
            self._report()

    @contextmanager
    def _stage(self, stage: Stage, precision: Precision | None = None) -> Iterator[StageRecord]:
        """Time a stage; what the block leaves in its record is kept and shown."""
        record = StageRecord(stage, precision)
        self._observer.stage_started(stage, precision)
        reset_peak_rss()
        started = time.monotonic()
        try:
            yield record
        except BaseException as error:
            _fail(record, error)
            raise
        finally:
            if record.status is not Status.SKIPPED:
                record.seconds = record.seconds or time.monotonic() - started
                record.peak_rss_bytes = max(record.peak_rss_bytes, peak_rss_bytes())
            is_known = (stage, precision) in [(r.stage, r.precision) for r in self.records]
            if record.status is Status.FAILED or not is_known:
                self.records.append(record)
                self._observer.stage_finished(record)

    def _preflight(self, record: StageRecord) -> list[_Planned]:
        """Check everything that can be checked at once, and decide every step."""
        workspace, backend = self._workspace, self._backend
        jobs, notes = preflight.select_jobs(workspace.plan.jobs, self._options.precisions, backend)
        weights, warnings = preflight.check_weights(workspace, backend)
        notes += [*warnings, *preflight.check_files(workspace)]
        preflight.check_configs(workspace, jobs)
        build = Build(workspace.root, workspace.plan, jobs, weights, self._ledger.digest)
        notes += backend.check(build)
        planned = self._plan(build)
        check_disk(workspace.root, self._needed_bytes(planned))
        record.details = {"notes": notes} if notes else {}
        return planned

    def _plan(self, build: Build) -> list[_Planned]:
        """The steps of this part in order. Keys depend on inputs alone: none needs to have run."""
        planned: list[_Planned] = []
        keys: dict[Precision, list[str]] = {job.precision: [] for job in build.jobs}
        earlier = {(record.stage, record.precision) for record in self._options.earlier}
        order, until, part = list(Stage).index, self._options.until, self._options.part
        for stage in BACKEND_STAGES:
            if part not in (None, until) and order(stage) > order(part):
                break
            for job in build.jobs:
                step: Step | Skip = Skip(f"the build was to end with {until.value}")
                if order(stage) <= order(until):
                    step = self._backend.step(stage, job, build)
                name, key = f"{stage.value} {job.name}", ""
                if isinstance(step, Step):
                    key = step_key(name, step.inputs, keys[job.precision])
                    keys[job.precision].append(key)
                if (stage, job.precision) not in earlier:
                    planned.append(_Planned(stage, job, step, name, key))
        return planned

    def _needed_bytes(self, planned: list[_Planned]) -> int:
        """Disk that the steps that will run take at most at one time."""
        to_run = [p.step for p in planned if isinstance(p.step, Step) and not self._reusable(p)]
        temporary = max((step.temporary_bytes for step in to_run), default=0)
        return sum(step.writes_bytes for step in to_run) + temporary

    def _reusable(self, planned: _Planned) -> StageRecord | None:
        step, is_upstream_new = planned.step, planned.job.precision in self._ran
        if self._options.force or is_upstream_new or isinstance(step, Skip):
            return None
        return self._ledger.reusable(planned.name, planned.key, step.moved_to)

    def _take(self, planned: _Planned, record: StageRecord) -> None:
        """Run, reuse or skip one step."""
        step = planned.step
        if isinstance(step, Skip):
            record.status, record.reason = Status.SKIPPED, step.reason
            return
        if known := self._reusable(planned):
            record.status, record.outputs = Status.REUSED, known.outputs
            record.details = {**known.details, "made_in_seconds": round(known.seconds, 3)}
            return
        self._ledger.forget(planned.name)
        self._ran.add(planned.job.precision)
        started = time.monotonic()
        outcome = step.run(self._observer)
        record.outputs = tuple(self._ledger.output(file) for file in outcome.files)
        record.seconds = time.monotonic() - started
        record.peak_rss_bytes = outcome.child_peak_rss_bytes
        record.details, record.reason = outcome.details, outcome.failure
        if outcome.failure is not None:
            where = f"{planned.stage.value} of {planned.job.name}"
            raise StageError(f"{where} failed: {outcome.failure}")
        # Before the observer hears of it: it may stop us and rely on the stage being done.
        self._ledger.keep(planned.name, planned.key, record)

    def _report(self) -> None:
        with self._stage(Stage.REPORT) as record:
            record.peak_rss_bytes = peak_rss_bytes()
            records = [*self.records, record]
            write_report(self._workspace.root, self._workspace.plan, self._backend.name, records)


@contextmanager
def build_lock(file: Path, waits: bool = False) -> Iterator[None]:
    """Hold `file` for as long as the context lasts; the kernel frees it if the process dies.

    Raises:
        StageError: another build holds it, which we do not wait for; the message names its process.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with open_in_place(file) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
        except BlockingIOError:
            lock.seek(0)
            holder = on_one_line(lock.read(HOLDER_BYTES).decode(errors="replace").strip())
            problem = f"another build runs in this workspace ({holder})"
            raise StageError(problem, "wait for it to end, or stop it") from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        lock.flush()
        yield


def _fail(record: StageRecord, error: BaseException) -> None:
    reason = f"{type(error).__name__}: {error}"
    if isinstance(error, KeyboardInterrupt | SystemExit):
        reason = "interrupted"
    elif isinstance(error, VaccGenError | OSError):
        reason = str(error)
    # A skipped stage has a reason of its own, and may be interrupted as it is shown.
    known = None if record.status is Status.SKIPPED else record.reason
    record.status, record.reason = Status.FAILED, known or reason
    if hint := getattr(error, "hint", None):
        record.details = {**record.details, "hint": hint}
