"""Runs a build: every stage of every job in order, each at most once, and reports on all of them.

A build that was stopped at any moment, by Ctrl-C or a power cut, continues where it was: a stage
counts as finished only once its outputs are whole, hashed and in the ledger.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from vacc_gen.generator.backends.base import (
    BACKEND_STAGES,
    STATE_FOLDER,
    Backend,
    Build,
    Skip,
    Stage,
    Step,
)
from vacc_gen.generator.backends.vamc import MARK
from vacc_gen.generator.build import preflight
from vacc_gen.generator.build.ledger import LEDGER_FILE, Entry, Ledger, step_key
from vacc_gen.generator.build.report import StageRecord, Status, write_report
from vacc_gen.generator.files import check_disk, open_in_place, room_for
from vacc_gen.generator.plan import CompileJob
from vacc_gen.generator.progress import Progress, SilentProgress, peak_rss_bytes, reset_peak_rss
from vacc_gen.generator.workspace import Workspace
from vacc_gen.schema.errors import StageError, VaccGenError, on_one_line
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
    earlier: tuple[StageRecord, ...] = ()
    """What earlier parts of this build did: it is neither done nor checked again."""
    is_last_part: bool = True
    """Whether the build ends with `until`. Another part writes no report, unless it fails."""
    waits: bool = False
    """Whether to wait for another build of the workspace, rather than fail."""


class Observer(Progress, Protocol):
    """A `Progress` that is also notified when stages begin and end."""

    def stage_started(self, stage: Stage, precision: Precision | None) -> None: ...

    def stage_finished(self, record: StageRecord) -> None: ...


class SilentObserver(SilentProgress):
    """An `Observer` that shows nothing."""

    def stage_started(self, stage: Stage, precision: Precision | None) -> None: ...

    def stage_finished(self, record: StageRecord) -> None: ...


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
    with build_lock(workspace.root / STATE_FOLDER / LOCK_FILE, options.waits):
        _end_orphans(workspace.root)
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
        self._ledger = Ledger(workspace.root, workspace.root / STATE_FOLDER / LEDGER_FILE)
        self._earlier = {(record.stage, record.precision): record for record in options.earlier}
        self._ran = {r.precision for r in options.earlier if r.status is Status.DONE}
        self._running: tuple[Stage, Precision | None] | None = None
        self._started = 0.0

    def run(self) -> None:
        try:
            planned = self._preflight()
            with room_for(self._workspace.root, self._needed_bytes(planned)):
                for step in planned:
                    self._take(step)
        except BaseException as error:
            if self._running is not None:
                hint = getattr(error, "hint", None)
                details = {"hint": hint} if hint else {}
                self._end(Status.FAILED, reason=_reason(error), details=details)
            if not (isinstance(error, VaccGenError) and error.exit_code == 2):
                with suppress(OSError):  # what went wrong first is what is reported
                    self._report()
            raise
        if self._options.is_last_part:
            self._report()

    def _preflight(self) -> list[_Planned]:
        """Check everything that can be checked at once, and decide every step."""
        self._begin(Stage.PREFLIGHT, None)
        workspace, backend = self._workspace, self._backend
        jobs, notes = preflight.select_jobs(workspace.plan.jobs, self._options.precisions, backend)
        weights, warnings = preflight.check_weights(workspace, backend)
        notes += [*warnings, *preflight.check_files(workspace)]
        preflight.check_configs(workspace, jobs)
        build = Build(workspace.root, workspace.plan, jobs, weights, self._ledger.digest)
        notes += backend.check(build)
        planned = self._plan(build)
        check_disk(workspace.root, self._needed_bytes(planned))
        self._end(Status.DONE, details={"notes": notes} if notes else {})
        return planned

    def _needed_bytes(self, planned: list[_Planned]) -> int:
        """Disk that the steps that will run take at most at one time."""
        to_run = [p.step for p in planned if isinstance(p.step, Step) and not self._reusable(p)]
        temporary = max((step.temporary_bytes for step in to_run), default=0)
        return sum(step.writes_bytes for step in to_run) + temporary

    def _take(self, planned: _Planned) -> None:
        """Run, reuse or skip one step."""
        step = planned.step
        self._begin(planned.stage, planned.job.precision)
        if isinstance(step, Skip):
            self._end(Status.SKIPPED, reason=step.reason)
        elif entry := self._reusable(planned):
            details = {**entry.details, "made_in_seconds": round(entry.seconds, 3)}
            self._end(Status.REUSED, outputs=entry.outputs, details=details)
        else:
            self._execute(planned, step)

    def _execute(self, planned: _Planned, step: Step) -> None:
        self._ledger.forget(planned.name)
        self._ran.add(planned.job.precision)
        outcome = step.run(self._observer)
        record = self._record(
            Status.FAILED if outcome.failure else Status.DONE,
            outcome.child_peak_rss_bytes,
            reason=outcome.failure,
            outputs=tuple(self._ledger.output(file) for file in outcome.files),
            details=outcome.details,
        )
        if outcome.failure is None:
            # Before the observer hears of it: it may stop us and rely on the stage being done.
            entry = Entry(planned.key, record.seconds, record.outputs, record.details)
            self._ledger.record(planned.name, entry)
        self._finish(record)
        if outcome.failure is not None:
            where = f"{planned.stage.value} of {planned.job.name}"
            raise StageError(f"{where} failed: {outcome.failure}")

    def _report(self) -> None:
        self._begin(Stage.REPORT, None)
        records = [*self.records, self._record(Status.DONE)]
        write_report(self._workspace.root, self._workspace.plan, self._backend.name, records)
        self._end(Status.DONE)

    def _plan(self, build: Build) -> list[_Planned]:
        """The steps of this part in order. Keys depend on inputs alone: none needs to have run."""
        planned: list[_Planned] = []
        keys: dict[Precision, list[str]] = {job.precision: [] for job in build.jobs}
        last = self._options.until
        later = list(Stage)[list(Stage).index(last) + 1 :]
        for stage in BACKEND_STAGES:
            for job in build.jobs:
                step: Step | Skip = Skip(f"the build was to end with {last.value}")
                if stage not in later:
                    step = self._backend.step(stage, job, build)
                name, key = f"{stage.value} {job.name}", ""
                if isinstance(step, Step):
                    key = step_key(name, step.inputs, keys[job.precision])
                    keys[job.precision].append(key)
                is_of_later_part = stage in later and not self._options.is_last_part
                if (stage, job.precision) not in self._earlier and not is_of_later_part:
                    planned.append(_Planned(stage, job, step, name, key))
        return planned

    def _reusable(self, planned: _Planned) -> Entry | None:
        step, is_upstream_new = planned.step, planned.job.precision in self._ran
        if self._options.force or is_upstream_new or isinstance(step, Skip):
            return None
        return self._ledger.reusable(planned.name, planned.key, step.moved_to)

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
        seconds = time.monotonic() - self._started
        peak = max(child_peak_rss_bytes, peak_rss_bytes())
        return StageRecord(*self._running, status, seconds, peak, **facts)

    def _end(self, status: Status, **facts: Any) -> None:
        self._finish(self._record(status, **facts))

    def _finish(self, record: StageRecord) -> None:
        if record.status is Status.FAILED or (record.stage, record.precision) not in self._earlier:
            self._observer.stage_finished(record)
            self.records.append(record)
        self._running = None


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


def _end_orphans(root: Path) -> None:
    """Kill what a build that was killed left running in `root`, whose lock we hold (Linux)."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            is_child = f"{MARK}=".encode() in (process / "environ").read_bytes()
            if is_child and (process / "cwd").resolve() == root.resolve():
                os.kill(int(process.name), signal.SIGKILL)


def _reason(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return "interrupted"
    known = isinstance(error, VaccGenError | OSError)
    return str(error) if known else f"{type(error).__name__}: {error}"
