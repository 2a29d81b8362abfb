"""Mistakes that people make in compile configs, each as a function that makes one.

A mutator takes a random generator and a healthy document, and returns a text with one mistake in
it, the lines where the mistake may be told, and what the first suggestion has to be, if any.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from vacc_gen.schema.lint.document import Document, Entry, Node


class Mutant(NamedTuple):
    text: str
    lines: frozenset[int]
    suggestion: str | None = None
    what: str = ""
    mistakes: int = 1  # how many findings are due; where several, one at each of the lines


Mutator = Callable[[random.Random, Document], Mutant | None]
MUTATORS: dict[str, Mutator] = {}
Change = Callable[[random.Random, Document], str]
HARMLESS: dict[str, Change] = {}
Path = tuple[str | int, ...]


def mutator(function: Mutator) -> Mutator:
    MUTATORS[function.__name__.replace("_", " ")] = function
    return function


def harmless(function: Change) -> Change:
    HARMLESS[function.__name__.replace("_", " ")] = function
    return function


class Place(NamedTuple):
    """An entry of a mapping: its path, its key's place and value, and the mapping."""

    path: Path
    entry: Entry
    mapping: Node

    @property
    def key(self) -> str:
        return str(self.path[-1])


def places(document: Document) -> Iterator[Place]:
    """Yield the entries whose keys are of the format: not the names of inputs or packages."""
    stack: list[tuple[Path, Node]] = [((), document.root)] if document.root else []
    while stack:
        path, node = stack.pop()
        if isinstance(node.value, dict):
            for key, entry in node.value.items():
                if path[-1:] not in (("shape",), ("pyenv",)):
                    yield Place((*path, key), entry, node)
                stack.append(((*path, key), entry.node))
        elif isinstance(node.value, list):
            stack += [((*path, index), item) for index, item in enumerate(node.value)]


def one(rng: random.Random, choices: Iterator[Any] | list[Any]) -> Any:
    """Return one of the choices, or None where there are none."""
    found = list(choices)
    return rng.choice(found) if found else None


def spliced(document: Document, start: int, end: int, text: str) -> str:
    return document.text[:start] + text + document.text[end:]


def with_value(document: Document, node: Node, text: str, what: str, **extra: Any) -> Mutant:
    """Put another text where a value is."""
    lines = frozenset(range(node.span.line, node.span.end_line + 1))
    return Mutant(
        spliced(document, node.span.start, node.span.end, text), lines, what=what, **extra
    )


def with_items(document: Document, lists: list[tuple[Node, list[Any]]], what: str) -> Mutant:
    """Put other items where the items of lists are, one for one, whatever the lists' style."""
    changes = [
        (item.span, str(value))
        for node, values in lists
        for item, value in zip(node.value, values, strict=True)
    ]
    text = document.text
    for span, written in sorted(changes, key=lambda change: change[0].start, reverse=True):
        text = text[: span.start] + written + text[span.end :]
    lines = {
        line for node, _ in lists for line in range(node.span.line - 1, node.span.end_line + 1)
    }
    return Mutant(text, frozenset(lines), what=what)


def block_lines(document: Document, entry: Entry) -> tuple[int, int] | None:
    """Return the first and the last line (from 1) of an entry that has its lines for itself."""
    first = entry.key_span.line
    line = document.lines[first - 1]
    if line[: entry.key_span.column - 1].strip():
        return None
    span = entry.node.span
    last = span.end_line if span.end_column > 1 else span.end_line - 1
    return first, max(first, last)


def without_lines(document: Document, first: int, last: int) -> list[str]:
    return [*document.lines[: first - 1], *document.lines[last:]]


def reindented(lines: list[str], by: int) -> list[str]:
    return [" " * by + line if by > 0 else line[-by:] for line in lines]


def nodes(node: Node | None) -> Iterator[Node]:
    if node is None:
        return
    yield node
    if isinstance(node.value, dict):
        for entry in node.value.values():
            yield from nodes(entry.node)
    elif isinstance(node.value, list):
        for item in node.value:
            yield from nodes(item)


def scalars(document: Document, kind: type) -> list[Place]:
    return [place for place in places(document) if type(place.entry.node.value) is kind]


def dotted(path: Path) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text or "the top level"
