"""Words that stand for a value that is still to be filled in."""

from __future__ import annotations

import re
from collections.abc import Iterator

from vacc_gen.schema.lint.document import Document
from vacc_gen.schema.lint.tree import Node, Span, Template

_PLACEHOLDER = re.compile(
    r"<[A-Za-z_][\w .-]*>|\$\{[^{}]*\}|\{\{[^{}]*\}\}|\b(?:TODO|FIXME|TBD|XXX)\b|待定|待填"
)
_WHOLE = re.compile(r"(?:todo|tbd|fixme|xxx+|n/a|undefined|\?{2,}|\.{3,})", re.IGNORECASE)
"""What stands for a value only where it is all of it."""


def is_placeholder(value: object) -> bool:
    """Whether a value is, or holds, a word that stands for something to be filled in."""
    if not isinstance(value, str):
        return False
    return bool(_PLACEHOLDER.search(value) or _WHOLE.fullmatch(value.strip()))


def placeholders(document: Document) -> Iterator[tuple[Span, str]]:
    """Yield the values that hold a placeholder, with their places."""
    for fault in document.faults_of(Template):
        yield fault.span, fault.written
    if document.root is not None:
        yield from _below(document.root)


def _below(node: Node) -> Iterator[tuple[Span, str]]:
    if isinstance(node.value, dict):
        for entry in node.value.values():
            yield from _below(entry.node)
    elif isinstance(node.value, list):
        for item in node.value:
            yield from _below(item)
    elif is_placeholder(node.value):
        yield node.span, node.value
