"""Fails or kills a command at one disk call after another, and looks at what is left."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
KILLS = ("before", "after", "tear")
FULL, BROKEN = str(errno.ENOSPC), str(errno.EIO)
FAILURES = (FULL, BROKEN, str(errno.EDQUOT), str(errno.EROFS))

NOT_COMPARED = ("report.json", "report.html", "build.json", "build.lock")
"""Files that tell of a run: times, process numbers."""


@dataclass(frozen=True)
class Scenario:
    """A command that is disturbed; what stands before it is made by `prepare` in the folder."""

    name: str
    arguments: Callable[[Path], list[str]]
    prepare: Callable[[Path, Server], None] = lambda folder, server: None


class Server:
    """A process with the shim in which commands are run."""

    def __init__(self, shim: Path, folder: Path) -> None:
        self._count, self._output = folder / "count", folder / "output"
        self._count.write_bytes(bytes(8))
        environment = {**os.environ, "LD_PRELOAD": str(shim), "FAULT_COUNT": str(self._count)}
        environment["OMP_NUM_THREADS"] = "1"
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "server.py")],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, arguments: list[str], under: Path, at: int = 0, act: str = "") -> Ran:
        """Run a command that is disturbed at its `at`-th call below `under`."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with self._count.open("r+b") as shared:
            shared.write(bytes(8))
        environment = {"FAULT_UNDER": str(under), "FAULT_AT": str(at), "FAULT_ACT": act}
        request = {"arguments": arguments, "environment": environment, "output": str(self._output)}
        print(json.dumps(request), file=self._process.stdin, flush=True)
        code = int(self._process.stdout.readline())
        calls = int.from_bytes(self._count.read_bytes(), sys.byteorder)
        return Ran(code, self._output.read_text(errors="replace"), calls)

    def close(self) -> None:
        self._process.communicate()


@dataclass(frozen=True)
class Ran:
    """How a command ended, what it printed, and its disk calls."""

    code: int
    printed: str
    calls: int


@dataclass
class Result:
    """How many points were tried, and what was lost at which."""

    points: int = 0
    losses: list[str] = field(default_factory=list)


@contextmanager
def server_in(folder: Path) -> Iterator[Server]:
    """Compile the shim with `cc`, and run a server with it."""
    shim = folder / "shim.so"
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(shim), str(HERE / "shim.c"), "-ldl"]
    subprocess.run(command, check=True)
    server = Server(shim, folder)
    try:
        yield server
    finally:
        server.close()


def sweep(
    scenario: Scenario, server: Server, folder: Path, acts: Sequence[str], count: int
) -> Result:
    """Disturb a scenario with each act at `count` of its calls, which lie evenly.

    Each act has other calls. After a kill or a failure the same command must succeed, and leave
    what it leaves undisturbed.
    """
    start, place = folder / "start", folder / "place"
    place.mkdir(parents=True)
    scenario.prepare(place, server)
    shutil.copytree(place, start, symlinks=True)
    undisturbed = server.run(scenario.arguments(place), place, act=acts[0])
    assert undisturbed.code == 0, undisturbed.printed
    wanted, count = contents(place), min(count, undisturbed.calls)
    result = Result()
    for number, act in enumerate(acts):
        offset = (number + 0.5) / len(acts)
        for step in range(count):
            at = 1 + int((step + offset) * undisturbed.calls / count)
            restore(place, start)
            result.points += 1
            faults = _disturb(scenario, server, place, wanted, at, act)
            result.losses += [f"{scenario.name}, {act} at {at}: {fault}" for fault in faults]
    return result


def _disturb(
    scenario: Scenario, server: Server, place: Path, wanted: dict[str, bytes], at: int, act: str
) -> Iterator[str]:
    disturbed = server.run(scenario.arguments(place), place, at, act)
    if "Traceback" in disturbed.printed or disturbed.code not in (-9, 1, 2, 0):
        yield f"ended with {disturbed.code}:\n{disturbed.printed}"
    if act.isdigit() and disturbed.code != 0 and not has_reason(act, disturbed.printed):
        yield f"the error is not {os.strerror(int(act))}:\n{disturbed.printed}"
    again = server.run(scenario.arguments(place), place)
    if again.code != 0:
        yield f"the same command failed then:\n{again.printed}"
        return
    found = contents(place)
    for path in sorted({*wanted, *found}):
        if path not in found:
            yield f"{path} is missing"
        elif path not in wanted:
            yield f"{path} is left over"
        elif found[path] != wanted[path]:
            yield f"{path} has other bytes"


def has_reason(act: str, printed: str) -> bool:
    """Whether what was printed says why the disk failed."""
    return os.strerror(int(act)).lower() in printed.lower()


def restore(place: Path, start: Path) -> None:
    """Put `place` back to what `start` is a copy of."""
    shutil.rmtree(place)
    shutil.copytree(start, place, symlinks=True)


def contents(folder: Path) -> dict[str, bytes]:
    """The files below a folder; of those that tell of a run only that they are there."""
    return {
        str(path.relative_to(folder)): b"" if path.name in NOT_COMPARED else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
