"""Keys that are misspelled, misplaced, missing or doubled."""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Iterator
from typing import Any

from mutators.base import (
    Mutant,
    Path,
    Place,
    block_lines,
    dotted,
    mutator,
    one,
    places,
    reindented,
    spliced,
    without_lines,
)
from vacc_gen.schema.lint.document import Document, Node
from vacc_gen.schema.lint.placement import Places
from vacc_gen.schema.lint.walk import packaged_schema


def typo(
    rng: random.Random,
    document: Document,
    change: Callable[[str], str],
    *,
    identifier: bool = True,
) -> Mutant | None:
    """Write a key otherwise."""
    place = one(rng, places(document))
    wrong = change(place.key)
    if wrong == place.key or wrong in place.mapping.value:
        return None
    if identifier and not wrong.isidentifier():
        return None
    span = place.entry.key_span
    return Mutant(
        spliced(document, span.start, span.end, wrong),
        frozenset({span.line}),
        place.key,
        f"{place.path} -> {wrong}",
    )


@mutator
def key_letter_added(rng: random.Random, document: Document) -> Mutant | None:
    def change(key: str) -> str:
        at = rng.randrange(len(key) + 1)
        return key[:at] + rng.choice(string.ascii_lowercase) + key[at:]

    return typo(rng, document, change)


@mutator
def key_letter_dropped(rng: random.Random, document: Document) -> Mutant | None:
    def change(key: str) -> str:
        at = rng.randrange(len(key))
        return key[:at] + key[at + 1 :]

    return typo(rng, document, change)


@mutator
def key_letter_replaced(rng: random.Random, document: Document) -> Mutant | None:
    def change(key: str) -> str:
        at = rng.randrange(len(key))
        return key[:at] + rng.choice(string.ascii_lowercase) + key[at + 1 :]

    return typo(rng, document, change)


@mutator
def key_letters_swapped(rng: random.Random, document: Document) -> Mutant | None:
    def change(key: str) -> str:
        at = rng.randrange(max(1, len(key) - 1))
        return key[:at] + key[at + 1 : at + 2] + key[at : at + 1] + key[at + 2 :]

    return typo(rng, document, change)


def _moved(
    document: Document, place: Place, target: Node, target_indent: int, suggestion: str
) -> Mutant | None:
    """Move an entry's lines to the end of another mapping."""
    lines = block_lines(document, place.entry)
    if lines is None or place.key in target.value:
        return None
    first, last = lines
    moved = document.lines[first - 1 : last]
    indent = place.entry.key_span.column - 1
    after = target.span.end_line if target.span.end_column > 1 else target.span.end_line - 1
    if first <= after <= last:
        after = first - 1
    moved = reindented(moved, target_indent - indent)
    rest = [*document.lines]
    if after >= last:
        rest = [*rest[: first - 1], *rest[last:after], *moved, *rest[after:]]
        line = after - (last - first)
    else:
        rest = [*rest[:after], *moved, *rest[after : first - 1], *rest[last:]]
        line = after + 1
    return Mutant("\n".join(rest), frozenset({line}), suggestion, f"{place.path}")


def _is_section(place: Place) -> bool:
    return isinstance(place.entry.node.value, dict)


def _block_mappings(document: Document) -> Iterator[tuple[Path, Node, int]]:
    """Yield the mappings in block style that have entries, with their paths and indentation."""
    stack: list[tuple[Path, Node]] = [((), document.root)] if document.root else []
    while stack:
        path, node = stack.pop()
        if isinstance(node.value, dict) and node.value:
            first = min(node.value.values(), key=lambda entry: entry.key_span.start)
            line = document.lines[first.key_span.line - 1]
            if not line[: first.key_span.column - 1].strip(" -"):
                yield path, node, first.key_span.column - 1
            stack += [((*path, key), entry.node) for key, entry in node.value.items()]
        elif isinstance(node.value, list):
            stack += [((*path, index), item) for index, item in enumerate(node.value)]


def _one_level_up(rng: random.Random, document: Document, sections: bool) -> Mutant | None:
    chosen = [p for p in places(document) if len(p.path) > 1 and _is_section(p) is sections]
    place = one(rng, chosen)
    if place is None:
        return None
    above = place.path[:-3] if isinstance(place.path[-2], int) else place.path[:-2]
    target = document.node(*above)
    found = next((item for item in _block_mappings(document) if item[1] is target), None)
    if found is None:
        return None
    return _moved(document, place, found[1], found[2], dotted(place.path[:-1]))


@mutator
def key_one_level_up(rng: random.Random, document: Document) -> Mutant | None:
    return _one_level_up(rng, document, sections=False)


@mutator
def section_one_level_up(rng: random.Random, document: Document) -> Mutant | None:
    return _one_level_up(rng, document, sections=True)


@mutator
def key_one_level_down(rng: random.Random, document: Document) -> Mutant | None:
    place = one(rng, (p for p in places(document) if not _is_section(p)))
    below = [
        (node, indent)
        for path, node, indent in _block_mappings(document)
        if len(path) == len(place.path) and path[:-1] == place.path[:-1] and path != place.path
    ]
    chosen = one(rng, below)
    if chosen is None:
        return None
    return _moved(document, place, *chosen, dotted(place.path[:-1]))


def _beside(rng: random.Random, document: Document, sections: bool) -> Mutant | None:
    chosen = [p for p in places(document) if len(p.path) > 1 and _is_section(p) is sections]
    place = one(rng, chosen)
    if place is None:
        return None
    section = place.path[:-1]
    beside = [
        (node, indent)
        for path, node, indent in _block_mappings(document)
        if len(path) == len(section) and path != section and path[-1:] != ("shape",)
        if not isinstance(path[-1], int)
    ]
    target = one(rng, beside)
    if target is None or _takes(packaged_schema("vamc"), document, target[0], place.key):
        return None
    return _moved(document, place, *target, dotted(section))


@mutator
def key_in_the_neighbouring_section(rng: random.Random, document: Document) -> Mutant | None:
    return _beside(rng, document, sections=False)


@mutator
def section_in_the_neighbouring_section(rng: random.Random, document: Document) -> Mutant | None:
    return _beside(rng, document, sections=True)


def _takes(schema: dict[str, Any], document: Document, target: Node, key: str) -> bool:
    """Whether the section has a key of this name itself, so that moving makes no mistake."""
    at = next((path for path, node, _ in _block_mappings(document) if node is target), ())
    found = Places(document, schema).schema_at(at)
    return found is None or key in found.get("properties", {})


REQUIRED: tuple[Path, ...] = (
    ("name",),
    ("frontend", "checkpoint"),
    ("frontend", "shape"),
    ("backend", "type"),
    ("backend", "dtype"),
    ("workspace", "path"),
    ("graph", "extra_ops", "type"),
    ("frontend", "quantize", "type"),
    ("frontend", "model_kwargs", "model_arch"),
    ("frontend", "model_kwargs", "tp"),
    ("dataset", "path"),
    ("dataset", "sampler", "get_data_num"),
    ("backend", "quantize", "calibrate_mode"),
)


@mutator
def required_key_deleted(rng: random.Random, document: Document) -> Mutant | None:
    path = one(rng, [path for path in REQUIRED if document.node(*path) is not None])
    parent = document.node(*path[:-1])
    if parent is None or (path[1:] == ("path",) and "work_dir" in parent.value):
        return None
    dtype = document.node("backend", "dtype")
    if path[-1] == "calibrate_mode" and dtype is not None and dtype.value == "fp16":
        return None  # an fp16 build does not quantize
    lines = block_lines(document, parent.value[path[-1]])
    if lines is None or len(parent.value) == 1:
        return None
    text = "\n".join(without_lines(document, *lines))
    section = document.node(*path[:-2]) if len(path) > 1 else None
    line = section.value[path[-2]].key_span.line if section is not None else 1
    if section is not None and line > lines[0]:
        line -= lines[1] - lines[0] + 1
    # What is missing is told at its section; tp and dtype may be told where they are spoken of.
    told = {line}
    if path[-1] == "name":
        told = {number for number, text_line in enumerate(text.split("\n"), 1) if text_line.strip()}
        told = {min(told), 1}
    return Mutant(text, frozenset(told), what=str(path))


@mutator
def op_without_its_size(rng: random.Random, document: Document) -> Mutant | None:
    choices = [
        place
        for place in places(document)
        if place.key in ("size", "crop_size", "code", "pad_to_square") and len(place.path) == 4
    ]
    place = one(rng, choices)
    lines = block_lines(document, place.entry) if place else None
    if lines is None:
        return None
    start = place.mapping.span.line
    return Mutant(
        "\n".join(without_lines(document, *lines)), frozenset({start}), what=str(place.path)
    )


@mutator
def duplicated_key(rng: random.Random, document: Document) -> Mutant | None:
    place = one(rng, (p for p in places(document) if not isinstance(p.entry.node.value, dict)))
    lines = block_lines(document, place.entry)
    if lines is None:
        return None
    first, last = lines
    again = document.lines[first - 1 : last]
    text = "\n".join([*document.lines[:last], *again, *document.lines[last:]])
    return Mutant(text, frozenset({last + 1, first}), what=str(place.path))


@mutator
def key_in_other_letters(rng: random.Random, document: Document) -> Mutant | None:
    def change(key: str) -> str:
        return rng.choice([key.upper(), key.capitalize(), key.replace("_", "")])

    return typo(rng, document, change)


@mutator
def two_keys_misspelled(rng: random.Random, document: Document) -> Mutant | None:
    def change(key: str) -> str:
        return key + rng.choice("xyz")

    first, second = typo(rng, document, change), typo(rng, document, change)
    if first is None or second is None or first.lines == second.lines:
        return None
    (other_line,) = second.lines
    lines = first.text.split("\n")
    lines[other_line - 1] = second.text.split("\n")[other_line - 1]
    what = f"{first.what}, {second.what}"
    return Mutant("\n".join(lines), first.lines | second.lines, what=what, mistakes=2)


@mutator
def duplicated_section(rng: random.Random, document: Document) -> Mutant | None:
    place = one(rng, (p for p in places(document) if isinstance(p.entry.node.value, dict)))
    lines = block_lines(document, place.entry) if place else None
    if lines is None:
        return None
    first, last = lines
    again = document.lines[first - 1 : last]
    text = "\n".join([*document.lines[:last], *again, *document.lines[last:]])
    return Mutant(text, frozenset({last + 1, first}), what=str(place.path))
