"""How a long job reports where it is, and what it takes: sizes and times in words, memory."""

from __future__ import annotations

import os
import re
import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

Item = TypeVar("Item")

RESET_PEAK = "5"
"""Written to /proc/self/clear_refs, sets VmHWM back to the present RSS (Linux, proc(5))."""


class Progress:
    """Receives the steps of one long job; this one shows none. All methods return at once."""

    def start(self, label: str, total_bytes: int | None = None) -> None:
        """A step begins; `total_bytes` is None where its length is not known."""

    def advance(self, done_bytes: int) -> None:
        """`done_bytes` more of the step are done (an increment, not a sum)."""

    def say(self, line: str) -> None:
        """One line worth showing, such as the last line of a compiler's log."""


def timed(items: Sequence[Item], what: str, progress: Progress) -> Iterator[Item]:
    """Yield `items`, and say after each how far that is and how long the rest may take."""
    started = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        left = (time.monotonic() - started) / done * (len(items) - done)
        progress.say(f"{done} of {len(items)} {what}, about {time_text(left)} left")


def size_text(count_bytes: float) -> str:
    """`5.1 MB`: decimal units, three figures at most."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count_bytes < 999.5 or unit == "TB":
            break
        count_bytes /= 1000
    digits = 0 if unit == "B" or count_bytes >= 99.95 else 1
    return f"{count_bytes:.{digits}f} {unit}"


def time_text(seconds: float) -> str:
    """`0.4 s`, `3 min 05 s`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s"


# --- memory ---------------------------------------------------------------------------------


def reset_peak_rss() -> None:
    """Begin a new measurement. Where the kernel cannot, the peak stays that of the process."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text(RESET_PEAK)


def peak_rss_bytes() -> int:
    """Peak resident memory since `reset_peak_rss`, in bytes."""
    # macOS counts bytes, and has no /proc.
    return _from_proc("self/status", "VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def anonymous_bytes() -> int | None:
    """Resident memory that no file backs, in bytes; None where the kernel does not say."""
    return _from_proc("self/status", "RssAnon")


def available_bytes() -> int:
    """Memory that can be taken without swapping: the machine's, or less in a container."""
    available = _from_proc("meminfo", "MemAvailable")
    if available is None:
        available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(available, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no container, or "max"
        return available


def _from_proc(file: str, name: str) -> int | None:
    try:
        found = re.search(rf"{name}:\s*(\d+) kB", Path("/proc", file).read_text())
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None
