"""Lines that are cut off, commented out, indented wrongly, or there twice."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from mutators.base import (
    Mutant,
    Path,
    Place,
    block_lines,
    mutator,
    one,
    places,
    reindented,
)
from vacc_gen.schema.lint.document import Document, Node

REQUIRED_SECTIONS = ("frontend", "backend", "workspace")


def _sections(document: Document) -> list[tuple[Place, tuple[int, int]]]:
    """Return the sections in block style, with their first and last lines."""
    found = []
    for place in places(document):
        lines = block_lines(document, place.entry)
        if isinstance(place.entry.node.value, dict) and lines and lines[0] < lines[1]:
            found.append((place, lines))
    return found


def _top(document: Document) -> list[tuple[Place, tuple[int, int]]]:
    return [(place, lines) for place, lines in _sections(document) if len(place.path) == 1]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _changed(document: Document, number: int, line: str, what: str) -> Mutant:
    lines = [*document.lines]
    lines[number - 1] = line
    return Mutant("\n".join(lines), frozenset({number}), what=what)


@mutator
def second_section_at_the_end(rng: random.Random, document: Document) -> Mutant | None:
    """A section again, with some of its keys and another value."""
    chosen = one(rng, _top(document))
    if chosen is None:
        return None
    place, (first, last) = chosen
    if place.key == "dataset":
        body = ["  path: /path/to/other_data"]
    else:
        other = {
            "frontend": ["  checkpoint: /path/to/other.onnx", "  type: onnx"],
            "backend": ["  type: tvm_vacc", "  dtype: int8"],
            "workspace": ["  path: ./other"],
            "graph": ["  extra_ops:", "    type: yolov5_nms"],
        }
        body = other.get(place.key, document.lines[first:last])
    kept = document.text.rstrip("\n").split("\n")
    text = "\n".join([*kept, f"{place.key}:", *body]) + "\n"
    return Mutant(text, frozenset({len(kept) + 1, first}), what=place.key)


@mutator
def header_commented_out(rng: random.Random, document: Document) -> Mutant | None:
    chosen = one(rng, _sections(document))
    if chosen is None:
        return None
    place, (first, _) = chosen
    line = document.lines[first - 1]
    if not re.match(r" *[\w-]+:\s*$", line):
        return None
    indent = _indent(line)
    written = rng.choice(["#" + line, " " * indent + "# " + line[indent:]])
    return _changed(document, first, written, str(place.path))._replace(suggestion=f"{place.key}:")


@mutator
def header_deleted(rng: random.Random, document: Document) -> Mutant | None:
    chosen = one(rng, _top(document))
    if chosen is None:
        return None
    place, (first, _) = chosen
    if place.key not in REQUIRED_SECTIONS or first == 1:
        return None
    text = "\n".join([*document.lines[: first - 1], *document.lines[first:]])
    return Mutant(text, frozenset({first}), f"{place.key}:", place.key)


@mutator
def header_indented_further(rng: random.Random, document: Document) -> Mutant | None:
    chosen = one(rng, _sections(document))
    if chosen is None:
        return None
    place, (first, _) = chosen
    by = rng.choice([1, 2, 2, 4])
    return _changed(document, first, " " * by + document.lines[first - 1], f"{place.path} {by}")


@mutator
def header_indented_less(rng: random.Random, document: Document) -> Mutant | None:
    deep = [(p, lines) for p, lines in _sections(document) if len(p.path) > 1]
    chosen = one(rng, deep)
    if chosen is None:
        return None
    place, (first, _) = chosen
    line = document.lines[first - 1]
    if not line.startswith("  "):
        return None
    return _changed(document, first, line[2:], str(place.path))


@mutator
def key_indented_further(rng: random.Random, document: Document) -> Mutant | None:
    single = [
        (place, lines[0])
        for place in places(document)
        if (lines := block_lines(document, place.entry)) and lines[0] == lines[1]
    ]
    chosen = one(rng, single)
    if chosen is None:
        return None
    place, first = chosen
    return _changed(document, first, "  " + document.lines[first - 1], str(place.path))


@mutator
def section_body_not_indented(rng: random.Random, document: Document) -> Mutant | None:
    chosen = one(rng, [(p, lines) for p, lines in _sections(document) if p.key != "shape"])
    if chosen is None:
        return None
    place, (first, last) = chosen
    indent = _indent(document.lines[first - 1])
    body = document.lines[first:last]
    by = min((_indent(line) for line in body if line.strip()), default=0) - indent
    if by <= 0:
        return None
    lines = [*document.lines[:first], *reindented(body, -by), *document.lines[last:]]
    return Mutant("\n".join(lines), frozenset(range(first, last + 1)), what=str(place.path))


@mutator
def file_cut_off(rng: random.Random, document: Document) -> Mutant | None:
    """The file ends in the middle of a line, before its last required section is whole."""
    tops = [lines[0] for place, lines in _top(document) if place.key in REQUIRED_SECTIONS]
    if not tops:
        return None
    end = document.line_start(max(tops)) + 5
    start = document.line_start(2) if len(document.lines) > 1 else 0
    at = rng.randrange(start + 1, end)
    text = document.text[:at]
    if not text.strip():
        return None
    number = text.rstrip().count("\n") + 1
    between = {1} if text.endswith("\n") else set()  # then a section is missing, and no more
    return Mutant(text, frozenset({number} | between), what=repr(text[-20:]))


def _ops(document: Document) -> Iterator[tuple[Path, Node]]:
    node = document.node("dataset", "process_ops")
    for index, op in enumerate(node.value if node is not None else ()):
        yield ("dataset", "process_ops", index), op


@mutator
def dash_missing(rng: random.Random, document: Document) -> Mutant | None:
    chosen = one(rng, [(path, op) for path, op in _ops(document) if path[-1] != 0])
    if chosen is None:
        return None
    path, op = chosen
    line = document.lines[op.span.line - 1]
    if not re.match(r" *- ", line):
        return None
    return _changed(document, op.span.line, line.replace("- ", "  ", 1), str(path))


@mutator
def mapping_as_a_list(rng: random.Random, document: Document) -> Mutant | None:
    """Every key of a section with a dash before it."""
    chosen = one(rng, [(p, lines) for p, lines in _sections(document) if len(p.path) > 1])
    if chosen is None:
        return None
    place, (first, last) = chosen
    lines = [*document.lines]
    column = min(e.key_span.column for e in place.entry.node.value.values()) - 1
    for number in range(first + 1, last + 1):
        line = lines[number - 1]
        starts = _indent(line) == column and line.strip() and line.strip()[0] not in "-#"
        lines[number - 1] = line[:column] + ("- " if starts else "  ") + line[column:]
    allowed = frozenset(range(first, last + 1))
    return Mutant("\n".join(lines), allowed, what=str(place.path))
