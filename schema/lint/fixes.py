"""Fixes as edits of the text: comments, order and quoting stay as they are."""

from __future__ import annotations

from collections.abc import Sequence

from vacc_gen.schema.lint.diagnostics import Edit, Fix
from vacc_gen.schema.lint.document import Document
from vacc_gen.schema.lint.tree import Entry, Node, Span


def replace(span: Span, text: str, *, safe: bool = True) -> Fix:
    """Put other text where `span` is."""
    return Fix((Edit(span.start, span.end, text),), safe)


def drop_prefix(document: Document) -> Fix:
    """Take the byte order mark away."""
    return Fix((Edit(-len(document.prefix), 0, ""),))


def swap(document: Document, first: Span, second: Span) -> Fix:
    """Exchange the text of two places; unsafe, for it changes what both say."""
    texts = document.written(first), document.written(second)
    edits = Edit(first.start, first.end, texts[1]), Edit(second.start, second.end, texts[0])
    return Fix(edits, safe=False)


def remove(document: Document, entry: Entry, *, safe: bool = True) -> Fix | None:
    """Take an entry of a block mapping out with its lines; None where others stand on them."""
    start = document.line_start(entry.key_span.line)
    last = max(entry.key_span, entry.node.span, key=lambda span: span.end)
    before = document.text[start : entry.key_span.start]
    line = document.lines[last.end_line - 1]
    rest = line[last.end_column - 1 :].strip()
    if before.strip(" ") or (rest not in ("", ":") and not rest.startswith("#")):
        return None
    end = document.line_start(last.end_line + 1)
    return Fix((Edit(start, end, ""),), safe)


def insert(document: Document, section: Node | None, line: str) -> Fix | None:
    """Add a line at the head of a block mapping that has an entry; unsafe, for it invents it."""
    if section is None or not isinstance(section.value, dict):
        return None
    inside = range(section.span.start, section.span.end)
    own = [one.key_span for one in section.value.values() if one.key_span.start in inside]
    if not own:
        return None
    first = min(own, key=lambda span: span.start)
    start = document.line_start(first.line)
    before = document.text[start : first.start]
    if before.strip(" "):  # the first key of a list item, or flow style
        return None
    newline = "\r\n" if "\r\n" in document.text else "\n"
    return Fix((Edit(start, start, before + line + newline),), safe=False)


def fixed(document: Document, fixes: Sequence[Fix]) -> str:
    """Return the file's text with the edits of all fixes that do not touch each other's."""
    text, shift = document.prefix + document.text, len(document.prefix)
    taken: list[Edit] = []
    for fix in fixes:
        if all(_are_apart(edit, other) for edit in fix.edits for other in taken):
            taken += fix.edits
    for edit in sorted(taken, key=lambda edit: edit.start, reverse=True):
        text = text[: edit.start + shift] + edit.text + text[edit.end + shift :]
    return text


def _are_apart(first: Edit, second: Edit) -> bool:
    return first.end <= second.start or second.end <= first.start
