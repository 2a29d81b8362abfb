"""Waiting for processes, and looking at process groups."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def is_group_gone(group: int, patience_seconds: float = 5.0) -> bool:
    """Whether every process of `group` has ended, or does in time. Zombies have ended."""
    return eventually(lambda: not _running_in(group), patience_seconds)


def eventually(holds: Callable[[], bool], patience_seconds: float = 30.0) -> bool:
    """Wait until `holds` is true; return whether it came true in time."""
    deadline = time.monotonic() + patience_seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _running_in(group: int) -> list[int]:
    running = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # After the name, which stands in parentheses: state, parent, group (proc(5)).
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(its_group) == group and state != "Z":
            running.append(int(stat.parent.name))
    return running
