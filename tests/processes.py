"""Starting, watching and ending processes in tests."""

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

VACC_GEN = (sys.executable, "-m", "vacc_gen.generator.cli.main")

SLOW_MODEL = """
import sys, time
from vacc_gen.generator.backends.onnxruntime import runtime
from vacc_gen.generator.cli.main import main
def slow(generate):
    def tokens(*words, **options):
        for token in generate(*words, **options):
            time.sleep(0.03)
            yield token
    return tokens
for kind in (runtime.GenaiModel, runtime.OnnxRuntimeModel):
    kind.generate = slow(kind.generate)
main()
"""
SLOW_VACC_GEN = (sys.executable, "-c", SLOW_MODEL)
"""With a model that gives 30 tokens a second, as large ones do."""


def make_program(path: Path, text: str = "#!/bin/sh\n") -> Path:
    """Write a script that can be run, in a folder that is made with it."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def start(*command: str, **options: Any) -> subprocess.Popen[str]:
    """Start a program that Ctrl-C can interrupt: tests/conftest.py unblocks SIGINT."""
    return subprocess.Popen(command, text=True, **options)


def wait_for_line(process: subprocess.Popen[str], beginning: str) -> None:
    """Read the stderr of `process` until a line begins so."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith(beginning):
            return
    raise AssertionError(f"no line begins with {beginning!r}:\n{''.join(lines)}")


def is_group_gone(group: int, patience_seconds: float = 5.0) -> bool:
    """Whether no process of `group` lives, or will within a moment; zombies do not count."""
    return eventually(lambda: not _living(group), patience_seconds)


def living_with(variable: str) -> list[int]:
    """Processes that were started with `NAME=value` in their environment."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if variable.encode() in environment.read_bytes().split(b"\0"):
                found.append(int(environment.parent.name))
    return found


def eventually(holds: Callable[[], bool], patience_seconds: float = 30.0) -> bool:
    """Whether `holds` comes true in time."""
    deadline = time.monotonic() + patience_seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _living(group: int) -> list[int]:
    living = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # After the name, which stands in parentheses: state, parent, group (proc(5)).
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(its_group) == group and state != "Z":
            living.append(int(stat.parent.name))
    return living
