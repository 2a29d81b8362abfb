"""Values that know where they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator
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

    def walk(self, steps: Steps = ()) -> Iterator[tuple[Steps, Node]]:
        """Yield the node and all below it, each with its path."""
        yield steps, self
        if isinstance(self.value, dict):
            for key, entry in self.value.items():
                yield from entry.node.walk((*steps, key))
        elif isinstance(self.value, list):
            for index, item in enumerate(self.value):
                yield from item.walk((*steps, index))

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
