"""Values of the wrong type, outside the enum, or absent."""

from __future__ import annotations

import random
import string

from mutators.base import (
    Mutant,
    block_lines,
    dotted,
    mutator,
    nodes,
    one,
    places,
    scalars,
    with_value,
)
from vacc_gen.schema.lint.document import Document


@mutator
def number_as_text(rng: random.Random, document: Document) -> Mutant | None:
    place = one(rng, [*scalars(document, int), *scalars(document, float)])
    if place is None:
        return None
    value = place.entry.node.value
    return with_value(document, place.entry.node, f'"{value}"', str(place.path))


@mutator
def truth_as_text(rng: random.Random, document: Document) -> Mutant | None:
    place = one(rng, scalars(document, bool))
    if place is None:
        return None
    word = rng.choice(['"true"', "enabled", "1", "TRUEE"])
    return with_value(document, place.entry.node, word, f"{place.path} -> {word}")


@mutator
def text_as_number(rng: random.Random, document: Document) -> Mutant | None:
    place = one(rng, scalars(document, str))
    return with_value(document, place.entry.node, str(rng.randrange(100)), str(place.path))


@mutator
def list_as_one_value(rng: random.Random, document: Document) -> Mutant | None:
    lists = [
        node
        for node in nodes(document.root)
        if isinstance(node.value, list) and node.value and not isinstance(node.value[0].value, dict)
    ]
    node = one(rng, lists)
    if node is None or node.span.line != node.span.end_line:
        return None
    return with_value(document, node, "640", str(node.plain()))


@mutator
def value_as_a_list(rng: random.Random, document: Document) -> Mutant | None:
    place = one(rng, [*scalars(document, str), *scalars(document, int), *scalars(document, bool)])
    written = document.text[place.entry.node.span.start : place.entry.node.span.end]
    return with_value(document, place.entry.node, f"[{written}]", str(place.path))


ENUMS: dict[str, tuple[str, ...]] = {
    "frontend.type": ("caffe", "mxnet", "torch", "paddle"),
    "frontend.dtype": ("float", "double", "complex64"),
    "backend.dtype": ("fp8", "w4", "mixed", "float16"),
    "backend.type": ("tensorrt", "openvino"),
    "backend.quantize.calibrate_mode": ("average", "entropy"),
    "dataset.type": ("coco", "folder"),
    "frontend.quantize.type": ("awq", "int8"),
    "frontend.model_kwargs.model_arch": ("cuda", "auto"),
}


@mutator
def value_outside_the_enum(rng: random.Random, document: Document) -> Mutant | None:
    place = one(rng, [p for p in places(document) if dotted(p.path) in ENUMS])
    value = rng.choice(ENUMS[dotted(place.path)])
    return with_value(document, place.entry.node, value, f"{place.path} -> {value}")


@mutator
def unknown_op(rng: random.Random, document: Document) -> Mutant | None:
    place = one(
        rng, [p for p in places(document) if p.key == "type" and isinstance(p.path[-2], int)]
    )
    if place is None:
        return None
    return with_value(document, place.entry.node, "Sharpen", str(place.path))


@mutator
def misspelled_value(rng: random.Random, document: Document) -> Mutant | None:
    choices = [
        place
        for place in places(document)
        if dotted(place.path) in ENUMS
        or (place.key == "type" and len(place.path) > 2)
        or place.key in ("code", "adaptive_side", "interpolation")
    ]
    place = one(rng, [p for p in choices if isinstance(p.entry.node.value, str)])
    value = place.entry.node.value
    at = rng.choice([index for index, letter in enumerate(value) if letter.isalpha()])
    kind = rng.randrange(3)
    letter = rng.choice(string.ascii_lowercase)
    wrong = value[:at] + ("", letter + value[at], value[at] * 2)[kind] + value[at + 1 :]
    if wrong == value or not wrong or wrong[0].isdigit():
        return None
    return with_value(
        document, place.entry.node, wrong, f"{place.path} -> {wrong}", suggestion=value
    )


@mutator
def null_value(rng: random.Random, document: Document) -> Mutant | None:
    nullable = (("graph", "extra_ops", "type"),)
    choices = [p for p in places(document) if p.path not in nullable and p.key != "norm_type"]
    place = one(rng, [p for p in choices if not isinstance(p.entry.node.value, (dict, list))])
    written = rng.choice(["null", "~", ""])
    return with_value(document, place.entry.node, written, str(place.path))


@mutator
def number_outside_the_enum(rng: random.Random, document: Document) -> Mutant | None:
    named = ("data_type", "cluster_mode", "data_transport_mode", "opt_level", "overflow_adaptive")
    place = one(rng, [p for p in scalars(document, int) if p.key in named])
    value = str(rng.choice([-1, 7, 16]))
    return with_value(document, place.entry.node, value, str(place.path)) if place else None


@mutator
def emptied_section(rng: random.Random, document: Document) -> Mutant | None:
    place = one(rng, [p for p in places(document) if isinstance(p.entry.node.value, dict)])
    lines = block_lines(document, place.entry) if place else None
    if lines is None or lines[0] == lines[1]:
        return None
    kept = [*document.lines[: lines[0]], *document.lines[lines[1] :]]
    return Mutant("\n".join(kept), frozenset({lines[0]}), what=str(place.path))


@mutator
def negative_size(rng: random.Random, document: Document) -> Mutant | None:
    shape = document.node("frontend", "shape")
    numbers = [node for node in nodes(shape) if type(node.value) is int]
    node = one(rng, numbers)
    return with_value(document, node, rng.choice(["0", "-1", "1.5"]), "shape") if node else None


@mutator
def path_emptied(rng: random.Random, document: Document) -> Mutant | None:
    place = one(rng, [p for p in places(document) if p.key in ("path", "checkpoint", "name")])
    return with_value(document, place.entry.node, '""', str(place.path))
