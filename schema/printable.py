"""Text that every program can read, whatever bytes a name or a file had."""

from __future__ import annotations

import re

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


def on_one_line(text: str) -> str:
    r"""Return text as a terminal can show it on one line: a line break in a path becomes `\n`."""
    return "".join(
        mark if mark.isprintable() else mark.encode("unicode_escape").decode("ascii")
        for mark in encodable(text)
    )
