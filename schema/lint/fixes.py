"""Fixes as edits of the text: comments, order and quoting stay as they are."""

from __future__ import annotations

from vacc_gen.schema.lint.diagnostics import Edit, Fix
from vacc_gen.schema.lint.document import Document, Entry, Node, Span


def replace(span: Span, text: str, *, safe: bool = True) -> Fix:
    """Put other text where `span` is."""
    return Fix((Edit(span.start, span.end, text),), safe)


def swap(document: Document, one: Span, other: Span, *, safe: bool = True) -> Fix:
    """Exchange the text of two places."""
    first, second = document.text[one.start : one.end], document.text[other.start : other.end]
    return Fix((Edit(one.start, one.end, second), Edit(other.start, other.end, first)), safe)


def _line_start(document: Document, offset: int) -> int:
    return max(document.text.rfind(mark, 0, offset) for mark in "\n\r") + 1


def _line_end(document: Document, offset: int) -> int:
    """Return the offset behind the line's end, its line break included."""
    found = document.text.find("\n", offset)
    return len(document.text) if found < 0 else found + 1


def lines_of(document: Document, entry: Entry) -> tuple[int, int] | None:
    """Return the offsets of the lines that hold an entry and nothing else, or None."""
    start = _line_start(document, entry.key_span.start)
    if document.text[start : entry.key_span.start].strip(" "):
        return None
    last = max(entry.key_span.end, entry.node.span.end)
    end = _line_end(document, last if last == 0 or document.text[last - 1] != "\n" else last - 1)
    rest = document.text[last:end].strip()
    if rest not in ("", ":") and not rest.lstrip(": ").startswith("#"):
        return None
    return start, end


def remove(document: Document, entry: Entry, *, safe: bool = True) -> Fix | None:
    """Take an entry of a block mapping out, with its lines."""
    lines = lines_of(document, entry)
    return Fix((Edit(*lines, ""),), safe) if lines else None


def _newline(document: Document) -> str:
    return "\r\n" if "\r\n" in document.text else "\n"


def insert(document: Document, section: Node, text: str, *, safe: bool = True) -> Fix | None:
    """Add the line `text` at the head of a block mapping that has at least one entry."""
    first = _first_entry(section)
    if first is None:
        return None
    start = _line_start(document, first.key_span.start)
    before = document.text[start : first.key_span.start]
    if before.strip(" "):  # the first key of a list item, or flow style
        return None
    return Fix((Edit(start, start, before + text + _newline(document)),), safe)


def move(document: Document, entry: Entry, section: Node) -> Fix | None:
    """Move an entry of a single line to the head of another block mapping."""
    lines = lines_of(document, entry)
    first = _first_entry(section)
    if lines is None or first is None or entry.node.span.end_line != entry.key_span.line:
        return None
    line = document.text[lines[0] : lines[1]].strip()
    added = insert(document, section, line)
    return Fix((*added.edits, Edit(*lines, ""))) if added else None


def _first_entry(section: Node) -> Entry | None:
    """Return the first of the entries that stand in the section's text, not grafted into it."""
    if not isinstance(section.value, dict):
        return None
    inside = range(section.span.start, section.span.end)
    own = [entry for entry in section.value.values() if entry.key_span.start in inside]
    return min(own, key=lambda entry: entry.key_span.start) if own else None


def apply(text: str, fixes: list[Fix]) -> str:
    """Return the text with the edits of all fixes that do not touch each other's."""
    taken: list[Edit] = []
    for fix in fixes:
        if all(_apart(edit, other) for edit in fix.edits for other in taken):
            taken += fix.edits
    for edit in sorted(taken, key=lambda edit: edit.start, reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def _apart(one: Edit, other: Edit) -> bool:
    return one.end < other.start or other.end < one.start
