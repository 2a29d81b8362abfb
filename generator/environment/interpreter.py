"""Ask another interpreter what it can do. It may die of it; we do not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROBE = Path(__file__).with_name("probe.py")
TIMEOUT_S = 600
_SHELL_SIGNAL_BASE = 128
"""A shell between us and the interpreter reports a signal as 128 and its number."""


@dataclass(frozen=True)
class Answer:
    """The result of one check."""

    values: dict[str, Any]
    """What it found out; empty where it failed."""
    failure: str | None = None
    """How it ended instead, in a few words."""


def run_check(python: str | Path, check: str, timeout_s: float = TIMEOUT_S) -> Answer:
    """Run one check of probe.py in the interpreter `python`, in a process of its own."""
    try:
        done = subprocess.run(
            [str(python), "-I", "-X", "faulthandler", str(PROBE), check],
            # Thread pools only make a tiny check slower.
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer({}, f"did not end within {timeout_s:.0f} s")
    except OSError as error:
        return Answer({}, f"cannot be run: {error.strerror}")
    if done.returncode:
        return Answer({}, _failure(done.returncode, done.stderr))
    try:
        return Answer(json.loads(done.stdout.splitlines()[-1]))
    except (IndexError, ValueError):
        return Answer({}, "exited 0 without an answer")


def _failure(returncode: int, stderr: str) -> str:
    number = -returncode if returncode < 0 else returncode - _SHELL_SIGNAL_BASE
    if number in {member.value for member in signal.Signals}:
        return f"was killed by {signal.Signals(number).name}"
    lines = [line for line in stderr.splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"exited {returncode}"
