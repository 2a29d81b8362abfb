"""Texts that are no YAML, or not the YAML that was meant."""

from __future__ import annotations

import random
import re

from mutators.base import (
    Mutant,
    block_lines,
    mutator,
    nodes,
    one,
    places,
    scalars,
    spliced,
    with_value,
)
from vacc_gen.schema.lint.document import Document


@mutator
def tab_in_the_indentation(rng: random.Random, document: Document) -> Mutant | None:
    numbers = [n for n, line in enumerate(document.lines, 1) if re.match(r" +[\w-]", line)]
    number = one(rng, numbers)
    lines = [*document.lines]
    lines[number - 1] = "\t" + lines[number - 1].lstrip(" ")
    return Mutant("\n".join(lines), frozenset({number}), what=lines[number - 1])


@mutator
def broken_indentation(rng: random.Random, document: Document) -> Mutant | None:
    numbers = [n for n, line in enumerate(document.lines, 1) if re.match(r" *[\w-]+.*:", line)]
    number = one(rng, numbers)
    line = document.lines[number - 1]
    lines = [*document.lines]
    outdent = line.startswith(" ") and rng.random() < 0.5
    lines[number - 1] = line[1:] if outdent else " " + line
    return Mutant("\n".join(lines), frozenset({number}), what=lines[number - 1])


@mutator
def python_tag(rng: random.Random, document: Document) -> Mutant | None:
    place = one(rng, scalars(document, str))
    tag = rng.choice(["!!python/name:os.system", "!!python/object/apply:os.getcwd []", "!include"])
    node = place.entry.node
    written = document.text[node.span.start : node.span.end]
    return with_value(document, node, f"{tag.split()[0]} {written}", f"{place.path} {tag}")


@mutator
def missing_colon(rng: random.Random, document: Document) -> Mutant | None:
    place = one(rng, [p for p in places(document) if block_lines(document, p.entry)])
    if place is None or isinstance(place.entry.node.value, (dict, list)):
        return None
    end = place.entry.key_span.end
    if document.text[end] != ":":
        return None
    line = place.entry.key_span.line
    return Mutant(spliced(document, end, end + 1, ""), frozenset({line, line + 1}), what=place.key)


@mutator
def open_bracket(rng: random.Random, document: Document) -> Mutant | None:
    lists = [n for n in nodes(document.root) if isinstance(n.value, list)]
    node = one(rng, [n for n in lists if document.text[n.span.start : n.span.start + 1] == "["])
    if node is None:
        return None
    end = node.span.end
    lines = frozenset(range(node.span.line, len(document.lines) + 2))
    return Mutant(spliced(document, end - 1, end, ""), lines, what="]")


@mutator
def second_document(rng: random.Random, document: Document) -> Mutant | None:
    text = document.text.rstrip("\n") + "\n---\nname: another\n"
    return Mutant(text, frozenset({text.count("\n") - 1}))
