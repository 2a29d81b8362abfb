"""Values that know where they stand."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""What ends a line in YAML 1.1."""


class Span(NamedTuple):
    """A stretch of text. Lines and columns count from 1, in characters; the end is exclusive."""

    line: int
    column: int
    end_line: int
    end_column: int
    start: int  # offset of the first character
    end: int


class Problem(NamedTuple):
    """Something wrong with a text, before any rule puts it into words."""

    kind: str
    span: Span
    facts: dict[str, Any]


class Node:
    """A value and its place. `value` is a scalar, a list of nodes, or a dict of key to `Entry`."""

    __slots__ = ("partial", "rejected", "span", "value")

    def __init__(self, value: Any, span: Span) -> None:
        self.value = value
        self.span = span
        self.rejected = False  # told as wrong already: nobody must look inside
        self.partial = False  # a key of it could not be read: nothing must be called missing

    def plain(self) -> Any:
        """Return the value without places, as PyYAML would load it."""
        if isinstance(self.value, dict):
            return {key: entry.node.plain() for key, entry in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def holds_rejected(self) -> bool:
        """Whether this value or one below it is told as wrong, or could not be read as a whole."""
        below: Iterable[Node] = ()
        if isinstance(self.value, dict):
            below = (entry.node for entry in self.value.values())
        elif isinstance(self.value, list):
            below = self.value
        return self.rejected or self.partial or any(node.holds_rejected() for node in below)


class Entry(NamedTuple):
    """A key's place and its value."""

    key_span: Span
    node: Node
    refused: bool = False  # the key is told as wrong already


START = Span(1, 1, 1, 1, 0, 0)
"""Where a text begins."""
