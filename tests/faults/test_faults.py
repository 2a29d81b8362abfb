"""What a kill or a failing disk cuts short loses nothing: run again, it ends as it would have.

Commands are failed or killed at one disk call after another. The default suite tries a few points
of each scenario; `make test-slow` tries hundreds.
"""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.workspaces import CALIBRATION, FALCON_TINY, files_of

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")

HERE = Path(__file__).parent
KILLS = ("before", "after", "tear")
FULL, BROKEN = str(errno.ENOSPC), str(errno.EIO)
FAILURES = (FULL, BROKEN, str(errno.EDQUOT), str(errno.EROFS))
OF_A_RUN = ("report.json", "report.html", "build.json", "build.lock")
"""Files that tell of a run: times, process numbers. They have to be there."""


class Ran(NamedTuple):
    """How a command ended, what it printed, and its disk calls."""

    code: int
    printed: str
    calls: int


class Server:
    """A process with the shim in which commands are run."""

    def __init__(self, folder):
        shim, self._count, self._output = (folder / name for name in ("shim.so", "count", "output"))
        command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(shim), str(HERE / "shim.c"), "-ldl"]
        subprocess.run(command, check=True)
        self._count.write_bytes(bytes(8))
        preloaded = {"LD_PRELOAD": str(shim), "FAULT_COUNT": str(self._count)}
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "server.py")],
            env={**os.environ, **preloaded, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, place, *arguments, at=0, act=""):
        """Run a command that is disturbed at its `at`-th call below `place`."""
        with self._count.open("r+b") as shared:
            shared.write(bytes(8))
        environment = {"FAULT_UNDER": str(place), "FAULT_AT": str(at), "FAULT_ACT": act}
        request = {"arguments": arguments, "environment": environment, "output": str(self._output)}
        print(json.dumps(request), file=self.process.stdin, flush=True)
        code = int(self.process.stdout.readline())
        calls = int.from_bytes(self._count.read_bytes(), sys.byteorder)
        return Ran(code, self._output.read_text(errors="replace"), calls)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.process.communicate()


# --- what is disturbed, and what stands before it -------------------------------------------


def write_texts(place, server):
    lines = CALIBRATION.read_text().splitlines()[:200]
    records = [{"instruction": "Go on.", "input": "", "output": line} for line in lines]
    (place / "alpaca.json").write_text(json.dumps(records))


def make_changed_workspace(place, server):
    """A small workspace whose recipe has changed since its files were generated."""
    write_texts(place, server)
    assert server.run(place, *new(place)).code == 0
    recipe = place / "workspace" / "vacc.yaml"
    few = recipe.read_text().replace("samples: 128", "samples: 4").replace("512", "32")
    recipe.write_text(few.replace("prefill: 64", "prefill: 32"))


def make_small_workspace(place, server):
    """One that is built in a second: with four calibration windows of 32 tokens."""
    make_changed_workspace(place, server)
    assert server.run(place, *generate(place)).code == 0


def new(place):
    return [
        *("new", "--checkpoint", str(FALCON_TINY), "--out", str(place / "workspace")),
        *("--prefill", "64", "--total", "128", "--tp", "1"),
        *("--precision", "fp16", "--precision", "int8"),
        *("--calibration", f"alpaca:{place / 'alpaca.json'}"),
    ]


def generate(place):
    return ["generate", str(place / "workspace")]


def export(place):
    return ["export", str(FALCON_TINY), "--out", str(place / "deep" / "onnx")]


def build(place):
    return ["build", str(place / "workspace"), "--backend", "onnxruntime", "--until", "compile"]


Command = Callable[[Path], list[str]]
Prepare = Callable[[Path, Server], None]
SCENARIOS = [
    (new, write_texts, ("before", "tear", FULL, BROKEN)),
    (generate, make_changed_workspace, ("before", "tear", FULL, BROKEN)),
    (export, lambda place, server: None, ("before", "tear", FULL, BROKEN)),
    (build, make_small_workspace, ("tear", FULL)),  # each takes seconds
]
"""With the acts of the default suite, which visit a call each."""
FEW = [(command, prepare, acts, 1) for command, prepare, acts in SCENARIOS]
MANY = [(command, prepare, (*KILLS, *FAILURES), 25) for command, prepare, _ in SCENARIOS]


# --- the tests ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "prepare", "acts", "count"),
    [
        *(pytest.param(*one, id=f"{one[0].__name__}-few") for one in FEW),
        *(pytest.param(*m, id=f"{m[0].__name__}-many", marks=pytest.mark.slow) for m in MANY),
    ],
)
def test_nothing_is_lost(command, prepare, acts, count, server, tmp_path, capsys):
    """Disturb a command with each act at `count` of its calls, which lie evenly.

    Each act has other calls. After a kill or a failure the same command must succeed, and leave
    what it leaves undisturbed.
    """
    start, place = tmp_path / "start", tmp_path / "place"
    place.mkdir()
    prepare(place, server)
    shutil.copytree(place, start, symlinks=True)
    undisturbed = server.run(place, *command(place), act=acts[0])
    assert undisturbed.code == 0, undisturbed.printed
    wanted, calls, points, losses = contents(place), undisturbed.calls, 0, []
    for number, act in enumerate(acts):
        offset = (number + 0.5) / len(acts)
        for at in sorted({1 + int((step + offset) * calls / count) for step in range(count)}):
            restore(place, start)
            points += 1
            disturbed = server.run(place, *command(place), at=at, act=act)
            losses += [f"{act} at {at}: {fault}" for fault in faults(disturbed, act)]
            again = server.run(place, *command(place))
            if again.code != 0:
                losses.append(f"{act} at {at}: the same command failed then:\n{again.printed}")
            elif (found := contents(place)) != wanted:
                names = {name for name, _ in found.items() ^ wanted.items()}
                losses.append(f"{act} at {at}: {', '.join(sorted(names))}: missing, left, or other")
    with capsys.disabled():
        print(f"\n{command.__name__}: {points} points, {len(losses)} losses")
    assert losses == []


def faults(disturbed, act):
    if "Traceback" in disturbed.printed or disturbed.code not in (-9, 1, 2, 0):
        yield f"ended with {disturbed.code}:\n{disturbed.printed}"
    if act.isdigit() and disturbed.code != 0:
        reason = os.strerror(int(act))
        if reason.lower() not in disturbed.printed.lower():
            yield f"the error is not {reason}:\n{disturbed.printed}"


def contents(place):
    return {k: b"" if Path(k).name in OF_A_RUN else v for k, v in files_of(place).items()}


def restore(place, start):
    shutil.rmtree(place)
    shutil.copytree(start, place, symlinks=True)
