"""What a whole process costs, as the operating system accounts for it."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


def keep_compiled_modules(cache: Path) -> None:
    """Let the processes that follow keep their compiled modules, as an installed tool does."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(cache)


def vacc_gen(*arguments: object) -> list[str]:
    """The command of the tool that is installed beside this Python."""
    return [str(Path(sys.executable).with_name("vacc-gen")), *map(str, arguments)]


def output_of(command: Sequence[str], **variables: str) -> str:
    """Run a process with these variables beside what it inherits, and return what it printed."""
    settings = {"env": {**os.environ, **variables}, "text": True, "check": True}
    return str(subprocess.run(command, capture_output=True, **settings).stdout)


@dataclass(frozen=True)
class Cost:
    """The cost of one finished process."""

    cpu_seconds: float
    wall_seconds: float
    peak_rss_bytes: int


def run(arguments: Sequence[str], cwd: Path | None = None, ok: Sequence[int] = (0,)) -> Cost:
    """Run one process with its output thrown away and return what it cost."""
    began = time.perf_counter()
    process = subprocess.Popen(
        arguments, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in ok:
        raise SystemExit(f"{' '.join(arguments)}: exit code {process.returncode}")
    return Cost(
        usage.ru_utime + usage.ru_stime,
        time.perf_counter() - began,
        usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    )


def median_cpu_seconds(
    commands: Mapping[str, Sequence[str]],
    runs: int = 15,
    cwd: Path | None = None,
    ok: Sequence[int] = (0,),
) -> dict[str, float]:
    """Run the commands in turn, A B C A B C, so that a slow minute slows all alike."""
    for arguments in commands.values():
        run(arguments, cwd, ok)
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, arguments in commands.items():
            seconds[name].append(run(arguments, cwd, ok).cpu_seconds)
    return {name: statistics.median(values) for name, values in seconds.items()}
