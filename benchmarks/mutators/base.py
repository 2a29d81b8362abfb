"""A healthy config with the places of its keys and values, and what a mutator returns.

Nothing here comes from the product: PyYAML says where keys and values stand.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import yaml


class Mutant(NamedTuple):
    """A text with one mistake, and the lines (from 1) where that may be reported."""

    text: str
    lines: frozenset[int]
    suggestion: str | None = None
    """What the hint has to name first, apart from `wrong`."""
    wrong: str | None = None


class Entry(NamedTuple):
    """A key of the format with its value; names of inputs and packages are none."""

    path: tuple[str | int, ...]
    key: yaml.ScalarNode
    value: yaml.Node
    section: yaml.MappingNode

    @property
    def dotted(self) -> str:
        return ".".join(map(str, self.path))

    @property
    def line(self) -> int:
        return int(self.key.start_mark.line) + 1

    @property
    def last_line(self) -> int:
        return int(end_of(self.value).line) + 1

    @property
    def kind(self) -> str | None:
        """`str`, `int`, ... for a scalar that is written out, None for anything else."""
        if isinstance(self.value, yaml.CollectionNode) or not self.value.value:
            return None
        return str(self.value.tag).rpartition(":")[2]


class Config:
    """A config's text, lines and entries."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = text.split("\n")
        self.root = yaml.compose(text, Loader=yaml.SafeLoader)
        self.entries = list(_entries((), self.root))
        self.by_path = {entry.dotted: entry for entry in self.entries}

    def scalars(self, *kinds: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.kind in kinds]

    def blocks(self) -> list[Entry]:
        """Return the entries that share none of their lines with others."""
        before = ((e, self.lines[e.line - 1][: e.key.start_mark.column]) for e in self.entries)
        return [entry for entry, text in before if not text.strip()]

    def one_liners(self) -> list[Entry]:
        """Return the entries `key: value` that are one line of their own."""
        return [e for e in self.blocks() if e.line == e.last_line and e.value.value]

    def with_line(self, number: int, line: str) -> Mutant:
        lines = [*self.lines]
        lines[number - 1] = line
        return Mutant("\n".join(lines), frozenset({number}))

    def without(self, entry: Entry) -> str:
        return "\n".join([*self.lines[: entry.line - 1], *self.lines[entry.last_line :]])

    def with_value(self, node: yaml.Node, text: str, suggestion: str | None = None) -> Mutant:
        start, end = node.start_mark, end_of(node)
        mutated = self.text[: start.index] + text + self.text[end.index :]
        return Mutant(mutated, frozenset(range(start.line + 1, end.line + 2)), suggestion, text)


Mutator = Callable[[random.Random, Config], Mutant | None]
MUTATORS: dict[str, Mutator] = {}


def mutator(choices: Callable[[Config], Sequence[Any]]) -> Callable[[Callable[..., Any]], None]:
    """Register a function that makes a mistake at one of a config's `choices`."""

    def register(function: Callable[[random.Random, Config, Any], Mutant | None]) -> None:
        def mutate(rng: random.Random, config: Config) -> Mutant | None:
            found = choices(config)
            return function(rng, config, rng.choice(found)) if found else None

        MUTATORS[function.__name__.replace("_", " ")] = mutate

    return register


def at(*paths: str) -> Callable[[Config], list[Entry]]:
    """Return what returns the entries that a config has at these paths."""
    return lambda config: [entry for path in paths if (entry := config.by_path.get(path))]


def end_of(node: yaml.Node) -> yaml.Mark:
    """Return where a node ends, without the comments and spaces behind it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return end_of(last[1] if isinstance(last, tuple) else last)
    return node.end_mark


def _entries(path: tuple[str | int, ...], node: yaml.Node) -> Iterator[Entry]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if path[-1:] not in (("shape",), ("pyenv",)):
                yield Entry((*path, key.value), key, value, node)
            yield from _entries((*path, key.value), value)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _entries((*path, index), item)
