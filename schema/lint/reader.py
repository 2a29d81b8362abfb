"""Events of the YAML parser -> nodes, within bounds.

The text is read as a stream of events, never as a recursive tree: nesting, aliases and size are
bounded while reading, so that hostile input costs no more than a healthy file of the same size.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import yaml

from vacc_gen.schema.lint.tree import LINE_BREAK, START, Entry, Node, Problem, Span

MAX_NODES = 20_000
"""Most values in one file, aliases expanded."""

MAX_PROBLEMS = 500
"""Most problems that are told; a text with more of them is no config."""

MAX_DEPTH = 64
"""Deepest nesting; a healthy config has seven levels."""

MAX_NUMBER_CHARACTERS = 64
"""Longest number that is made a value; PyYAML takes minutes for a long `1:59:59...`."""

MAX_INT_BITS = 64
"""Largest integer that is told from an impossible one; beyond it, floats and messages fail."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_MERGE_TAG = "tag:yaml.org,2002:merge"
_TAG_PREFIX = "tag:yaml.org,2002:"
_PLAIN_TAGS = frozenset(
    _TAG_PREFIX + name for name in ("str", "int", "float", "bool", "null", "seq", "map")
)
_TAG = re.compile(r"!\S*")


def read(text: str) -> tuple[Node | None, list[Problem]]:
    """Read a text that has printable characters alone.

    Returns:
        The root, or None where there is no value at all; and what is wrong with the text.
    """
    reader = _Reader(text)
    reader.read()
    return reader.root, reader.problems


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
        self.key: tuple[str | None, Node] | None = None  # read, and waiting for its value
        self.merges: list[Node] = []


class _Reader:
    """Turns events into nodes."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self.loader: Any = _Loader(text)
        self.frames: list[_Frame] = []
        self.anchors: dict[str, tuple[Node, int] | None] = {}  # None: still open
        self.size = 0  # values so far, aliases expanded

    def read(self) -> None:
        try:
            for event in self._events():
                self._take(event)
        except _Stop:
            self._keep_open_frames()

    def _keep_open_frames(self) -> None:
        """Keep what was read before the reading ended."""
        told = len(self.problems)
        while self.frames:
            frame = self.frames.pop()
            with suppress(_Stop):
                self._settle(frame)
                self._add(frame.node, None, False)
        # A bracket that is left open is told already; that it stands where a key does is no news.
        kept = [problem for problem in self.problems[told:] if problem.kind != "collection-key"]
        self.problems[told:] = kept

    def _events(self) -> Iterator[Any]:
        documents = 0
        while True:
            try:
                event = self.loader.get_event()
            except yaml.MarkedYAMLError as error:
                self._fail(error)
            except yaml.YAMLError as error:
                self._problem("syntax", START, problem=str(error), context="")
                raise _Stop from error
            if event is None or isinstance(event, yaml.StreamEndEvent):
                return
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._problem("several-documents", self._span(event))
                    raise _Stop
            yield event

    def _fail(self, error: yaml.MarkedYAMLError) -> None:
        context = error.context_mark
        mark = error.problem_mark or context
        if mark is None:
            self._problem("syntax", START, problem=str(error), context="")
            raise _Stop from error
        if context is not None and "could not find expected ':'" in (error.problem or ""):
            mark = context  # the key; the problem is noticed where the next token begins
        end = min(mark.index + 1, len(self.text))
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
            refused = self._refuses_tag(event)
            self._count(event)
            node, is_merge = self._scalar(event, refused)
            self._add(node, event.anchor, is_merge)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            refused = self._refuses_tag(event)
            if len(self.frames) >= MAX_DEPTH:
                self._problem("too-deep", self._span(event), limit=MAX_DEPTH)
                raise _Stop
            size_before = self.size
            self._count(event)
            empty: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
            if event.anchor:
                self.anchors[event.anchor] = None
            node = Node(empty, self._span(event))
            node.rejected = refused and bool(self.frames)
            self.frames.append(_Frame(node, event.anchor, size_before))
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            frame = self.frames.pop()
            self._close(frame, event)
            self._add(frame.node, None, False)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)

    def _count(self, event: Any, size: int = 1) -> None:
        self.size += size
        if self.size > MAX_NODES:
            self._problem("too-many", self._span(event), limit=MAX_NODES, alias=size > 1)
            raise _Stop

    def _refuses_tag(self, event: Any) -> bool:
        if event.tag is None or event.tag == "!" or event.tag in _PLAIN_TAGS:
            return False
        self._problem("tag", self._tag_span(event), tag=_short_tag(event.tag))
        return True

    def _span(self, event: Any) -> Span:
        start, end = event.start_mark, event.end_mark
        if start.index >= len(self.text):  # an absent value: parsers count a line that is not there
            *_, last = LINE_BREAK.split(self.text)
            line, column = len(LINE_BREAK.findall(self.text)) + 1, len(last) + 1
            return Span(line, column, line, column, len(self.text), len(self.text))
        return Span(
            start.line + 1, start.column + 1, end.line + 1, end.column + 1, start.index, end.index
        )

    def _tag_span(self, event: Any) -> Span:
        span = self._span(event)
        found = _TAG.search(self.text, span.start, span.end)
        if found is None or LINE_BREAK.search(self.text, span.start, found.end()):
            return span  # an anchor and a line break stand before the tag
        column = span.column + found.start() - span.start
        width = found.end() - found.start()
        return Span(span.line, column, span.line, column + width, *found.span())

    def _scalar(self, event: Any, refused: bool) -> tuple[Node, bool]:
        """Return the value as PyYAML constructs it, and whether it is the merge key `<<`."""
        loader, tag = self.loader, event.tag
        node = Node(event.value, self._span(event))
        if refused:
            node.rejected = True
            return node, False
        if tag is None or tag == "!":
            tag = loader.resolve(yaml.ScalarNode, event.value, event.implicit)
        if tag == _MERGE_TAG:
            return node, True
        construct = loader.yaml_constructors.get(tag)
        if construct is None or tag == _TAG_PREFIX + "str":
            return node, False
        is_number = tag in (_TAG_PREFIX + "int", _TAG_PREFIX + "float")
        too_large = is_number and len(event.value) > MAX_NUMBER_CHARACTERS
        if not too_large:
            try:
                value = construct(loader, yaml.ScalarNode(tag, event.value))
            except (ValueError, OverflowError, LookupError, AttributeError, yaml.YAMLError):
                value = node
            too_large = isinstance(value, int) and value.bit_length() > MAX_INT_BITS
            if value is not node and not too_large:
                node.value = value
                return node, False
        node.rejected = True
        facts = {"text": event.value, "tag": _short_tag(tag), "too_large": too_large}
        self._problem("bad-scalar", node.span, **facts)
        return node, False

    def _alias(self, event: Any) -> None:
        known = self.anchors.get(event.anchor, ())
        if known is None:
            self._problem("recursive-alias", self._span(event), anchor=event.anchor)
            node = Node(None, self._span(event))
            node.rejected = True
        elif not known:
            self._problem("undefined-alias", self._span(event), anchor=event.anchor)
            node = Node(None, self._span(event))
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
            self.root = node
            return
        frame = self.frames[-1]
        if not frame.is_mapping:
            frame.node.value.append(node)
            if node.rejected:
                frame.node.rejected = True  # a list of numbers, one of which is none
        elif frame.key is None:
            frame.key = (self._key(node, is_merge), node)
        else:
            (key, key_node), frame.key = frame.key, None
            refused = not is_merge and not isinstance(key_node.value, str)
            if key == _MERGE_TAG:
                frame.merges.append(node)
            elif key is not None:
                self._insert(frame.node.value, key, Entry(key_node.span, node, refused))
            if refused or key_node.rejected:
                frame.node.partial = True

    def _key(self, node: Node, is_merge: bool) -> str | None:
        """Return a key as text; None where the entry has to be left out."""
        if is_merge:
            return _MERGE_TAG
        if isinstance(node.value, str):
            return node.value
        if isinstance(node.value, (dict, list)):
            self._problem("collection-key", node.span)
            return None
        written = self.text[node.span.start : node.span.end]
        self._problem("key-not-text", node.span, written=written, value=node.value)
        return written

    def _insert(self, mapping: dict[str, Entry], key: str, entry: Entry) -> None:
        first = mapping.get(key)
        if first is not None:
            facts = {"first_line": first.key_span.line, "nodes": (first.node, entry.node)}
            self._problem("duplicate-key", entry.key_span, key=key, **facts)
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
                else:
                    node.partial = True
                    if not source.rejected:
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
        self.problems.append(Problem(kind, span, facts))
        if len(self.problems) == MAX_PROBLEMS:
            self.problems.append(Problem("too-many-problems", span, {"limit": MAX_PROBLEMS}))
            raise _Stop


def _short_tag(tag: str) -> str:
    return tag.replace(_TAG_PREFIX, "!!")
