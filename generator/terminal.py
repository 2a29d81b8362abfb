"""The process as its terminal sees it: what it prints, and how signals end it."""

from __future__ import annotations

import io
import os
import re
import select
import shutil
import signal
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from vacc_gen.schema.errors import on_one_line, shell_command, visible

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # HUP: the terminal was closed
GRACE_SECONDS = 0.9
"""From a signal to the end, for children and files that are being written."""
SHOW_CURSOR = "\x1b[?25h\n"
BOLD, BOLD_RED = "1", "1;31"


class Shown:
    """A stream whose text a terminal shows and does not obey; `exact` is the one below it."""

    def __init__(self, stream: Any) -> None:
        self.exact = stream

    def write(self, text: str) -> int:
        return int(self.exact.write(visible(text)))

    def writelines(self, lines: Iterable[str]) -> None:
        self.write("".join(lines))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.exact, name)


@contextmanager
def shown_streams() -> Iterator[None]:
    """Let everything that is printed, by libraries too, go through `visible`."""
    streams = sys.stdout, sys.stderr
    if isinstance(sys.stdout, io.TextIOWrapper):  # not closed; its encoding may be a narrow one
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = (stream and Shown(stream) for stream in streams)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams


def exact(stream: Any) -> Any:
    """Return the stream for text that was made visible, colours included, or that programs read."""
    return getattr(stream, "exact", stream)


def is_terminal(stream: Any) -> bool:
    return stream is not None and stream.isatty()


def has_style(stream: Any) -> bool:
    """Whether text for a stream gets colours and bold: as Rich decides for its own."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") in ("dumb", "unknown"):
        return False
    forced = os.environ.get("FORCE_COLOR")
    return is_terminal(stream) if forced is None else forced != ""


def styled(text: str, style: str, stream: Any) -> str:
    """Return our own text with a style, such as `1;31`, where the stream is to have styles."""
    return f"\x1b[{style}m{text}\x1b[0m" if has_style(stream) else text


def print_error(message: str, hint: str | None = None) -> None:
    # The end of a log keeps its lines, which are indented.
    message = visible(re.sub(r"\n(?!  )", r"\\n", message))
    print(styled("error:", BOLD_RED, sys.stderr), message, file=exact(sys.stderr))
    if hint:
        print(styled("hint:", BOLD, sys.stderr), on_one_line(hint), file=exact(sys.stderr))


def folded(text: str) -> str:
    """Return text with its lines broken between words for a terminal; as it is for a file."""
    if not is_terminal(sys.stdout):
        return text
    width, lines = shutil.get_terminal_size().columns, []
    for line in text.splitlines():
        indent = " " * (len(line) - len(line.lstrip()))
        lines += textwrap.wrap(line, width, subsequent_indent=indent) or [""]
    return "\n".join(lines)


def print_data(text: str) -> None:
    """Print text that programs read back: exactly, unless a terminal shows it."""
    stream = sys.stdout if is_terminal(sys.stdout) else exact(sys.stdout)
    print(text, end="", file=stream, flush=True)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """On SIGINT, SIGTERM or SIGHUP unwind as on Ctrl-C, and end within a second.

    A second signal cuts short what unwinding waits for. Python sees a signal only between two of
    its own steps: where a library takes long over one, a thread ends the process.
    """
    caught: list[int] = []

    def interrupt(number: int, _: object) -> None:
        caught.append(number)
        raise KeyboardInterrupt

    ours = [number for number in ENDING_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    threading.Thread(target=_end_late, args=(reader, ours), daemon=True).start()
    handlers = {number: signal.signal(number, interrupt) for number in ours}
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, signal.SIG_IGN if caught else handler)
        if caught:
            with suppress(OSError, ValueError, AttributeError):
                sys.stdout.flush()
            _end(caught[0])
        signal.set_wakeup_fd(-1)
        os.close(writer)


def _end_late(reader: int, numbers: Collection[int]) -> None:
    """End the process a while after one of `numbers` comes from a pipe; return where it closes."""
    while received := os.read(reader, 1):
        if received[0] in numbers:
            time.sleep(GRACE_SECONDS)
            _end(received[0])
    os.close(reader)


@contextmanager
def signals_to(handler: Callable[[int, Any], object], *numbers: int) -> Iterator[None]:
    """Give signals that would end the process to `handler` for as long as the block lasts."""
    wakeup = signal.set_wakeup_fd(-1)  # what watches there would end it all the same
    handlers = {number: signal.getsignal(number) for number in numbers}
    for number, before in handlers.items():
        if before is not signal.SIG_IGN:  # as nohup leaves it
            signal.signal(number, handler)
    try:
        yield
    finally:
        for number, before in handlers.items():
            signal.signal(number, before)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)


def _end(number: int) -> None:
    """Leave at once: libraries' threads are not waited for."""
    command = shell_command(["vacc-gen", *sys.argv[1:]])
    line = f"interrupted; run `{command}` again to go on\n"
    with suppress(OSError):
        if select.select([], [2], [], 0)[1]:  # nobody may read it
            os.write(2, ((SHOW_CURSOR if os.isatty(2) else "") + line).encode())
    os._exit(128 + number)
