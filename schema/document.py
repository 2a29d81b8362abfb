"""YAML text -> values that know where they stand.

`load` never raises for bad text: what is wrong with it comes back as `Document.problems`, and as much
of the tree as could be read comes with it. Scalars mean what they mean to PyYAML, which the compiler
reads its configs with: YAML 1.1, where a plain `no` is false and `0o17` is text.

The text is read as a stream of events, never as a recursive tree: nesting, aliases and size are
bounded while reading, so that hostile input costs no more than a healthy file of the same size.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

MAX_BYTES = 1 << 20
"""Largest text that is read; the largest published config has 4 kB."""

MAX_NODES = 20_000
"""Most values in one file, aliases expanded."""

MAX_DEPTH = 64
"""Deepest nesting; a healthy config has seven levels."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_MERGE_TAG = "tag:yaml.org,2002:merge"
_TAG_PREFIX = "tag:yaml.org,2002:"
_PLAIN_TAGS = frozenset(
    _TAG_PREFIX + name for name in ("str", "int", "float", "bool", "null", "seq", "map")
)
_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_NOT_PRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


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

    __slots__ = ("rejected", "span", "value")

    def __init__(self, value: Any, span: Span) -> None:
        self.value = value
        self.span = span
        self.rejected = False  # set by the structural check: rules must not look inside

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


class Document:
    """A text, its tree, and what is wrong with it as YAML."""

    def __init__(self, text: str, path: str) -> None:
        self.text = text
        self.path = path
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self.comments = "#" in text
        self._lines: list[str] | None = None

    @property
    def values(self) -> Any:
        """The values without places, as PyYAML would load them; None for an empty text."""
        return None if self.root is None else self.root.plain()

    @property
    def complete(self) -> bool:
        """Whether the whole text was read: False after an error that ended the reading."""
        return not any(problem.kind in _FATAL for problem in self.problems)

    @property
    def lines(self) -> list[str]:
        """The text by lines, without their ends, as YAML counts lines."""
        if self._lines is None:
            self._lines = _LINE_BREAK.split(self.text)
        return self._lines

    def line_start(self, number: int) -> int:
        """Return the offset at which a line (from 1) starts."""
        start = 0
        for found in _LINE_BREAK.finditer(self.text):
            if number == 1:
                break
            number -= 1
            start = found.end()
        return start

    def node(self, *path: str | int) -> Node | None:
        """Return the node at a path such as `("frontend", "shape", "input_ids", 0)`, or None."""
        node = self.root
        for step in path:
            if node is None:
                return None
            if isinstance(node.value, dict):
                entry = node.value.get(step)
                node = entry.node if entry else None
            elif isinstance(node.value, list) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
            else:
                return None
        return node

    def span_at(self, start: int, end: int) -> Span:
        """Return the span between two offsets."""
        before = _LINE_BREAK.split(self.text[:start])
        inside = _LINE_BREAK.split(self.text[start:end])
        line, column = len(before), len(before[-1]) + 1
        end_line = line + len(inside) - 1
        end_column = len(inside[-1]) + (column if len(inside) == 1 else 1)
        return Span(line, column, end_line, end_column, start, end)


_FATAL = frozenset(
    (
        "syntax",
        "tab",
        "not-text",
        "too-large",
        "too-deep",
        "too-many",
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
        document = Document("", path)
        document.problems.append(
            Problem("too-large", Span(1, 1, 1, 1, 0, 0), {"bytes": len(source), "limit": MAX_BYTES})
        )
        return document
    text, encoding_problem = _decode(source) if isinstance(source, bytes) else (source, None)
    if text.startswith("\ufeff"):
        encoding_problem = encoding_problem or Problem("bom", Span(1, 1, 1, 1, 0, 0), {})
        text = text[1:]
    document = Document(text, path)
    if encoding_problem:
        document.problems.append(encoding_problem)
    control = _NOT_PRINTABLE.search(text)
    if control:
        document.problems.append(
            Problem(
                "control",
                document.span_at(control.start(), control.end()),
                {"character": control.group()},
            )
        )
    elif document.complete:
        _Reader(document).read()
    return document


def _decode(source: bytes) -> tuple[str, Problem | None]:
    """Decode UTF-8; say so where it is UTF-16, UTF-32 or no text at all."""
    start = Span(1, 1, 1, 1, 0, 0)
    for bom, encoding in (
        (b"\xff\xfe\x00\x00", "utf-32"),
        (b"\x00\x00\xfe\xff", "utf-32"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
    ):
        if source.startswith(bom):
            try:
                return source.decode(encoding), Problem("encoding", start, {"encoding": encoding})
            except UnicodeDecodeError:
                break
    try:
        return source.decode("utf-8"), None
    except UnicodeDecodeError as error:
        before = source[: error.start].decode("utf-8")
        document = Document(before + "\ufffd", "")
        span = document.span_at(len(before), len(before) + 1)
        return before, Problem("not-text", span, {"byte": source[error.start]})


class _Stop(Exception):  # noqa: N818 - not an error: ends the reading early
    """Reading cannot go on; the problem is on record."""


class _Frame:
    """A collection that is being read."""

    __slots__ = ("anchor", "is_mapping", "key", "merges", "node", "size_before")

    def __init__(self, node: Node, anchor: str | None, size_before: int) -> None:
        self.node = node
        self.is_mapping = isinstance(node.value, dict)
        self.anchor = anchor
        self.size_before = size_before
        self.key: tuple[str | None, Span] | None = None  # read, and waiting for its value
        self.merges: list[Node] = []


class _Reader:
    """Turns events into nodes."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.loader: Any = _Loader(document.text)
        self.frames: list[_Frame] = []
        self.anchors: dict[str, tuple[Node, int] | None] = {}  # None: still open
        self.size = 0  # values so far, aliases expanded

    def read(self) -> None:
        try:
            for event in self._events():
                self._take(event)
        except _Stop:
            while self.frames:  # keep what was read before the error
                frame = self.frames.pop()
                self._settle(frame)
                self._add(frame.node, None, False)

    def _events(self) -> Iterator[Any]:
        documents = 0
        while True:
            try:
                event = self.loader.get_event()
            except yaml.MarkedYAMLError as error:
                self._fail(error)
            except yaml.YAMLError as error:
                self._problem("syntax", Span(1, 1, 1, 1, 0, 0), problem=str(error), context="")
                raise _Stop from error
            if event is None or isinstance(event, yaml.StreamEndEvent):
                return
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._problem("several-documents", _span(event))
                    raise _Stop
            yield event

    def _fail(self, error: yaml.MarkedYAMLError) -> None:
        context = error.context_mark
        mark = error.problem_mark or context
        if mark is None:
            self._problem("syntax", Span(1, 1, 1, 1, 0, 0), problem=str(error), context="")
            raise _Stop from error
        if context is not None and "could not find expected ':'" in (error.problem or ""):
            mark = context  # the key; the problem is noticed where the next token begins
        end = min(mark.index + 1, len(self.document.text))
        span = Span(mark.line + 1, mark.column + 1, mark.line + 1, mark.column + 2, mark.index, end)
        self._problem(
            "syntax",
            span,
            problem=error.problem or "",
            context=error.context or "",
            context_line=context.line + 1 if context else None,
            context_column=context.column + 1 if context else None,
        )
        raise _Stop from error

    def _take(self, event: Any) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._check_tag(event)
            self._count(event)
            value, is_merge = self._scalar(event)
            self._add(Node(value, _span(event)), event.anchor, is_merge)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self._check_tag(event)
            if len(self.frames) >= MAX_DEPTH:
                self._problem("too-deep", _span(event), limit=MAX_DEPTH)
                raise _Stop
            size_before = self.size
            self._count(event)
            empty: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
            if event.anchor:
                self.anchors[event.anchor] = None
            self.frames.append(_Frame(Node(empty, _span(event)), event.anchor, size_before))
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            frame = self.frames.pop()
            self._close(frame, event)
            self._add(frame.node, None, False)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)

    def _count(self, event: Any, size: int = 1) -> None:
        self.size += size
        if self.size > MAX_NODES:
            self._problem("too-many", _span(event), limit=MAX_NODES, alias=size > 1)
            raise _Stop

    def _check_tag(self, event: Any) -> None:
        if event.tag is not None and event.tag != "!" and event.tag not in _PLAIN_TAGS:
            self._problem("tag", self._tag_span(event), tag=_short_tag(event.tag))

    def _tag_span(self, event: Any) -> Span:
        span = _span(event)
        found = re.compile(r"!\S*").search(self.document.text, span.start, span.end)
        start, end = found.span() if found else (span.start, span.end)
        return self.document.span_at(start, end)

    def _scalar(self, event: Any) -> tuple[Any, bool]:
        """Return the value as PyYAML constructs it, and whether it is the merge key `<<`."""
        loader, tag = self.loader, event.tag
        if tag is None or tag == "!":
            tag = loader.resolve(yaml.ScalarNode, event.value, event.implicit)
        if tag == "tag:yaml.org,2002:str":
            return event.value, False
        if tag == _MERGE_TAG:
            return event.value, True
        construct = loader.yaml_constructors.get(tag)
        if tag not in _PLAIN_TAGS and tag != _TAG_PREFIX + "timestamp":
            construct = None
        if construct is None:
            return event.value, False
        try:
            return construct(loader, yaml.ScalarNode(tag, event.value)), False
        except (ValueError, OverflowError, KeyError, IndexError, yaml.YAMLError):
            self._problem("bad-scalar", _span(event), text=event.value, tag=_short_tag(tag))
            return event.value, False

    def _alias(self, event: Any) -> None:
        known = self.anchors.get(event.anchor, ())
        if known is None:
            self._problem("recursive-alias", _span(event), anchor=event.anchor)
            node = Node(None, _span(event))
            node.rejected = True
        elif not known:
            self._problem("undefined-alias", _span(event), anchor=event.anchor)
            node = Node(None, _span(event))
            node.rejected = True
        else:
            node, size = known
            self._count(event, size)
        self._add(node, None, False)

    def _add(self, node: Node, anchor: str | None, is_merge: bool) -> None:
        """Hang a finished node into the collection around it."""
        if anchor:
            self.anchors[anchor] = (node, 1)
        if not self.frames:
            self.document.root = node
            return
        frame = self.frames[-1]
        if not frame.is_mapping:
            frame.node.value.append(node)
        elif frame.key is None:
            frame.key = (self._key(node, is_merge), node.span)
        else:
            (key, key_span), frame.key = frame.key, None
            if key == _MERGE_TAG:
                frame.merges.append(node)
            elif key is not None:
                self._insert(frame.node.value, key, Entry(key_span, node))

    def _key(self, node: Node, is_merge: bool) -> str | None:
        """Return a key as text; None where the entry has to be left out."""
        if is_merge:
            return _MERGE_TAG
        if isinstance(node.value, str):
            return node.value
        if isinstance(node.value, (dict, list)):
            self._problem("collection-key", node.span)
            return None
        written = self.document.text[node.span.start : node.span.end]
        self._problem("key-not-text", node.span, written=written, value=node.value)
        return written

    def _insert(self, mapping: dict[str, Entry], key: str, entry: Entry) -> None:
        first = mapping.get(key)
        if first is not None:
            self._problem("duplicate-key", entry.key_span, key=key, first_line=first.key_span.line)
        mapping[key] = entry  # the last one wins, as in PyYAML

    def _close(self, frame: _Frame, event: Any) -> None:
        self._settle(frame, event)
        if frame.anchor:
            self.anchors[frame.anchor] = (frame.node, self.size - frame.size_before)

    def _settle(self, frame: _Frame, event: Any = None) -> None:
        """Merge what `<<` asks for, and end the span of a block where its last value ends."""
        node = frame.node
        for merged in frame.merges:
            sources = merged.value if isinstance(merged.value, list) else [merged]
            for source in sources:
                if isinstance(source.value, dict):
                    for key, entry in source.value.items():
                        node.value.setdefault(key, entry)
                elif not source.rejected:
                    self._problem("bad-merge", source.span)
        if event is not None and event.end_mark.index > event.start_mark.index:  # flow style
            end = event.end_mark
            node.span = node.span._replace(
                end_line=end.line + 1, end_column=end.column + 1, end=end.index
            )
        elif node.value:
            children = node.value.values() if frame.is_mapping else node.value
            last = max(
                (child.node.span if frame.is_mapping else child.span for child in children),
                key=lambda span: span.end,
            )
            node.span = node.span._replace(
                end_line=last.end_line, end_column=last.end_column, end=last.end
            )

    def _problem(self, kind: str, span: Span, **facts: Any) -> None:
        self.document.problems.append(Problem(kind, span, facts))


def _span(event: Any) -> Span:
    start, end = event.start_mark, event.end_mark
    return Span(
        start.line + 1, start.column + 1, end.line + 1, end.column + 1, start.index, end.index
    )


def _short_tag(tag: str) -> str:
    return tag.replace(_TAG_PREFIX, "!!")
