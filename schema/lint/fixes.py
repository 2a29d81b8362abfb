"""Fixes as edits of the text: comments, order and quoting stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vacc_gen.schema.lint.diagnostics import Fix
from vacc_gen.schema.lint.tree import Entry, Span

if TYPE_CHECKING:
    from vacc_gen.schema.lint.document import Document


def replace(span: Span, text: str, *, safe: bool = True) -> Fix:
    return Fix(span.start, span.end, text, safe)


def remove(document: Document, entry: Entry) -> Fix | None:
    """Take an entry of a block mapping out with its lines; None where others stand on them."""
    start = document.line_start(entry.key_span.line)
    last = max(entry.key_span, entry.node.span, key=lambda span: span.end)
    before = document.text[start : entry.key_span.start]
    line = document.lines[last.end_line - 1]
    rest = line[last.end_column - 1 :].strip()
    if before.strip(" ") or (rest not in ("", ":") and not rest.startswith("#")):
        return None
    end = document.line_start(last.end_line + 1)
    return None if "&" in document.text[start:end] else Fix(start, end, "")  # an alias may follow


def fixed(document: Document, fixes: Sequence[Fix]) -> str:
    """Return the file's text with all fixes that do not touch an earlier one."""
    text, shift = document.prefix + document.text, len(document.prefix)
    taken: list[Fix] = []
    for fix in fixes:
        if all(fix.end <= other.start or other.end <= fix.start for other in taken):
            taken.append(fix)
    for fix in sorted(taken, key=lambda fix: fix.start, reverse=True):
        text = text[: fix.start + shift] + fix.text + text[fix.end + shift :]
    return text
