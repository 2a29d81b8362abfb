"""Events of the YAML parser -> nodes, within bounds.

Nesting, aliases and size are bounded while reading, so that hostile input costs no more than a
healthy file of the same size.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from vacc_gen.schema.lint.diagnostics import (
    START,
    Fix,
    Span,
    Steps,
    as_written,
    kind_of_value,
    plain,
)

if TYPE_CHECKING:
    from vacc_gen.schema.lint.document import Document

LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""What ends a line in YAML 1.1."""

MAX_NODES = 20_000
"""Most values in one file, aliases expanded."""

MAX_DEPTH = 64
"""Deepest nesting; a healthy config has seven levels."""

MAX_NUMBER_CHARACTERS = 64
"""Longest number that is made a value; PyYAML takes minutes for a long `1:59:59...`."""

MAX_INT_BITS = 63
"""Of a whole number; pydantic has other words for larger ones."""

_TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"
_TAG_PREFIX = "tag:yaml.org,2002:"
_PLAIN_TAGS = {_TAG_PREFIX + kind for kind in ("str", "int", "float", "bool", "null", "seq", "map")}

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


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


def read(document: Document, text: str) -> Node | None:
    """Return the root of the text of a document, and report there what is wrong with it.

    The text has printable characters alone. None: it could not be read to its end.
    """
    try:
        return _Reader(document, text).read()
    except yaml.YAMLError as error:
        document.faults.clear()
        if "nesting depth" in str(error):  # libyaml's own bound, beyond ours
            document.report("VG004", START, _TOO_DEEP)
        else:
            from vacc_gen.schema.lint.syntax import explain  # its patterns: for broken texts alone

            explain(document, error)
    except _StopError:
        pass
    return None


class _StopError(Exception):
    """Nothing is read behind what was reported last."""


class _Reader:
    def __init__(self, document: Document, text: str) -> None:
        self.document = document
        self.loader: Any = _Loader(text)
        self.anchors: dict[str, tuple[Node, int] | None] = {}  # with sizes; None: still open
        self.size = 0  # values so far, aliases expanded

    def read(self) -> Node | None:
        root = None
        while (event := self.loader.get_event()) is not None:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    span, hint = self._span(event), "one config, one file"
                    self.document.report("VG005", span, "a second document begins here", hint)
                    raise _StopError
                root = self._node(self.loader.get_event())
        if root is None or root.value is None:
            self.document.report("VG012", START, "the file is empty")
        return root

    def _node(self, event: Any, depth: int = 0) -> Node:
        """Read what an event begins; `depth` is the number of collections around it."""
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        span, size_before = self._span(event), self.size
        self._count(span)
        has_tag = event.tag not in (None, "!", *_PLAIN_TAGS)
        if has_tag:
            message = f"the tag `{event.tag.replace(_TAG_PREFIX, '!!')}` is refused"
            self.document.report("VG007", span, message, "write a plain value")
        if isinstance(event, yaml.ScalarEvent):
            node = Node(event.value if has_tag else self._scalar(event, span), span)
        elif depth == MAX_DEPTH:
            self.document.report("VG004", span, _TOO_DEEP)
            raise _StopError
        else:
            if event.anchor:
                self.anchors[event.anchor] = None
            is_mapping = isinstance(event, yaml.MappingStartEvent)
            node = Node(None, span)
            (self._read_mapping if is_mapping else self._read_list)(node, depth + 1)
        if event.anchor:
            self.anchors[event.anchor] = (node, self.size - size_before)
        return node

    def _span(self, event: Any) -> Span:
        last, start, end = len(self.document.text), event.start_mark, event.end_mark
        if start.index >= last:  # an absent value: parsers count a line that is not there
            return self.document.span_at(last, last)
        place = (start.line + 1, start.column + 1, end.line + 1, end.column + 1)
        return Span(*place, start.index, end.index)

    def _count(self, span: Span, size: int = 1) -> None:
        self.size += size
        if self.size > MAX_NODES:
            what = "aliases that stand for" if size > 1 else "holds"
            self.document.report("VG004", span, f"{what} more than {MAX_NODES:,} values")
            raise _StopError

    def _alias(self, event: Any) -> Node:
        span, known = self._span(event), self.anchors.get(event.anchor, ())
        if known:
            node, size = known
            self._count(span, size)
            self.document.aliased.append(node.span)
            return node
        reason = "contains itself" if known is None else "has no anchor above it"
        self.document.report("VG007", span, f"the alias `*{event.anchor}` {reason}")
        return Node(None, span)

    def _scalar(self, event: Any, span: Span) -> Any:
        """Return the value as PyYAML constructs it."""
        tag = event.tag
        if tag is None or tag == "!":
            tag = self.loader.resolve(yaml.ScalarNode, event.value, event.implicit)
        kind = tag.removeprefix(_TAG_PREFIX)
        construct = self.loader.yaml_constructors.get(tag)
        if kind == "str" or construct is None:
            return event.value
        reason = "is a number too large for any config"
        if len(event.value) <= MAX_NUMBER_CHARACTERS or kind not in ("int", "float"):
            try:
                value = construct(self.loader, yaml.ScalarNode(tag, event.value))
                if not isinstance(value, int) or value.bit_length() <= MAX_INT_BITS:
                    return value
            except (ValueError, OverflowError, LookupError, AttributeError, yaml.YAMLError):
                reason = f"looks like {'an' if kind == 'int' else 'a'} {kind} and is none"
        message = f"{as_written(event.value)} {reason}"
        self.document.report("VG007", span, message, "put it in quotes if it is text")
        return event.value

    def _read_list(self, node: Node, depth: int) -> None:
        node.value = items = []
        while not isinstance(event := self.loader.get_event(), yaml.SequenceEndEvent):
            items.append(self._node(event, depth))
        self._end(node, event, items)

    def _read_mapping(self, node: Node, depth: int) -> None:
        mapping: dict[str, Entry] = {}
        merged: list[Node] = []
        while not isinstance(event := self.loader.get_event(), yaml.MappingEndEvent):
            key = self._node(event, depth)
            value = self._node(self.loader.get_event(), depth)
            is_plain = isinstance(event, yaml.ScalarEvent) and event.implicit[0]
            if key.value == "<<" and is_plain:
                merged += value.value if isinstance(value.value, list) else [value]
            elif isinstance(key.value, str):
                self._insert(mapping, key.value, Entry(key.span, value))
            else:
                self._report_key(key)
        for source in merged:
            if isinstance(source.value, dict):
                mapping = {**source.value, **mapping}
            else:
                message = "`<<` merges a mapping or a list of mappings, nothing else"
                self.document.report("VG007", source.span, message)
        node.value = mapping
        self._end(node, event, [entry.node for entry in mapping.values()])

    def _end(self, node: Node, event: Any, items: list[Node]) -> None:
        """End a flow collection at its bracket, a block where its last value ends."""
        end = event.end_mark.index
        if end == event.start_mark.index:  # block style
            end = max((item.span.end for item in items), default=node.span.end)
        node.span = self.document.span_at(node.span.start, end)

    def _report_key(self, node: Node) -> None:
        """Report a key that is not text to YAML."""
        kind, written = kind_of_value(node.value), self.document.written(node.span)
        if isinstance(node.value, (dict, list)):
            self.document.report("VG008", node.span, f"{kind} as a key", "a key is a word")
            return
        read, quoted = plain(node.value) if isinstance(node.value, bool) else kind, f'"{written}"'
        message = f"YAML reads the key `{written}` as {read}, not as text"
        self.document.report("VG008", node.span, message, f"write {quoted}", Fix(node.span, quoted))

    def _insert(self, mapping: dict[str, Entry], key: str, entry: Entry) -> None:
        first = mapping.get(key)
        if first is not None:
            hint, fix = f"the first is on line {first.key_span.line}; delete one", None
            if first.node.plain() == entry.node.plain():
                hint = f"the first is on line {first.key_span.line}, with the same value"
                fix = self._without(entry)
            self.document.report("VG006", entry.key_span, f"duplicate key `{key}`", hint, fix)
        mapping[key] = entry  # the last one wins, as in PyYAML

    def _without(self, entry: Entry) -> Fix | None:
        """Take an entry of a block mapping out with its lines; None where others stand on them."""
        document, first = self.document, entry.key_span
        start = document.line_start(first.line)
        last = max(first, entry.node.span, key=lambda span: span.end)
        rest = document.lines[last.end_line - 1][last.end_column - 1 :].strip(" :")
        if document.text[start : first.start].strip(" ") or rest[:1] not in ("", "#"):
            return None
        whole = document.span_at(start, document.line_start(last.end_line + 1))
        return None if "&" in document.written(whole) else Fix(whole, "")  # an alias may follow
