"""Values that know where they stand, and what can be wrong with a text as YAML."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""What ends a line in YAML 1.1."""

Steps = tuple[str | int, ...]
"""A path through a document: keys, and positions in lists."""


class Span(NamedTuple):
    """A stretch of text. Lines and columns count from 1, in characters; the end is exclusive."""

    line: int
    column: int
    end_line: int
    end_column: int
    start: int  # offset of the first character
    end: int


START = Span(1, 1, 1, 1, 0, 0)
"""Where a text begins."""


class Node:
    """A value and its place. `value` is a scalar, a list of nodes, or a dict of key to `Entry`."""

    __slots__ = ("span", "value")

    def __init__(self, value: Any, span: Span) -> None:
        self.value = value
        self.span = span

    def plain(self) -> Any:
        """Return the value without places, as PyYAML would load it."""
        if isinstance(self.value, dict):
            return {key: entry.node.plain() for key, entry in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


class Entry(NamedTuple):
    """A key's place and its value."""

    key_span: Span
    node: Node


@dataclass(eq=False)
class Fault:
    """Something wrong with a text as YAML, before any rule puts it into words."""

    span: Span


class ByteOrderMark(Fault):
    """The text begins with U+FEFF."""


class SecondDocument(Fault):
    """A `---` starts a document behind the first."""


class Empty(Fault):
    """There is no value at all."""


@dataclass(eq=False)
class Explained(Fault):
    """A fault with a `reason` in words, and a `hint` what to do about it."""

    reason: str
    hint: str | None = None


class NotYaml(Explained):
    """The parser gave up."""


class NotText(Explained):
    """The bytes are no UTF-8 text that YAML allows."""


class TooMuch(Explained):
    """Larger, deeper or fuller than any config."""


class BadAlias(Explained):
    """An alias or a merge that leads nowhere."""


@dataclass(eq=False)
class Tab(Fault):
    """A tab in the indentation; `spaces` replaces it, None where the text stays broken."""

    spaces: str | None


@dataclass(eq=False)
class FullWidth(Fault):
    """A full-width punctuation mark; `ascii` replaces it, None where the text stays broken."""

    mark: str
    ascii: str | None


@dataclass(eq=False)
class Template(Fault):
    """A `{{ name }}` without quotes, which YAML reads as a mapping."""

    written: str


@dataclass(eq=False)
class DuplicateKey(Fault):
    """A key stands twice in a mapping."""

    key: str
    first_line: int
    entry: Entry
    same_value: bool


@dataclass(eq=False)
class KeyNotText(Fault):
    """A key that YAML reads as something else than text; `value` is None for a collection too."""

    written: str
    value: Any


@dataclass(eq=False)
class Tagged(Fault):
    """A tag that asks for an object to be built."""

    tag: str


@dataclass(eq=False)
class BadScalar(Fault):
    """A plain value that looks like a number or a date, and is none."""

    written: str
    reason: str
