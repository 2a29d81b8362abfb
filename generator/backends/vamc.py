"""The vendor's compiler, run as a program. It reads the checkpoint and does its own export."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from vacc_gen.generator.backends.base import Build, Outcome, Skip, Stage, Step
from vacc_gen.generator.plan import CompileJob, needs_large_stack, quantizes_first
from vacc_gen.generator.progress import Progress
from vacc_gen.schema.errors import StageError
from vacc_gen.schema.precision import EMBEDDED_ONLY, Precision

EXECUTABLE = "vamc"
SHOWN_LOG_LINES = 15
LARGE_STACK = {"VACC_STACK_SIZE": "256"}
POLL_SECONDS = 0.1
TAIL_BYTES = 64 << 10
CONTROL_CODES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[@-Z\\-_])")

SKIPPED = {
    Stage.CALIBRATE: "vamc reads the calibration set itself",
    Stage.EXPORT: "vamc reads the checkpoint",
    Stage.VERIFY: "only the card can run the compiled model",
}


class Vamc:
    """Runs `vamc quant` and `vamc compile` in the workspace."""

    name = "vamc"
    precisions = frozenset(Precision) - EMBEDDED_ONLY

    def check(self, build: Build) -> tuple[str, ...]:
        """Refuse a machine without vamc; note files that the weight folder still lacks.

        Raises:
            StageError: there is no `vamc` on the PATH.
        """
        if shutil.which(EXECUTABLE) is None:
            raise StageError(
                "vamc, the vendor's compiler, is not on the PATH",
                "activate the environment that it is installed in, or build with "
                "--backend onnxruntime",
            )
        wanted = build.plan.preset.beside_weights()
        missing = [name for name in wanted if not (build.weights.path / name).is_file()]
        if not missing:
            return ()
        return (f"{build.weights.path} lacks {', '.join(missing)}: run scripts/prepare.sh",)

    def step(self, stage: Stage, job: CompileJob, build: Build) -> Step | Skip:
        """`vamc quant` where the recipe asks for it, then `vamc compile`."""
        if stage in SKIPPED:
            return Skip(SKIPPED[stage])
        if stage is Stage.QUANTIZE and not quantizes_first(build.plan, job):
            return Skip("vamc compile does it")
        verb = "quant" if stage is Stage.QUANTIZE else "compile"
        # A vision tower is compiled right after the one job of its language model.
        tower = build.plan.tower if verb == "compile" else None
        parts = (job,) if tower is None else (job, tower)
        inputs = {
            "config": [(build.root / p.config_path).read_text(encoding="utf-8") for p in parts],
            "checkpoint": build.checkpoint_key,
            "compiler": _compiler_identity(),
        }
        return Step(inputs, lambda progress: _run_all(verb, parts, build, progress))


def output_dir(job: CompileJob, build: Build) -> Path:
    """Where the compile config on disk, which may have been edited, says that the model goes."""
    config = yaml.safe_load((build.root / job.config_path).read_text(encoding="utf-8"))
    return Path(build.root, config["workspace"]["path"], config["name"])


def compiled_files(folder: Path, since_ns: int) -> tuple[Path, ...]:
    """All files of every `mod*` in `folder`, or none if all are empty or older than `since_ns`.

    A language model may have one folder for each length and rank in between
    (`prefill_1024_rank0/mod*`).
    """
    modules = [*folder.glob("mod*"), *folder.glob("prefill_*/mod*"), *folder.glob("decode_*/mod*")]
    files = [
        file
        for module in modules
        for file in (module.rglob("*") if module.is_dir() else [module])
        if file.is_file()
    ]
    fresh = any(s.st_size and s.st_mtime_ns >= since_ns for s in (file.stat() for file in files))
    return tuple(sorted(files)) if fresh else ()


def _run_all(verb: str, parts: Sequence[CompileJob], build: Build, progress: Progress) -> Outcome:
    outcomes = [_run(verb, part, build, progress) for part in parts]
    return Outcome(
        tuple(file for outcome in outcomes for file in outcome.files),
        details=outcomes[0].details,
        child_peak_rss_bytes=max(outcome.child_peak_rss_bytes for outcome in outcomes),
    )


def _run(verb: str, job: CompileJob, build: Build, progress: Progress) -> Outcome:
    log = build.state_dir / "logs" / f"{job.name}.{verb}.log"
    command = f"{EXECUTABLE} {verb} {job.config_path}"
    progress.start(command)
    since_ns = int(time.time()) * 10**9  # whole seconds: some file systems keep no finer times
    environment = {**(LARGE_STACK if needs_large_stack(build.plan) else {}), **os.environ}
    ended = run_logged(
        [EXECUTABLE, verb, str(job.config_path)], build.root, environment, log, progress.say
    )
    if ended.exit_code != 0:
        raise StageError(_failure(command, ended.exit_code, log), f"the whole log is in {log}")
    files: tuple[Path, ...] = ()
    if verb == "compile":
        folder = output_dir(job, build)
        files = compiled_files(folder, since_ns)
        if not files:
            raise StageError(
                f"{command} exited 0 but compiled nothing: no new mod* in {folder}",
                f"its log is in {log}",
            )
    details = {"log": log.relative_to(build.root).as_posix()}
    return Outcome(files, details, ended.peak_rss_bytes)


def _failure(command: str, exit_code: int, log: Path) -> str:
    ended = f"was killed by signal {-exit_code}" if exit_code < 0 else f"exited {exit_code}"
    tail = [f"  {line}" for line in last_lines(log, SHOWN_LOG_LINES)]
    output = ["; the end of its log:", *tail] if tail else [" without any output"]
    return f"{command} {ended}" + "\n".join(output)


def _compiler_identity() -> str:
    """Which vamc it is, without running it: the program's path, size and time."""
    path = Path(shutil.which(EXECUTABLE) or EXECUTABLE).resolve()
    status = path.stat()
    return f"{path} {status.st_size} {status.st_mtime_ns}"


# --- a child process with a log -------------------------------------------------------------


@dataclass(frozen=True)
class Ended:
    """How a child process ended; `exit_code` is negative where a signal ended it."""

    exit_code: int
    peak_rss_bytes: int
    """Of the largest of the child and the processes that it waited for."""


def run_logged(
    command: Sequence[str],
    cwd: Path,
    env: Mapping[str, str],
    log: Path,
    say: Callable[[str], None],
    grace_seconds: float = 10.0,
) -> Ended:
    """Run `command` with its output in `log`, and `say` the log's last line as it changes.

    The child gets a process group of its own, so that a signal reaches its workers too. When
    we are interrupted (KeyboardInterrupt) the group gets SIGINT, and SIGTERM when anything else
    ends us; what still runs after `grace_seconds` is killed, and the exception goes on.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    child = None
    try:
        with log.open("wb") as output, _signals_held():
            child = subprocess.Popen(
                command,
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return _wait(child, log, say)
    except BaseException as error:
        number = signal.SIGINT if isinstance(error, KeyboardInterrupt) else signal.SIGTERM
        if child is not None:
            _stop(child, number, grace_seconds)
        raise


def last_lines(log: Path, count: int) -> list[str]:
    """The last lines of a log as a reader would see them: no control codes, no empty lines."""
    with log.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - TAIL_BYTES))
        text = CONTROL_CODES.sub("", stream.read().decode("utf-8", errors="replace"))
    lines = ("".join(filter(str.isprintable, line)).strip() for line in re.split(r"[\r\n]+", text))
    return [line for line in lines if line][-count:]


@contextmanager
def _signals_held() -> Iterator[None]:
    """Deliver signals that arrive inside at the end, so that no started child is lost track of."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals reach the main thread only
        return
    arrived: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, _frame: arrived.append(number))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for missed in arrived:
        signal.raise_signal(missed)


def _wait(child: subprocess.Popen[bytes], log: Path, say: Callable[[str], None]) -> Ended:
    shown = ""
    while True:
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        line = next(iter(last_lines(log, 1)), "")
        if line != shown:
            shown = line
            say(line)
        if pid:
            child.returncode = os.waitstatus_to_exitcode(status)  # wait4 took it from Popen
            unit = 1 if sys.platform == "darwin" else 1024
            return Ended(child.returncode, usage.ru_maxrss * unit)
        time.sleep(POLL_SECONDS)


def _stop(child: subprocess.Popen[bytes], number: signal.Signals, grace_seconds: float) -> None:
    """Ask the group to end, wait, and kill what is left; a second Ctrl-C cuts the wait short."""
    try:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with suppress(subprocess.TimeoutExpired):
            child.wait(grace_seconds)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
