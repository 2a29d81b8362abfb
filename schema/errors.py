"""The errors that vacc-gen raises on purpose, and text that every terminal can show."""

from __future__ import annotations

import re
from typing import ClassVar, NamedTuple


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
    """A weight folder is incomplete, damaged, or not of a supported architecture.

    `key` is the one of config.json that says so, where one does.
    """

    def __init__(self, message: str, hint: str | None = None, key: str | None = None) -> None:
        super().__init__(message, hint)
        self.key = key


class Fault(NamedTuple):
    """What is wrong in a weight folder, and what to do about it."""

    file: str | None
    """Name of the file; None where `key` names a tensor."""
    message: str
    hint: str | None = None
    key: str | None = None
    """Where in a JSON file, or which tensor."""
    is_warning: bool = False


MERGE_ADAPTER = (
    'merge it first: python -c "from peft import AutoPeftModelForCausalLM as M; '
    "M.from_pretrained('ADAPTER').merge_and_unload().save_pretrained('OUT')\", and copy the "
    "tokenizer's files"
)


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


_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_BYTES = range(0xDC80, 0xDD00)
"""How Python keeps the bytes of a path that are not UTF-8 (PEP 383)."""


def is_text(word: str) -> bool:
    """Whether an argument is text: bytes that were not UTF-8 come as lone surrogates."""
    return not _LONE_SURROGATE.search(word)


def encodable(text: str) -> str:
    r"""Return text that can be encoded; other text stays as it is.

    A byte of a path that is not UTF-8 becomes `\xff`, any other half of a surrogate pair `\ud800`;
    then each backslash is doubled.
    """
    if is_text(text):
        return text
    return _LONE_SURROGATE.sub(_escaped, text.replace("\\", "\\\\"))


def _escaped(found: re.Match[str]) -> str:
    number = ord(found.group())
    return f"\\x{number - 0xDC00:02x}" if number in _BYTES else f"\\u{number:04x}"


def plural(number: int, noun: str) -> str:
    """Return a number with its noun: 1 token, 2 tokens."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def on_one_line(text: str) -> str:
    r"""Return text as a terminal can show it on one line: a line break in a path becomes `\n`."""
    return "".join(
        mark if mark.isprintable() else mark.encode("unicode_escape").decode("ascii")
        for mark in encodable(text)
    )
