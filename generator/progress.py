"""How a long job tells whoever started it where it is; the command line draws it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives the steps of one long job. All methods return at once."""

    def start(self, label: str, total_bytes: int | None = None) -> None:
        """A step begins; `total_bytes` is None where its length is not known."""

    def advance(self, done_bytes: int) -> None:
        """`done_bytes` more of the step are done (an increment, not a sum)."""

    def say(self, line: str) -> None:
        """One line worth showing, such as the last line of a compiler's log."""


class SilentProgress:
    """A `Progress` that shows nothing."""

    def start(self, label: str, total_bytes: int | None = None) -> None:
        """Ignore the step."""

    def advance(self, done_bytes: int) -> None:
        """Ignore the bytes."""

    def say(self, line: str) -> None:
        """Ignore the line."""
