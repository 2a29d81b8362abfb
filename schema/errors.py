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
    """A stage of a build, or another job, cannot reach its goal: a download, a set of texts."""


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


MERGE_ADAPTER = "merge it into its base model first, with peft's `merge_and_unload`"


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
        message = f"{purpose} needs {package}, which {problem}"
        super().__init__(message, f"pip install 'vacc-gen[{extra}]'")


def encodable(text: str) -> str:
    r"""Return text that can be encoded: a byte of a path that is not UTF-8 becomes `\udcff`."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def plural(number: int, noun: str) -> str:
    """Return a number with its noun: 1 token, 2 tokens."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def first_few(names: Sequence[str], shown: int = 3) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return f"{', '.join(names[:shown])}{more}"


_ACTIVE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)
"""Controls but line feed and tab, other line breaks, marks that reorder text, lone surrogates."""


def visible(text: str) -> str:
    r"""Return text that a terminal shows and does not obey: an escape becomes `\x1b`."""
    return _ACTIVE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def on_one_line(text: str) -> str:
    r"""Return text as a terminal can show it on one line: a line break in a path becomes `\n`."""
    return visible(text).replace("\n", r"\n").replace("\t", r"\t")


def shell_command(words: Iterable[str]) -> str:
    r"""Return words as one printable line for bash: a line break in one becomes `$'\x0a'`."""
    return " ".join(word_for_shell(word) for word in words)


def word_for_shell(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    source = word.encode("utf-8", "surrogateescape")  # bytes, which bash takes in any locale
    escaped = re.sub(rb"[^\w./-]", lambda mark: b"\\x%02x" % ord(mark[0]), source)
    return f"$'{escaped.decode('ascii')}'"
