"""The errors that vacc-gen raises on purpose; anything else that escapes is a defect."""

from __future__ import annotations

from typing import ClassVar


class VaccGenError(Exception):
    """What is wrong in one sentence, and what to do about it.

    The command line prints both, without a traceback, and exits with `exit_code`.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class StageError(VaccGenError):
    """A build stage ran and did not reach its goal."""


class CheckpointError(VaccGenError):
    """A weight folder is incomplete, damaged, or not of a supported architecture."""


class CalibrationError(VaccGenError):
    """A calibration set is damaged, not what its name says, or too small for what is asked."""


class FetchError(VaccGenError):
    """A file could not be fetched, or is not the one that was published."""


class LockError(VaccGenError):
    """Pins have no solution or no index answers; or a lock is missing, edited, or stale."""


class UsageError(VaccGenError):
    """The command line contradicts itself or names something that does not exist."""

    exit_code: ClassVar[int] = 2


class UnreadableError(VaccGenError):
    """A file is missing, not readable, or not what its name says."""

    exit_code: ClassVar[int] = 2


class MissingExtraError(VaccGenError):
    """A package that comes with an extra is needed and not installed."""

    exit_code: ClassVar[int] = 2

    def __init__(self, package: str, purpose: str, extra: str = "export") -> None:
        super().__init__(
            f"{purpose} needs {package}, which is not installed",
            hint=f"pip install 'vacc-gen[{extra}]'",
        )
