"""The errors that vacc-gen raises on purpose, and text that every terminal can show."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
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
    """A weight folder is incomplete, damaged, or not of a supported architecture.

    Raised, or yielded where more may be wrong. `key` is what says so in `file`: a key or a text of
    its JSON, or the offset of a character; of a shard, a tensor.
    """

    def __init__(
        self,
        message: str,
        hint: str | None = None,
        key: str | int | None = None,
        *,
        file: str = "config.json",
        is_warning: bool = False,
    ) -> None:
        super().__init__(message, hint)
        self.key, self.file, self.is_warning = key, file, is_warning


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
    """A package that comes with an extra is needed and cannot be used."""

    exit_code: ClassVar[int] = 2

    def __init__(
        self, package: str, purpose: str, extra: str = "export", problem: str = "is not installed"
    ) -> None:
        super().__init__(
            f"{purpose} needs {package}, which {problem}",
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


def first_few(names: Sequence[str], shown: int = 3) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return f"{', '.join(names[:shown])}{more}"


def on_one_line(text: str) -> str:
    r"""Return text as a terminal can show it on one line: a line break in a path becomes `\n`."""
    return "".join(map(_printable, encodable(text)))


_ACTIVE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)
"""Controls but line feed and tab, other line breaks, marks that reorder text, lone surrogates."""


def visible(text: str) -> str:
    r"""Return text that a terminal shows and does not obey: an escape becomes `\x1b`."""
    return _ACTIVE.sub(lambda found: _printable(found.group()), text)


def _printable(mark: str) -> str:
    return mark if mark.isprintable() else mark.encode("unicode_escape").decode("ascii")


def shell_command(words: Iterable[str]) -> str:
    r"""Return words as one printable line for bash: a line break in one becomes `$'\x0a'`."""
    return " ".join(word_for_shell(word) for word in words)


def word_for_shell(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    marks = (
        mark
        if mark.isprintable() and mark not in "\\'"
        # Bytes, which bash takes in any locale.
        else "".join(f"\\x{byte:02x}" for byte in mark.encode("utf-8", "surrogateescape"))
        for mark in word
    )
    return f"$'{''.join(marks)}'"
