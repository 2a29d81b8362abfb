"""What people write who are at home in pip, JSON, Python or git."""

from __future__ import annotations

import random
import re

from mutators.base import Mutant, block_lines, mutator, one, places, scalars, spliced, with_value
from mutators.keys import typo
from vacc_gen.schema.lint.document import Document


def _pins(rng: random.Random, document: Document, dash: str, share: float) -> Mutant | None:
    pins = document.node("workspace", "pyenv")
    if pins is None or not pins.value:
        return None
    lines = [*document.lines]
    changed = {
        entry.key_span.line: f"{package}=={entry.node.value}"
        for package, entry in pins.value.items()
        if rng.random() < share
    }
    for number, written in changed.items():
        indent = len(lines[number - 1]) - len(lines[number - 1].lstrip(" "))
        lines[number - 1] = " " * indent + dash + written
    parent = document.node("workspace")
    if not changed or parent is None:
        return None
    header = parent.value["pyenv"].key_span.line
    told = frozenset({header, *changed}) if dash else frozenset(changed)
    return Mutant(
        "\n".join(lines),
        told,
        what=str(list(changed.values())),
        mistakes=1 if dash else len(changed),
    )


@mutator
def pins_as_a_list(rng: random.Random, document: Document) -> Mutant | None:
    return _pins(rng, document, "- ", 1)


@mutator
def pins_as_lines(rng: random.Random, document: Document) -> Mutant | None:
    return _pins(rng, document, "", 1)


@mutator
def some_pins_as_lines(rng: random.Random, document: Document) -> Mutant | None:
    return _pins(rng, document, "", 0.5)


@mutator
def key_in_capitals(rng: random.Random, document: Document) -> Mutant | None:
    return typo(rng, document, lambda key: rng.choice([key.upper(), key.title()]))


@mutator
def key_with_hyphens(rng: random.Random, document: Document) -> Mutant | None:
    return typo(rng, document, lambda key: key.replace("_", "-"), identifier=False)


@mutator
def truth_in_quotes(rng: random.Random, document: Document) -> Mutant | None:
    place = one(rng, scalars(document, bool))
    if place is None:
        return None
    word = rng.choice(['"{}"', "'{}'"]).format(str(place.entry.node.value))
    return with_value(document, place.entry.node, word, f"{place.path} -> {word}")


@mutator
def none_of_python(rng: random.Random, document: Document) -> Mutant | None:
    kinds = [*scalars(document, bool), *scalars(document, int)]
    place = one(rng, kinds)
    if place is None:
        return None
    return with_value(document, place.entry.node, "None", str(place.path))


@mutator
def keys_and_commas_of_json(rng: random.Random, document: Document) -> Mutant | None:
    """A line `"key": "value",`."""
    choices = [p for p in places(document) if isinstance(p.entry.node.value, str)]
    place = one(rng, [p for p in choices if block_lines(document, p.entry)])
    if place is None:
        return None
    span, node = place.entry.key_span, place.entry.node.span
    if span.line != node.end_line or document.text[node.end : node.end + 1] not in ("\n", ""):
        return None
    written = f'"{place.key}": "{place.entry.node.value}",'
    text = spliced(document, span.start, node.end, written)
    return Mutant(text, frozenset({span.line, span.line + 1}), what=written)


@mutator
def conflict_of_a_merge(rng: random.Random, document: Document) -> Mutant | None:
    choices = [p for p in places(document) if block_lines(document, p.entry)]
    place = one(rng, choices)
    if place is None:
        return None
    first, last = block_lines(document, place.entry) or (1, 1)
    ours = document.lines[first - 1 : last]
    lines = [
        *document.lines[: first - 1],
        "<<<<<<< HEAD", *ours, "=======", *ours, ">>>>>>> other",
        *document.lines[last:],
    ]  # fmt: skip
    return Mutant("\n".join(lines), frozenset({first}), what=str(place.path))


@mutator
def fence_of_markdown(rng: random.Random, document: Document) -> Mutant | None:
    text = document.text.rstrip("\n")
    if rng.random() < 0.5:
        return Mutant(f"```yaml\n{text}\n```\n", frozenset({1}), what="both")
    return Mutant(f"{text}\n```\n", frozenset({text.count("\n") + 2}), what="end")


@mutator
def diff_signs(rng: random.Random, document: Document) -> Mutant | None:
    numbers = [n for n, line in enumerate(document.lines, 1) if re.match(r" +[\w-]+: \S", line)]
    number = one(rng, numbers)
    if number is None:
        return None
    lines = [*document.lines]
    lines[number - 1] = "+" + lines[number - 1]
    return Mutant("\n".join(lines), frozenset({number}), what=lines[number - 1])
