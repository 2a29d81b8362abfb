"""A program in a real pseudo-terminal, and the screen that a person would see."""

import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

import pexpect
import pyte

from tests.processes import VACC_GEN

ENTER, SPACE, BACKSPACE = "\r", " ", "\x7f"
DOWN = "\x1b[B"
CTRL_C, CTRL_D, CTRL_U = "\x03", "\x04", "\x15"
TAB = "\t"

UNWANTED = ("NO_COLOR", "FORCE_COLOR", "CI", "COLUMNS")
ESCAPE_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


class Terminal:
    """vacc-gen, or another program, on a terminal of so many lines and columns."""

    def __init__(
        self,
        cwd: Path,
        *arguments: str,
        program: Sequence[str] = VACC_GEN,
        lines: int = 24,
        columns: int = 80,
        **environment: str,
    ) -> None:
        kept = {name: value for name, value in os.environ.items() if name not in UNWANTED}
        self._process = pexpect.spawn(
            program[0],
            [*program[1:], *arguments],
            cwd=str(cwd),
            dimensions=(lines, columns),
            env={**kept, "TERM": "xterm-256color", **environment},
            encoding="utf-8",
            codec_errors="surrogateescape",
            timeout=30,
        )
        self._process.delaybeforesend = None
        self._screen = pyte.Screen(columns, lines)
        self._screen.write_process_input = self._process.send  # where the cursor is
        self._stream = pyte.Stream(self._screen)
        self.received = ""

    @property
    def screen(self) -> str:
        """What stands on the screen, without spaces at the end of lines."""
        return "\n".join(line.rstrip() for line in self._screen.display)

    @property
    def printed(self) -> str:
        """All that was printed, without the codes for the terminal."""
        return ESCAPE_SEQUENCE.sub("", self.received).replace("\r\n", "\n")

    def send(self, *keys: str) -> None:
        for key in keys:
            self._process.send(key)

    @property
    def words(self) -> str:
        """What stands on the screen, as if it had one long line."""
        return " ".join(self.screen.split())

    def wait_for(self, words: str, patience_seconds: float = 20.0) -> None:
        """Wait until the screen holds `words`, in one line or in several."""
        deadline = time.monotonic() + patience_seconds
        while words not in self.screen and words not in self.words:
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
        deadline = time.monotonic() + 30
        while self._read(0.5):
            assert time.monotonic() < deadline, f"still running:\n{self.screen}"
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
