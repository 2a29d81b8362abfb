"""Mistakes that people make in compile configs, each as a function that makes one.

A mutator takes a random generator and a healthy document, and returns a text with one mistake in it,
the lines where the mistake may be told, and what the first suggestion has to be, if there is one.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from vacc_gen.schema.document import Document, Entry, Node
from vacc_gen.schema.structure import packaged_schema


class Mutant(NamedTuple):
    text: str
    lines: frozenset[int]
    suggestion: str | None = None
    what: str = ""


Mutator = Callable[[random.Random, Document], Mutant | None]
MUTATORS: dict[str, Mutator] = {}
Path = tuple[str | int, ...]


def mutator(function: Mutator) -> Mutator:
    MUTATORS[function.__name__.replace("_", " ")] = function
    return function


class Place(NamedTuple):
    """An entry of a mapping: its path, its key's place and value, and the mapping."""

    path: Path
    entry: Entry
    mapping: Node

    @property
    def key(self) -> str:
        return str(self.path[-1])


def places(document: Document) -> Iterator[Place]:
    """Yield the entries whose keys are of the format: not the names of inputs or packages."""
    stack: list[tuple[Path, Node]] = [((), document.root)] if document.root else []
    while stack:
        path, node = stack.pop()
        if isinstance(node.value, dict):
            for key, entry in node.value.items():
                if path[-1:] not in (("shape",), ("pyenv",)):
                    yield Place((*path, key), entry, node)
                stack.append(((*path, key), entry.node))
        elif isinstance(node.value, list):
            stack += [((*path, index), item) for index, item in enumerate(node.value)]


def one(rng: random.Random, choices: Iterator[Any] | list[Any]) -> Any:
    """Return one of the choices, or None where there are none."""
    found = list(choices)
    return rng.choice(found) if found else None


def spliced(document: Document, start: int, end: int, text: str) -> str:
    return document.text[:start] + text + document.text[end:]


def with_value(document: Document, node: Node, text: str, what: str, **extra: Any) -> Mutant:
    """Put another text where a value is."""
    lines = frozenset(range(node.span.line, node.span.end_line + 1))
    return Mutant(
        spliced(document, node.span.start, node.span.end, text), lines, what=what, **extra
    )


def block_lines(document: Document, entry: Entry) -> tuple[int, int] | None:
    """Return the first and the last line (from 1) of an entry that has its lines for itself."""
    first = entry.key_span.line
    line = document.lines[first - 1]
    if line[: entry.key_span.column - 1].strip():
        return None
    span = entry.node.span
    last = span.end_line if span.end_column > 1 else span.end_line - 1
    return first, max(first, last)


def without_lines(document: Document, first: int, last: int) -> list[str]:
    return [*document.lines[: first - 1], *document.lines[last:]]


def reindented(lines: list[str], by: int) -> list[str]:
    return [" " * by + line if by > 0 else line[-by:] for line in lines]


# Keys -------------------------------------------------------------------------------------------


def _typo(rng: random.Random, document: Document, change: Callable[[str], str]) -> Mutant | None:
    place = one(rng, places(document))
    wrong = change(place.key)
    if wrong == place.key or wrong in place.mapping.value or not wrong.isidentifier():
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

    return _typo(rng, document, change)


@mutator
def key_letter_dropped(rng: random.Random, document: Document) -> Mutant | None:
    def change(key: str) -> str:
        at = rng.randrange(len(key))
        return key[:at] + key[at + 1 :]

    return _typo(rng, document, change)


@mutator
def key_letter_replaced(rng: random.Random, document: Document) -> Mutant | None:
    def change(key: str) -> str:
        at = rng.randrange(len(key))
        return key[:at] + rng.choice(string.ascii_lowercase) + key[at + 1 :]

    return _typo(rng, document, change)


@mutator
def key_letters_swapped(rng: random.Random, document: Document) -> Mutant | None:
    def change(key: str) -> str:
        at = rng.randrange(max(1, len(key) - 1))
        return key[:at] + key[at + 1 : at + 2] + key[at : at + 1] + key[at + 2 :]

    return _typo(rng, document, change)


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


def _single_line(place: Place) -> bool:
    return not isinstance(place.entry.node.value, dict)


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


def _dotted(path: Path) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text or "the top level"


@mutator
def key_one_level_up(rng: random.Random, document: Document) -> Mutant | None:
    place = one(rng, (p for p in places(document) if len(p.path) > 1 and _single_line(p)))
    above = place.path[:-2]
    if above and isinstance(above[-1], int):
        return None
    if isinstance(place.path[-2], int):
        above = place.path[:-3]
    target = document.node(*above)
    found = next((item for item in _block_mappings(document) if item[1] is target), None)
    if found is None:
        return None
    return _moved(document, place, found[1], found[2], _dotted(place.path[:-1]))


@mutator
def key_one_level_down(rng: random.Random, document: Document) -> Mutant | None:
    place = one(rng, (p for p in places(document) if _single_line(p)))
    below = [
        (node, indent)
        for path, node, indent in _block_mappings(document)
        if len(path) == len(place.path) and path[:-1] == place.path[:-1] and path != place.path
    ]
    chosen = one(rng, below)
    if chosen is None:
        return None
    return _moved(document, place, *chosen, _dotted(place.path[:-1]))


@mutator
def key_in_the_neighbouring_section(rng: random.Random, document: Document) -> Mutant | None:
    place = one(rng, (p for p in places(document) if len(p.path) > 1 and _single_line(p)))
    section = place.path[:-1]
    beside = [
        (node, indent)
        for path, node, indent in _block_mappings(document)
        if len(path) == len(section) and path != section and path[-1:] != ("shape",)
        if not isinstance(path[-1], int)
    ]
    chosen = one(rng, beside)
    schema = packaged_schema("vamc")
    if chosen is None or _takes(schema, document, chosen[0], place.key):
        return None
    return _moved(document, place, *chosen, _dotted(section))


def _takes(schema: dict[str, Any], document: Document, target: Node, key: str) -> bool:
    """Whether the section has a key of this name itself, so that moving makes no mistake."""
    from vacc_gen.schema.placement import Places

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


# Values -----------------------------------------------------------------------------------------


def _scalars(document: Document, kind: type) -> list[Place]:
    return [place for place in places(document) if type(place.entry.node.value) is kind]


@mutator
def number_as_text(rng: random.Random, document: Document) -> Mutant | None:
    place = one(rng, [*_scalars(document, int), *_scalars(document, float)])
    if place is None:
        return None
    value = place.entry.node.value
    return with_value(document, place.entry.node, f'"{value}"', str(place.path))


@mutator
def truth_as_text(rng: random.Random, document: Document) -> Mutant | None:
    place = one(rng, _scalars(document, bool))
    if place is None:
        return None
    word = rng.choice(['"true"', "enabled", "1", "TRUEE"])
    return with_value(document, place.entry.node, word, f"{place.path} -> {word}")


@mutator
def text_as_number(rng: random.Random, document: Document) -> Mutant | None:
    place = one(rng, _scalars(document, str))
    return with_value(document, place.entry.node, str(rng.randrange(100)), str(place.path))


@mutator
def list_as_one_value(rng: random.Random, document: Document) -> Mutant | None:
    lists = [
        node
        for node in _nodes(document.root)
        if isinstance(node.value, list) and node.value and not isinstance(node.value[0].value, dict)
    ]
    node = one(rng, lists)
    if node is None or node.span.line != node.span.end_line:
        return None
    return with_value(document, node, "640", str(node.plain()))


@mutator
def value_as_a_list(rng: random.Random, document: Document) -> Mutant | None:
    place = one(
        rng, [*_scalars(document, str), *_scalars(document, int), *_scalars(document, bool)]
    )
    written = document.text[place.entry.node.span.start : place.entry.node.span.end]
    return with_value(document, place.entry.node, f"[{written}]", str(place.path))


def _nodes(node: Node | None) -> Iterator[Node]:
    if node is None:
        return
    yield node
    if isinstance(node.value, dict):
        for entry in node.value.values():
            yield from _nodes(entry.node)
    elif isinstance(node.value, list):
        for item in node.value:
            yield from _nodes(item)


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
    place = one(rng, [p for p in places(document) if _dotted(p.path) in ENUMS])
    value = rng.choice(ENUMS[_dotted(place.path)])
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
        if _dotted(place.path) in ENUMS
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
    mutant = with_value(document, place.entry.node, written, str(place.path))
    return mutant


@mutator
def negative_size(rng: random.Random, document: Document) -> Mutant | None:
    shape = document.node("frontend", "shape")
    numbers = [node for node in _nodes(shape) if type(node.value) is int]
    node = one(rng, numbers)
    return with_value(document, node, rng.choice(["0", "-1", "1.5"]), "shape") if node else None


@mutator
def path_emptied(rng: random.Random, document: Document) -> Mutant | None:
    place = one(rng, [p for p in places(document) if p.key in ("path", "checkpoint", "name")])
    return with_value(document, place.entry.node, '""', str(place.path))


# Names ------------------------------------------------------------------------------------------


def _name(document: Document) -> Node | None:
    return document.node("name")


def _in_name(document: Document, pattern: str, replacement: str) -> Mutant | None:
    node = _name(document)
    if node is None or not isinstance(node.value, str):
        return None
    changed = re.sub(pattern, replacement, node.value, count=1)
    return with_value(document, node, changed, changed) if changed != node.value else None


@mutator
def precision_in_the_name(rng: random.Random, document: Document) -> Mutant | None:
    node = _name(document)
    if node is None or "fp16" in node.value and "int8" in node.value:
        return None
    if "int8" in node.value:
        return _in_name(document, "int8", "fp16")
    return _in_name(document, "fp16", "int8")


@mutator
def tp_in_the_name(rng: random.Random, document: Document) -> Mutant | None:
    return _in_name(document, r"tp\d+", f"tp{rng.choice([1, 2, 3, 16])}")


@mutator
def lengths_in_the_name(rng: random.Random, document: Document) -> Mutant | None:
    shape = document.node("frontend", "shape", "input_ids")
    if shape is None or not isinstance(shape.value[0].value, list):
        return None
    prefill = shape.value[0].value[0].value
    return _in_name(document, str(prefill), str(prefill * 4))


@mutator
def kv8_in_the_name(rng: random.Random, document: Document) -> Mutant | None:
    node = _name(document)
    if node is None or document.node("frontend", "quantize") is None:
        return None
    if node.value.endswith("-kv8"):
        return _in_name(document, "-kv8$", "")
    return _in_name(document, "$", "-kv8")


# Language models --------------------------------------------------------------------------------


def _lengths(document: Document) -> tuple[Node, Node] | None:
    node = document.node("frontend", "shape", "input_ids")
    if node is None or len(node.value) != 2 or not isinstance(node.value[0].value, list):
        return None
    first, second = node.value
    return (first.value[0], second.value[0]) if second.value else None


@mutator
def length_off_16(rng: random.Random, document: Document) -> Mutant | None:
    lengths = _lengths(document)
    if lengths is None:
        return None
    node = rng.choice(lengths)
    # Smaller, so that prefill stays below total and the name is the only other witness.
    return with_value(document, node, str(node.value - rng.randrange(1, 16)), "length")


@mutator
def prefill_above_total(rng: random.Random, document: Document) -> Mutant | None:
    lengths = _lengths(document)
    if lengths is None:
        return None
    prefill, total = lengths
    return with_value(document, prefill, str(total.value * 2), "prefill")


@mutator
def flat_shape_of_a_language_model(rng: random.Random, document: Document) -> Mutant | None:
    lengths = _lengths(document)
    node = document.node("frontend", "shape", "input_ids")
    if lengths is None or node is None:
        return None
    return with_value(document, node, f"[1, {lengths[0].value}]", "shape")


@mutator
def int8_without_data(rng: random.Random, document: Document) -> Mutant | None:
    dtype = document.node("backend", "dtype")
    frontend = document.node("frontend")
    if dtype is None or dtype.value != "int8" or frontend is None or document.root is None:
        return None
    holder = document.root if "dataset" in document.root.value else frontend
    entry = holder.value.get("dataset") or holder.value.get("quantize")
    lines = block_lines(document, entry) if entry else None
    if lines is None or "quantize" in frontend.value and holder is document.root:
        return None
    line = dtype.span.line - (lines[1] - lines[0] + 1 if dtype.span.line > lines[0] else 0)
    return Mutant("\n".join(without_lines(document, *lines)), frozenset({line}), what="int8")


# Frontends and data -----------------------------------------------------------------------------

_SUFFIXES = (".onnx", ".torchscript.pt", ".h5", ".pb", ".weights")


@mutator
def suffix_against_type(rng: random.Random, document: Document) -> Mutant | None:
    checkpoint, kind = document.node("frontend", "checkpoint"), document.node("frontend", "type")
    if checkpoint is None or kind is None:
        return None
    own = next((suffix for suffix in _SUFFIXES if checkpoint.value.endswith(suffix)), None)
    if own is None:
        return None
    other = rng.choice([suffix for suffix in _SUFFIXES if suffix != own])
    changed = checkpoint.value.removesuffix(own) + other
    mutant = with_value(document, checkpoint, changed, changed)
    return mutant._replace(lines=frozenset({checkpoint.span.line, kind.span.line}))


@mutator
def type_against_suffix(rng: random.Random, document: Document) -> Mutant | None:
    checkpoint, kind = document.node("frontend", "checkpoint"), document.node("frontend", "type")
    if checkpoint is None or kind is None:
        return None
    if kind.value != "huggingface" and not checkpoint.value.endswith(_SUFFIXES):
        return None
    kinds = [k for k in ("onnx", "pytorch", "keras", "tensorflow", "darknet") if k != kind.value]
    mutant = with_value(document, kind, rng.choice(kinds), "type")
    return mutant._replace(lines=frozenset({checkpoint.span.line, kind.span.line}))


def _normalize(document: Document) -> Node | None:
    ops = document.node("dataset", "process_ops")
    for op in ops.value if ops is not None else ():
        if op.value["type"].node.value == "Normalize" and "mean" in op.value and "std" in op.value:
            return op
    return None


@mutator
def mean_on_the_other_scale(rng: random.Random, document: Document) -> Mutant | None:
    op = _normalize(document)
    if op is None:
        return None
    mean, std = op.value["mean"].node, op.value["std"].node
    values = mean.plain()
    if not any(values) or not document.text.startswith("[", mean.span.start):
        return None
    up = max(values) <= 1.5
    scaled = [round(value * 255 if up else value / 255, 3) for value in values]
    mutant = with_value(document, mean, str(scaled), f"{values} -> {scaled}")
    spoken = {mean.span.line, std.span.line}
    if "div255" in op.value:
        spoken.add(op.value["div255"].node.span.line)
    return mutant._replace(lines=frozenset(spoken))


@mutator
def div255_turned(rng: random.Random, document: Document) -> Mutant | None:
    op = _normalize(document)
    if op is None or "div255" not in op.value or not any(op.value["mean"].node.plain()):
        return None
    node = op.value["div255"].node
    return with_value(document, node, "false" if node.value else "true", "div255")


@mutator
def mean_with_one_value_less(rng: random.Random, document: Document) -> Mutant | None:
    op = _normalize(document)
    node = op.value[rng.choice(["mean", "std"])].node if op else None
    if node is None or len(node.value) != 3 or node.span.line != node.span.end_line:
        return None
    lines = {op.value["mean"].node.span.line, op.value["std"].node.span.line} if op else set()
    mutant = with_value(document, node, str(node.plain()[:2]), "mean or std")
    return mutant._replace(lines=frozenset(lines))


@mutator
def swapped_sampler_fields(rng: random.Random, document: Document) -> Mutant | None:
    sampler = document.node("dataset", "sampler")
    if sampler is None or set(sampler.value) != {"suffix", "get_data_num"}:
        return None
    suffix, number = sampler.value["suffix"].node, sampler.value["get_data_num"].node
    first, second = sorted((suffix, number), key=lambda node: node.span.start)
    text = document.text
    changed = (
        text[: first.span.start]
        + text[second.span.start : second.span.end]
        + text[first.span.end : second.span.start]
        + text[first.span.start : first.span.end]
        + text[second.span.end :]
    )
    return Mutant(changed, frozenset({suffix.span.line, number.span.line}), what="sampler")


@mutator
def images_of_another_size(rng: random.Random, document: Document) -> Mutant | None:
    ops = document.node("dataset", "process_ops")
    shape = document.node("frontend", "shape")
    if ops is None or shape is None or len(shape.value) != 1:
        return None
    last = None
    for op in ops.value:
        for key in ("size", "crop_size"):
            if key in op.value:
                last = op.value[key].node
    if last is None or last.span.line != last.span.end_line or -1 in last.plain():
        return None
    changed = [size + 32 for size in last.plain()]
    return with_value(document, last, str(changed), f"{changed}")


# Text -------------------------------------------------------------------------------------------


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
    place = one(rng, _scalars(document, str))
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
    lists = [n for n in _nodes(document.root) if isinstance(n.value, list)]
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
