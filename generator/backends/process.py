"""A child process whose output goes to a log, and which ends when we do."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_POLL_SECONDS = 0.1
_TAIL_BYTES = 64 << 10
_ANSI = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[@-Z\\-_])")


@dataclass(frozen=True)
class Finished:
    """A child that ended by itself."""

    exit_code: int
    """Negative where a signal ended it."""
    peak_rss_bytes: int
    """Of the largest of it and the children that it waited for."""


def run_logged(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    log: Path,
    say: Callable[[str], None],
    grace_seconds: float = 10.0,
) -> Finished:
    """Run `command` with its output in `log`, and `say` the log's last line as it changes.

    The child gets a process group of its own, so that a signal reaches its workers too. When
    we are interrupted (KeyboardInterrupt) the group gets SIGINT, and SIGTERM when anything else
    ends us; what still lives after `grace_seconds` is killed, and the exception goes on.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    child = None
    try:
        with log.open("wb") as stream, _signals_held():
            child = subprocess.Popen(
                command,
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return _follow(child, log, say)
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        if child is not None:
            _stop(child, signal.SIGINT if interrupted else signal.SIGTERM, grace_seconds)
        raise


@contextmanager
def _signals_held() -> Iterator[None]:
    """Deliver what arrives inside at the end, so that no child starts that nobody knows of."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals reach the main thread alone
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
    for pending in arrived:
        signal.raise_signal(pending)


def last_lines(log: Path, count: int) -> list[str]:
    """The last lines of a log as a reader would see them: no control codes, no blank lines."""
    with log.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - _TAIL_BYTES))
        text = stream.read().decode("utf-8", errors="replace")
    lines = (_plain(line) for line in re.split(r"[\r\n]+", text))
    return [line for line in lines if line][-count:]


def _follow(child: subprocess.Popen[bytes], log: Path, say: Callable[[str], None]) -> Finished:
    said = ""
    while True:
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        line = next(iter(last_lines(log, 1)), "")
        if line != said:
            said = line
            say(line)
        if pid:
            # Popen must hear of it from us, since we have taken the status.
            child.returncode = os.waitstatus_to_exitcode(status)
            unit = 1 if sys.platform == "darwin" else 1024
            return Finished(child.returncode, usage.ru_maxrss * unit)
        time.sleep(_POLL_SECONDS)


def _stop(child: subprocess.Popen[bytes], number: signal.Signals, grace_seconds: float) -> None:
    """Ask the group to end, wait, and end what is left; a second Ctrl-C cuts the wait short."""
    try:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with suppress(subprocess.TimeoutExpired):
            child.wait(grace_seconds)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _plain(line: str) -> str:
    return "".join(char for char in _ANSI.sub("", line).strip() if char.isprintable())
