"""A program in a real pseudo-terminal, and the screen that a person would see."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pexpect
import pyte

ENTER, ESCAPE, TAB, SPACE = "\r", "\x1b", "\t", " "
UP, DOWN, PAGE_DOWN, BACK_TAB = "\x1b[A", "\x1b[B", "\x1b[6~", "\x1b[Z"
CTRL_C, CTRL_D, CTRL_U = "\x03", "\x04", "\x15"

ENDS_ALTERNATE_SCREEN = "\x1b[?1049l"


class Terminal:
    """A command on a terminal of so many lines and columns."""

    def __init__(
        self,
        command: str,
        arguments: list[str],
        cwd: Path,
        lines: int = 24,
        columns: int = 80,
        **environment: str,
    ) -> None:
        kept = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        self._process = pexpect.spawn(
            command,
            arguments,
            cwd=str(cwd),
            dimensions=(lines, columns),
            env={**kept, "TERM": "xterm-256color", **environment},
            encoding="utf-8",
            timeout=30,
        )
        self._process.delaybeforesend = None
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.Stream(self._screen)
        self.received = ""

    @property
    def lines(self) -> list[str]:
        """What stands on the screen, without blanks at the end."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def screen(self) -> str:
        return "\n".join(self.lines)

    @property
    def after_wizard(self) -> str:
        """What was printed once the wizard had given the screen back."""
        return self.received.rpartition(ENDS_ALTERNATE_SCREEN)[2].replace("\r\n", "\n")

    def send(self, *keys: str) -> None:
        for key in keys:
            self._process.send(key)

    def wait_for(self, words: str, patience_seconds: float = 30.0) -> None:
        """Wait until the screen holds `words`."""
        deadline = time.monotonic() + patience_seconds
        while words not in self.screen:
            assert time.monotonic() < deadline, f"{words!r} is not on\n{self.screen}"
            self._read(0.05)

    def settle(self) -> None:
        """Wait until nothing more is drawn."""
        before = -1
        while before != len(self.received):
            before = len(self.received)
            self._read(0.3)

    def exit_code(self) -> int:
        """Read all that is still printed, and return the exit code."""
        while self._read(0.5):
            pass
        self._process.close()
        assert self._process.exitstatus is not None, "ended by a signal"
        return self._process.exitstatus

    def _read(self, patience_seconds: float) -> bool:
        """Read what has come; False when nothing more will."""
        try:
            text = self._process.read_nonblocking(65536, timeout=patience_seconds)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.received += text
        self._stream.feed(text)
        return True
