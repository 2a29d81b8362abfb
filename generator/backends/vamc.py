"""The vendor's compiler, run as a program. It reads the checkpoint and does its own export."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import yaml

from vacc_gen.generator.backends.base import STATE_FOLDER, Build, Outcome, Skip, Stage, Step
from vacc_gen.generator.emit.files import SOURCE_FOLDER
from vacc_gen.generator.files import open_in_place
from vacc_gen.generator.plan import CompileJob, needs_large_stack, quantizes_first
from vacc_gen.generator.progress import Progress
from vacc_gen.schema.errors import StageError, shell_command
from vacc_gen.schema.precision import EMBEDDED_ONLY, Precision

EXECUTABLE = "vamc"
SHOWN_LOG_LINES = 15
LARGE_STACK = {"VACC_STACK_SIZE": "256"}
POLL_SECONDS = 0.1
END_SECONDS = 0.5
"""For a compiler to end by itself."""
TAIL_BYTES = 64 << 10
LOG_BYTES = 64 << 20
"""Of a longer log half of that is kept, and its last `TAIL_BYTES`."""
LINE = 500
"""Characters of a line that are shown."""
MARK = "VACC_GEN_CHILD"
"""A variable with the workspace, by which everything that the compiler started is found."""
KILL_ROUNDS = 50
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
    falcon_only = False

    def check(self, build: Build) -> tuple[str, ...]:
        """Refuse a machine without vamc; put the code that it loads beside the weights."""
        if shutil.which(EXECUTABLE) is None:
            raise StageError(
                "vamc, the vendor's compiler, is not on the PATH",
                "activate the environment that it is installed in, or build with "
                "--backend onnxruntime",
            )
        folder, wanted = build.weights.path, build.plan.preset.beside_weights()
        if not all((folder / name).is_file() for name in wanted):
            return _prepare(build.root)
        ours = ((folder / name, build.root / SOURCE_FOLDER / name) for name in wanted)
        return tuple(
            f"{placed} differs from the workspace's: scripts/prepare.sh --force replaces it"
            for placed, source in ours
            if source.is_file() and source.read_bytes() != placed.read_bytes()
        )

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
        program = Path(shutil.which(EXECUTABLE) or EXECUTABLE).resolve()
        status = program.stat()
        inputs = {
            "config": [(build.root / p.config_path).read_text(encoding="utf-8") for p in parts],
            "checkpoint": build.checkpoint_key,
            "compiler": [str(program), status.st_size, status.st_mtime_ns],
        }
        return Step(inputs, lambda progress: _run(verb, parts, build, progress))


def _prepare(root: Path) -> tuple[str, ...]:
    """Run the workspace's scripts/prepare.sh, and return what it says that it placed."""
    command = ("bash", str(root / "scripts" / "prepare.sh"))
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        reason = next(iter(done.stderr.splitlines()), f"exited {done.returncode}")
        raise StageError(f"scripts/prepare.sh: {reason}", shell_command(command))
    return tuple(line for line in done.stdout.splitlines() if line.startswith("placed: "))


def _run(verb: str, parts: Sequence[CompileJob], build: Build, progress: Progress) -> Outcome:
    environment = {**(LARGE_STACK if needs_large_stack(build.plan) else {}), **os.environ}
    files: list[Path] = []
    peaks, logs = [], []
    for job in parts:
        log = build.root / STATE_FOLDER / "logs" / f"{job.name}.{verb}.log"
        command = [EXECUTABLE, verb, str(job.config_path)]
        shown = " ".join(command)
        progress.start(shown)
        since_ns = int(time.time()) * 10**9  # whole seconds: some file systems keep no finer times
        exit_code, peak = run_logged(command, build.root, environment, log, progress.say)
        if exit_code != 0:
            ended = f"was killed by signal {-exit_code}" if exit_code < 0 else f"exited {exit_code}"
            tail = "".join(f"\n  {line}" for line in last_lines(log, SHOWN_LOG_LINES))
            output = f"; the end of its log:{tail}" if tail else " without any output"
            raise StageError(f"{shown} {ended}{output}", f"the whole log is in {log}")
        peaks.append(peak)
        logs.append(log.relative_to(build.root).as_posix())
        if verb == "compile":
            # What is on disk counts: the config may have been edited.
            config = yaml.safe_load((build.root / job.config_path).read_text(encoding="utf-8"))
            folder = Path(build.root, config["workspace"]["path"], config["name"])
            compiled = compiled_files(folder, since_ns)
            if not compiled:
                problem = f"{shown} exited 0 but compiled nothing: no new mod* in {folder}"
                raise StageError(problem, f"its log is in {log}")
            files += compiled
    return Outcome(tuple(files), {"log": logs[0]}, max(peaks))


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


# --- a child process with a log -------------------------------------------------------------


def run_logged(
    command: Sequence[str],
    cwd: Path,
    env: Mapping[str, str],
    log: Path,
    say: Callable[[str], None],
) -> tuple[int, int]:
    """Run `command` with its output in `log`, and `say` the log's last line as it changes.

    Return its exit code, negative where a signal ended it, and the peak memory in bytes of the
    largest of the child and the processes that it waited for.

    Whatever it started ends with it. Where we are interrupted, its group gets SIGINT first,
    at which Python programs clean up.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with open_in_place(log) as file:
        file.truncate(0)
        try:
            child = subprocess.Popen(
                command,
                cwd=cwd,
                env={**env, MARK: str(cwd)},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                return _wait(child, log, say)
            except BaseException:
                with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                    os.killpg(child.pid, signal.SIGINT)
                    child.wait(END_SECONDS)
                raise
            finally:
                child.kill()
                child.wait()
        finally:
            kill_children(cwd)
            _shorten(log)


def _wait(child: subprocess.Popen[bytes], log: Path, say: Callable[[str], None]) -> tuple[int, int]:
    shown: list[str] = []
    while True:
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        _shorten(log)
        line = last_lines(log, 1)
        if line and line != shown:
            shown = line
            say(line[0])
        if pid:
            child.returncode = os.waitstatus_to_exitcode(status)  # wait4 took it from Popen
            return child.returncode, usage.ru_maxrss * 1024
        time.sleep(POLL_SECONDS)


def kill_children(root: Path) -> None:
    """Kill what `run_logged` started in `root`, whatever session that moved to (Linux)."""
    entry = os.fsencode(f"{MARK}={root}")
    for _ in range(KILL_ROUNDS):
        found = []
        for environment in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if entry in environment.read_bytes().split(b"\0"):
                    found.append(int(environment.parent.name))
        for pid in found:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if not found:
            return
        time.sleep(POLL_SECONDS / 10)


def _shorten(log: Path) -> None:
    """Keep the beginning and the end of a log that is too long; its writer appends to it."""
    if log.stat().st_size > LOG_BYTES:
        note = f"\n[output left out by vacc-gen: a log has {LOG_BYTES} bytes at most]\n"
        with log.open("r+b") as file:
            file.seek(-TAIL_BYTES, os.SEEK_END)
            end = file.read()
            file.truncate(LOG_BYTES // 2)
            file.seek(0, os.SEEK_END)
            file.write(note.encode() + end)


def last_lines(log: Path, count: int) -> list[str]:
    """The last lines of a log as a reader would see them: no control codes, no empty lines."""
    with log.open("rb") as stream:
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - TAIL_BYTES))
        text = CONTROL_CODES.sub("", stream.read().decode("utf-8", errors="replace"))
    lines = ("".join(filter(str.isprintable, line)).strip() for line in re.split(r"[\r\n]+", text))
    shown = [line if len(line) <= LINE else f"{line[:LINE]}..." for line in lines if line]
    return shown[-count:]
