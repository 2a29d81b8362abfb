"""Events of the YAML parser -> nodes, within bounds.

The text is read as a stream of events, never as a recursive tree: nesting, aliases and size are
bounded while reading, so that hostile input costs no more than a healthy file of the same size.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from vacc_gen.schema.lint.diagnostics import (
    START,
    Fault,
    Finding,
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

MAX_FAULTS = 500
"""Most faults that are reported; a text with more of them is no config."""

MAX_DEPTH = 64
"""Deepest nesting; a healthy config has seven levels."""

_TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"
MAX_NUMBER_CHARACTERS = 64
"""Longest number that is made a value; PyYAML takes minutes for a long `1:59:59...`."""

MAX_INT_BITS = 64
"""Largest integer that is made a value; beyond it, floats and messages fail."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_TAG_PREFIX = "tag:yaml.org,2002:"
_PLAIN_TAGS = frozenset(
    _TAG_PREFIX + name for name in ("str", "int", "float", "bool", "null", "seq", "map")
)


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


def read(document: Document) -> tuple[Node | None, list[Fault]]:
    """Read a document of printable characters.

    Returns:
        The root, None where the text could not be read to its end; and what is wrong with it.
    """
    reader = _Reader(document)
    try:
        reader.read()
    except yaml.YAMLError as error:
        if "nesting depth" in str(error):  # libyaml's own bound, beyond ours
            return None, [Fault("VG004", Finding(START, _TOO_DEEP))]
        from vacc_gen.schema.lint.syntax import explain  # its patterns: for broken texts alone

        return None, explain(document.text, error)
    except _StopError as stop:
        return None, [*reader.faults, stop.fault]
    return reader.root, reader.faults


class _StopError(Exception):
    """Nothing is read behind this place."""

    def __init__(self, code: str, span: Span, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.fault = Fault(code, Finding(span, message, hint))


@dataclass
class _Frame:
    """A collection that is being read."""

    node: Node
    anchor: str | None
    size_before: int
    key: tuple[Node, bool] | None = None  # read, and waiting for its value; is it `<<`?
    merges: list[Node] = field(default_factory=list)


class _Reader:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.root: Node | None = None
        self.faults: list[Fault] = []
        self.loader: Any = _Loader(document.text)
        self.frames: list[_Frame] = []
        self.anchors: dict[str, tuple[Node, int] | None] = {}  # None: still open
        self.size = 0  # values so far, aliases expanded

    def read(self) -> None:
        documents = 0
        while (event := self.loader.get_event()) is not None:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    message, hint = "a second document begins here", "one config, one file"
                    raise _StopError("VG005", self._span(event), message, hint)
            elif isinstance(event, yaml.ScalarEvent):
                self._count(event)
                self._add(*self._scalar(event), event.anchor)
            elif isinstance(event, yaml.CollectionStartEvent):
                self._open(event)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._close(event)
            elif isinstance(event, yaml.AliasEvent):
                self._add(self._alias(event))
        if self.root is None or self.root.value is None:
            self._report("VG012", START, "the file is empty")

    def _report(
        self, code: str, span: Span, message: str, hint: str | None = None, fix: Fix | None = None
    ) -> None:
        self.faults.append(Fault(code, Finding(span, message, hint, fix)))
        if len(self.faults) >= MAX_FAULTS:
            raise _StopError("VG004", span, f"more than {MAX_FAULTS} mistakes above")

    def _open(self, event: Any) -> None:
        self._check_tag(event)
        if len(self.frames) >= MAX_DEPTH:
            raise _StopError("VG004", self._span(event), _TOO_DEEP)
        size_before = self.size
        self._count(event)
        empty: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        if event.anchor:
            self.anchors[event.anchor] = None
        self.frames.append(_Frame(Node(empty, self._span(event)), event.anchor, size_before))

    def _close(self, event: Any) -> None:
        frame = self.frames.pop()
        self._merge(frame)
        self._end_span(frame.node, event)
        if frame.anchor:
            self.anchors[frame.anchor] = (frame.node, self.size - frame.size_before)
        self._add(frame.node)

    def _count(self, event: Any, size: int = 1) -> None:
        self.size += size
        if self.size > MAX_NODES:
            what = "aliases that stand for" if size > 1 else "holds"
            raise _StopError("VG004", self._span(event), f"{what} more than {MAX_NODES:,} values")

    def _check_tag(self, event: Any) -> bool:
        """Report a tag that no config needs, and return whether there is one."""
        if event.tag is None or event.tag == "!" or event.tag in _PLAIN_TAGS:
            return False
        message = f"the tag `{event.tag.replace(_TAG_PREFIX, '!!')}` is refused"
        self._report("VG007", self._span(event), message, "write a plain value")
        return True

    def _span(self, event: Any) -> Span:
        last, start, end = len(self.document.text), event.start_mark, event.end_mark
        if start.index >= last:  # an absent value: parsers count a line that is not there
            return self.document.span_at(last, last)
        place = (start.line + 1, start.column + 1, end.line + 1, end.column + 1)
        return Span(*place, start.index, end.index)

    def _scalar(self, event: Any) -> tuple[Node, bool]:
        """Return the value as PyYAML constructs it, and whether it is the merge key `<<`."""
        loader, tag = self.loader, event.tag
        node = Node(event.value, self._span(event))
        if self._check_tag(event):
            return node, False
        if tag is None or tag == "!":
            tag = loader.resolve(yaml.ScalarNode, event.value, event.implicit)
        construct = loader.yaml_constructors.get(tag)
        kind = tag.removeprefix(_TAG_PREFIX)
        if kind in ("merge", "str") or construct is None:
            return node, kind == "merge"
        reason = "is a number too large for any config"
        is_number = kind in ("int", "float")
        if not is_number or len(event.value) <= MAX_NUMBER_CHARACTERS:
            try:
                node.value = construct(loader, yaml.ScalarNode(tag, event.value))
                if not isinstance(node.value, int) or node.value.bit_length() <= MAX_INT_BITS:
                    return node, False
            except (ValueError, OverflowError, LookupError, AttributeError, yaml.YAMLError):
                reason = f"looks like {'an' if kind == 'int' else 'a'} {kind} and is none"
        message = f"{as_written(event.value)} {reason}"
        self._report("VG010", node.span, message, "put it in quotes if it is text")
        return node, False

    def _alias(self, event: Any) -> Node:
        known = self.anchors.get(event.anchor, ())
        if known:
            node, size = known
            self._count(event, size)
            return node
        reason = "contains itself" if known is None else "has no anchor above it"
        self._report("VG009", self._span(event), f"the alias `*{event.anchor}` {reason}")
        return Node(None, self._span(event))

    def _add(self, node: Node, is_merge: bool = False, anchor: str | None = None) -> None:
        """Hang a finished node into the collection around it."""
        if anchor:
            self.anchors[anchor] = (node, 1)
        if not self.frames:
            self.root = node
            return
        frame = self.frames[-1]
        if isinstance(frame.node.value, list):
            frame.node.value.append(node)
        elif frame.key is None:
            frame.key = (node, is_merge)
            if not isinstance(node.value, str):
                self._report_key(node)
        else:
            (key, is_merge), frame.key = frame.key, None
            if is_merge:
                frame.merges.append(node)
            elif isinstance(key.value, str):
                self._insert(frame.node.value, key.value, Entry(key.span, node))

    def _report_key(self, node: Node) -> None:
        """Report a key that is not text to YAML."""
        kind = kind_of_value(node.value)
        if isinstance(node.value, (dict, list)):
            self._report("VG008", node.span, f"{kind} as a key", "a key is a word")
            return
        written = self.document.written(node.span)
        read = plain(node.value) if isinstance(node.value, bool) else kind
        message, quoted = f"YAML reads the key `{written}` as {read}, not as text", f'"{written}"'
        fix = Fix(node.span, quoted)
        self._report("VG008", node.span, message, f"write {quoted}", fix)

    def _insert(self, mapping: dict[str, Entry], key: str, entry: Entry) -> None:
        first = mapping.get(key)
        if first is not None:
            hint, fix = f"the first is on line {first.key_span.line}; delete one", None
            if first.node.plain() == entry.node.plain():
                hint = f"the first is on line {first.key_span.line}, with the same value"
                fix = self._without(entry)
            self._report("VG006", entry.key_span, f"duplicate key `{key}`", hint, fix)
        mapping[key] = entry  # the last one wins, as in PyYAML

    def _without(self, entry: Entry) -> Fix | None:
        """Take an entry of a block mapping out with its lines; None where others stand on them."""
        document, first = self.document, entry.key_span
        start = document.line_start(first.line)
        last = max(first, entry.node.span, key=lambda span: span.end)
        rest = document.lines[last.end_line - 1][last.end_column - 1 :].strip()
        if document.text[start : first.start].strip(" "):
            return None
        if rest not in ("", ":") and not rest.startswith("#"):
            return None
        whole = document.span_at(start, document.line_start(last.end_line + 1))
        return None if "&" in document.written(whole) else Fix(whole, "")  # an alias may follow

    def _merge(self, frame: _Frame) -> None:
        """Take over the keys that `<<` names, and that the mapping does not have itself."""
        for merged in frame.merges:
            for source in merged.value if isinstance(merged.value, list) else [merged]:
                if isinstance(source.value, dict):
                    frame.node.value = {**source.value, **frame.node.value}
                else:
                    message = "`<<` merges a mapping or a list of mappings, nothing else"
                    self._report("VG009", source.span, message)

    def _end_span(self, node: Node, event: Any) -> None:
        """End a flow collection at its bracket, a block where its last value ends."""
        end = event.end_mark.index
        if end == event.start_mark.index:  # block style
            items = node.value if isinstance(node.value, list) else node.value.values()
            spans = [item.node.span if isinstance(item, Entry) else item.span for item in items]
            end = max((span.end for span in spans), default=node.span.end)
        node.span = self.document.span_at(node.span.start, end)
