"""YAML text -> values that know where they stand.

`load` never raises for bad text: what is wrong with it comes back as `Document.faults`. Scalars
mean what they mean to PyYAML, which the compiler reads its configs with: YAML 1.1, where a plain
`no` is false and `0o17` is text.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from enum import Enum
from functools import cached_property
from typing import Any

from vacc_gen.schema.lint.diagnostics import START, Finding, Fix, Span
from vacc_gen.schema.lint.reader import LINE_BREAK, Node, read

MAX_BYTES = 1 << 20
"""Largest text that is read; the largest published config has 4 kB."""

_BOM = "\ufeff"
_BEFORE_START = START._replace(start=-len(_BOM))
_NOT_PRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_HARMLESS = ("VG003", "VG006")
"""What leaves the values as they are: a byte order mark, and a key that stands twice."""


class Document:
    """A text, its tree, and what is wrong with it as YAML. Offsets count behind `prefix`."""

    def __init__(self, text: str, path: str, prefix: str = "") -> None:
        self.text = text
        self.path = path
        self.prefix = prefix  # a byte order mark, or nothing
        self.root: Node | None = None
        self.aliased: list[Span] = []  # what aliases stand for
        self.faults: list[tuple[str, Finding]] = []  # with the codes of the rules that report them

    @property
    def values(self) -> Any:
        """The values without places, as PyYAML would load them; None for an empty text."""
        return None if self.root is None else self.root.plain()

    @property
    def is_sound(self) -> bool:
        """Whether the values are those that the text says: nothing was skipped or not read."""
        return self.root is not None and all(code in _HARMLESS for code, _ in self.faults)

    def report(
        self, code: str, span: Span, message: str, hint: str | None = None, fix: Fix | None = None
    ) -> None:
        self.faults.append((code, Finding(span, message, hint, fix)))

    def found(self, code: str) -> list[Finding]:
        """Return what is wrong with the text as YAML, by the code of a rule."""
        return [finding for own, finding in self.faults if own == code]

    @cached_property
    def lines(self) -> list[str]:
        """The text by lines, without their ends, as YAML counts lines."""
        return LINE_BREAK.split(self.text)

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(found.end() for found in LINE_BREAK.finditer(self.text))]

    def line_start(self, number: int) -> int:
        """Return the offset at which a line (from 1) starts; the text's end beyond the last."""
        starts = self._line_starts
        return starts[number - 1] if number <= len(starts) else len(self.text)

    def node(self, *path: str | int) -> Node | None:
        """Return the node at a path such as `("frontend", "shape", "input_ids", 0)`, or None."""
        node = self.root
        for step in path:
            value = None if node is None else node.value
            if isinstance(value, dict) and step in value:
                node = value[step].node
            elif isinstance(value, list) and isinstance(step, int) and step < len(value):
                node = value[step]
            else:
                return None
        return node

    def value_span(self, *path: str | int) -> Span:
        """Return where the value at a path stands; without one, the nearest key above it."""
        node = self.node(*path)
        return self.key_span(*path) if node is None else node.span

    def key_span(self, *path: str | int) -> Span:
        """Return where the key of a path stands, or the item of a list; else the key above it."""
        for depth in range(len(path), 0, -1):
            parent, node = self.node(*path[: depth - 1]), self.node(*path[:depth])
            if parent is not None and node is not None:
                is_key = isinstance(parent.value, dict)
                return parent.value[path[depth - 1]].key_span if is_key else node.span
        return self.span_at(0, len(self.lines[0]))

    def span_at(self, start: int, end: int) -> Span:
        line, end_line = (bisect_right(self._line_starts, at) for at in (start, end))
        column = start - self._line_starts[line - 1] + 1
        return Span(line, column, end_line, end - self._line_starts[end_line - 1] + 1, start, end)

    def written(self, span: Span) -> str:
        return self.text[span.start : span.end]

    def fixed(self, fixes: Iterable[Fix]) -> str:
        """Return the file's text with all fixes that do not overlap one before them."""
        text, end = self.prefix + self.text, 0
        parts: list[str] = []
        for fix in sorted(fixes, key=lambda fix: fix.span.start):
            start = fix.span.start + len(self.prefix)
            if start >= end:
                parts += [text[end:start], fix.text]
                end = fix.span.end + len(self.prefix)
        return "".join([*parts, text[end:]])


def load(source: bytes | str, path: str = "<text>") -> Document:
    """Read YAML. Never raises: see `Document.faults`.

    Args:
        source: the file's bytes, or text that was decoded already.
        path: how the file is called in messages.
    """
    if len(source) > MAX_BYTES:
        document = Document("", path)
        reason = f"larger than {MAX_BYTES:,} bytes, the most that a config may have"
        document.report("VG004", START, reason)
        return document
    text = source if isinstance(source, str) else source.decode("utf-8", "surrogateescape")
    document = Document(text.removeprefix(_BOM), path, _BOM if text.startswith(_BOM) else "")
    odd = _NOT_PRINTABLE.search(document.text)
    if odd is not None:
        mark, hint = ord(odd.group()), "save the file as UTF-8 text without control characters"
        reason = f"control character U+{mark:04X}, which YAML does not allow"
        if 0xDC80 <= mark <= 0xDCFF:  # as `surrogateescape` keeps a byte
            reason = f"not UTF-8: byte 0x{mark - 0xDC00:02x}"
        document.report("VG002", document.span_at(*odd.span()), reason, hint)
        return document
    document.root = read(document, _TEMPLATE.sub(r"<<\1>>", document.text))
    if document.prefix:
        message, fix = "the file begins with a byte order mark", Fix(_BEFORE_START, "")
        document.report("VG003", START, message, "save it without one", fix)
    return document


_TEMPLATE = re.compile(r"\{\{([^{}\n]*)\}\}")
"""What a program fills in; the parser gets it with marks that are letters to YAML."""
_PLACEHOLDER = re.compile(
    r"<[A-Za-z_][\w .-]*>|<<[^<>]*>>|\$\{[^{}]*\}|\b(?:TODO|FIXME|TBD|XXX)\b|待定|待填"
    r"|^\s*(?:(?i:todo|tbd|fixme)|\?{2,}|\.{3,})\s*$"
)


def placeholders(document: Document) -> Iterator[tuple[Span, str]]:
    """Yield the values that are, or hold, a word for something that is to be filled in."""
    for _, node in document.root.walk() if document.root else ():
        if isinstance(node.value, str) and _PLACEHOLDER.search(node.value):
            yield node.span, document.written(node.span).strip("\"'")


RECIPE_NAME = "vacc.yaml"

_SECTIONS = frozenset(("frontend", "backend", "graph", "dataset", "workspace"))
_OWN_SECTIONS = frozenset(("frontend", "backend", "workspace"))
_SECTION = re.compile(r"^[\"']?(frontend|backend|workspace)[\"']?\s*[:：]", re.MULTILINE)


class Kind(str, Enum):
    RECIPE = "recipe"
    CONFIG = "compile config"
    OLDER = "config of the older vamc build"
    OTHER = "other"


def kind_of(document: Document) -> Kind:
    """Return what a document is; what cannot be read is judged by how its lines begin."""
    keys, is_recipe = _keys(document), _is_called_recipe(document)
    if is_recipe and not (_SECTIONS & keys and document.root):
        return Kind.RECIPE
    if keys & {"frontend", "backend"}:
        return Kind.CONFIG
    if keys >= {"engine", "model"}:
        return Kind.OLDER
    if keys >= {"version", "model"}:
        return Kind.RECIPE
    return Kind.CONFIG if len((_SECTIONS | {"name"}) & keys) > 1 else Kind.OTHER


def is_ours(document: Document) -> bool:
    """Whether a YAML that was found in a folder is a recipe or a compile config.

    Stricter than for a file that is named: other tools have a `frontend` or a `version`, too.
    """
    kind = kind_of(document)
    if kind is Kind.RECIPE:
        return _is_called_recipe(document)
    if kind is Kind.CONFIG:
        return len(_OWN_SECTIONS & _keys(document)) > 1
    return kind is Kind.OLDER


def _is_called_recipe(document: Document) -> bool:
    return re.split(r"[\\/]", document.path)[-1] == RECIPE_NAME


def _keys(document: Document) -> set[str]:
    """Return the keys at the top level; those of sections alone where the text is not YAML."""
    root = document.root
    if root is not None and isinstance(root.value, dict):
        return set(root.value)
    return set(_SECTION.findall(document.text))
