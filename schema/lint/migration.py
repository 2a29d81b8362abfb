"""Older recipes, brought step by step to the version that we read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from vacc_gen.schema.lint.diagnostics import Edit, Fix
from vacc_gen.schema.lint.document import Entry, Node

if TYPE_CHECKING:
    from vacc_gen.schema.lint.document import Document

RECIPE_VERSION: Final = 2
"""The version of the recipe that this vacc-gen writes, and the newest that it reads."""


class Migration(NamedTuple):
    """What a migration did: from which version, and the edits that do the same to the text."""

    version: int
    fix: Fix


def version_of(document: Document) -> int | None:
    """Return a recipe's version, or None where it says none or not as a whole number."""
    node = document.node("version")
    return node.value if node is not None and type(node.value) is int else None


def migrate(document: Document) -> Migration | None:
    """Bring the tree of an older recipe to the newest version, in place.

    Moved keys and changed values keep their places in the text, so that a finding still points at
    what the user wrote. Returns None where nothing was to do: the recipe is of the newest version,
    or of none that we know, which is the validator's business to say.
    """
    node, written = document.node("version"), version_of(document)
    if node is None or written is None or written not in _STEPS:
        return None
    edits: list[Edit] = []
    for version in range(written, RECIPE_VERSION):
        edits += _STEPS[version](document)
    node.value = RECIPE_VERSION
    edits.append(Edit(node.span.start, node.span.end, str(RECIPE_VERSION)))
    return Migration(written, Fix(tuple(edits)))


def _from_1_to_2(document: Document) -> list[Edit]:
    """`target.throughput: true|false` became `target.optimize_for: throughput|latency`."""
    words = {True: "throughput", False: "latency"}
    target = document.node("target")
    if target is None or not isinstance(target.value, dict):
        return []
    entry = target.value.get("throughput")
    if entry is None or type(entry.node.value) is not bool or "optimize_for" in target.value:
        return []  # left for the validator, which knows no such key
    word = words[entry.node.value]
    del target.value["throughput"]
    target.value["optimize_for"] = Entry(entry.key_span, Node(word, entry.node.span))
    return [
        Edit(entry.key_span.start, entry.key_span.end, "optimize_for"),
        Edit(entry.node.span.start, entry.node.span.end, word),
    ]


_STEPS: Mapping[int, Callable[[Document], list[Edit]]] = {1: _from_1_to_2}
