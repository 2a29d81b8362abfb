"""YAML text -> values that know where they stand.

`load` never raises for bad text: what is wrong with it comes back as `Document.problems`, and with
it as much of the tree as could be read. Scalars mean what they mean to PyYAML, which the compiler
reads its configs with: YAML 1.1, where a plain `no` is false and `0o17` is text.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cached_property
from typing import Any

from vacc_gen.schema.lint.reader import read
from vacc_gen.schema.lint.tree import LINE_BREAK, START, Entry, Node, Problem, Span

__all__ = ["MAX_BYTES", "Document", "Entry", "Node", "Problem", "Span", "load"]

MAX_BYTES = 1 << 20
"""Largest text that is read; the largest published config has 4 kB."""

_NOT_PRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


_SUSPICIOUS = re.compile(
    r"""
      [^\x00-\x7f]                  # full-width, invisible; or a comment in Chinese
    | ^[ ]*-(?:[^\s-]|-\d) | ^(?:\+|\d|-[ ]{2})  # a dash without its blank; a diff, a listing
    | ^[ ]*(?:-[ ])?[\"']?\w[\w.-]*[\"']?(?::[^\s/]|:/[^/]|[ ]*[=;~<>!]|[ ]+[^\s:\#])
    | [,;"')][ ]*$ | [,;][ ]*\#
    | [^\s\#]\#[ ] | [ ]// | :[ ]+\(
    """,
    re.MULTILINE | re.VERBOSE,
)
"""What a line has that `slips` may find something in; most texts have it nowhere."""


class Document:
    """A text, its tree, and what is wrong with it as YAML."""

    def __init__(self, text: str, path: str) -> None:
        self.text = text
        self.path = path
        self.root: Node | None = None
        self.problems: list[Problem] = []

    @property
    def values(self) -> Any:
        """The values without places, as PyYAML would load them; None for an empty text."""
        return None if self.root is None else self.root.plain()

    @property
    def complete(self) -> bool:
        """Whether the whole text was read: False after an error that ended the reading."""
        return not any(problem.kind in _FATAL for problem in self.problems)

    @property
    def suspicious(self) -> bool:
        """Whether a line looks as if it had a slip of the pen in it; see `slips`."""
        return _SUSPICIOUS.search(self.text) is not None

    @cached_property
    def lines(self) -> list[str]:
        """The text by lines, without their ends, as YAML counts lines."""
        return LINE_BREAK.split(self.text)

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(found.end() for found in LINE_BREAK.finditer(self.text))]

    def line_start(self, number: int) -> int:
        """Return the offset at which a line (from 1) starts."""
        return self._line_starts[number - 1]

    def line_span(self, number: int) -> Span:
        """Return the span of a line (from 1) without the blanks around it."""
        line = self.lines[number - 1]
        start, bare = self.line_start(number), line.strip(" \t")
        own = len(line) - len(line.lstrip(" \t"))
        end = own + len(bare)
        return Span(number, own + 1, number, end + 1, start + own, start + end)

    def node(self, *path: str | int) -> Node | None:
        """Return the node at a path such as `("frontend", "shape", "input_ids", 0)`, or None."""
        node = self.root
        for step in path:
            if node is None:
                return None
            node = self.below(node, step)
        return node

    @staticmethod
    def below(node: Node, step: str | int) -> Node | None:
        """Return the node under a key, or at a position, of another one; None if there is none."""
        if isinstance(node.value, dict):
            entry = node.value.get(step)
            return entry.node if entry else None
        if isinstance(node.value, list) and isinstance(step, int) and step < len(node.value):
            item: Node = node.value[step]
            return item
        return None

    def span_at(self, start: int, end: int) -> Span:
        """Return the span between two offsets."""
        line, end_line = (bisect_right(self._line_starts, at) for at in (start, end))
        column = start - self.line_start(line) + 1
        return Span(line, column, end_line, end - self.line_start(end_line) + 1, start, end)


_FATAL = frozenset(
    (
        "syntax",
        "tab",
        "not-text",
        "too-large",
        "too-deep",
        "too-many",
        "too-many-problems",
        "several-documents",
        "control",
    )
)


def load(source: bytes | str, path: str = "<text>") -> Document:
    """Read YAML. Never raises: see `Document.problems`.

    Args:
        source: the file's bytes, or text that was decoded already.
        path: how the file is called in messages.
    """
    if len(source) > MAX_BYTES:
        return too_large(path, len(source))
    text, encoding_problem = _decode(source) if isinstance(source, bytes) else (source, None)
    if text.startswith("\ufeff"):
        encoding_problem = encoding_problem or Problem("bom", START, {})
        text = text[1:]
    document = Document(text, path)
    if encoding_problem:
        document.problems.append(encoding_problem)
    control = _NOT_PRINTABLE.search(text)
    if control:
        facts = {"character": control.group()}
        document.problems.append(Problem("control", document.span_at(*control.span()), facts))
    elif document.complete:
        document.root, problems = read(text)
        document.problems += problems
    return document


def too_large(path: str, size_bytes: int) -> Document:
    """Return what stands for a file that is larger than any config, and is not read."""
    document = Document("", path)
    facts = {"bytes": size_bytes, "limit": MAX_BYTES}
    document.problems.append(Problem("too-large", START, facts))
    return document


def _decode(source: bytes) -> tuple[str, Problem | None]:
    """Decode UTF-8; say so where it is UTF-16, UTF-32 or no text at all."""
    for bom, encoding in (
        (b"\xff\xfe\x00\x00", "utf-32"),
        (b"\x00\x00\xfe\xff", "utf-32"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
    ):
        if source.startswith(bom):
            try:
                return source.decode(encoding), Problem("encoding", START, {"encoding": encoding})
            except UnicodeDecodeError:
                break
    try:
        return source.decode("utf-8"), None
    except UnicodeDecodeError as error:
        before = source[: error.start].decode("utf-8")
        document = Document(before + "\ufffd", "")
        span = document.span_at(len(before), len(before) + 1)
        return before, Problem("not-text", span, {"byte": source[error.start]})
