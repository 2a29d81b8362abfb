"""What this process has taken of the memory, and what is left of it."""

from __future__ import annotations

import os
import re
import resource
from contextlib import suppress
from pathlib import Path

RESET_PEAK = "5"
"""Written to /proc/self/clear_refs, sets VmHWM back to the present RSS (Linux, proc(5))."""


def reset_peak_rss() -> None:
    """Begin a new measurement. Where the kernel cannot, the peak stays that of the process."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text(RESET_PEAK)


def peak_rss_bytes() -> int:
    """Peak resident memory since `reset_peak_rss`, in bytes."""
    peak = _status("VmHWM")
    # macOS counts bytes, and has no /proc.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if peak is None else peak


def anonymous_bytes() -> int | None:
    """Resident memory that no file backs, in bytes; None where the kernel does not say."""
    return _status("RssAnon")


def available_bytes() -> int:
    """Memory that can be taken without swapping: the machine's, or less in a container."""
    try:
        meminfo = Path("/proc/meminfo").read_text()
        available = int(re.findall(r"MemAvailable: *(\d+) kB", meminfo)[0]) * 1024
    except (OSError, IndexError):
        available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
    except (OSError, ValueError):  # no container, or "max"
        return available
    return min(available, limit)


def _status(name: str) -> int | None:
    try:
        found = re.search(rf"{name}:\s*(\d+) kB", Path("/proc/self/status").read_text())
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None
