"""Values that contradict each other: names, lengths, checkpoints, calibration."""

from __future__ import annotations

import random
import re

from mutators.base import (
    Mutant,
    block_lines,
    mutator,
    spliced,
    with_items,
    with_value,
    without_lines,
)
from vacc_gen.schema.lint.document import Document, Node


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
    if node is None or ("fp16" in node.value and "int8" in node.value):
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
    if lines is None or ("quantize" in frontend.value and holder is document.root):
        return None
    line = dtype.span.line - (lines[1] - lines[0] + 1 if dtype.span.line > lines[0] else 0)
    return Mutant("\n".join(without_lines(document, *lines)), frozenset({line}), what="int8")


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


def _scaled(values: list[float]) -> list[float]:
    factor = 255 if max(values) <= 1.5 else 1 / 255
    return [round(value * factor, 4) for value in values]


def _also_at(mutant: Mutant, op: Node) -> Mutant:
    """Accept a finding at `div255` and at the op's type too."""
    spoken = {op.value[key].node.span.line for key in ("type", "div255") if key in op.value}
    return mutant._replace(lines=mutant.lines | spoken)


@mutator
def mean_on_the_other_scale(rng: random.Random, document: Document) -> Mutant | None:
    op = _normalize(document)
    mean = op.value["mean"].node if op else None
    if op is None or mean is None or not any(mean.plain()):
        return None
    values = _scaled(mean.plain())
    std = op.value["std"].node
    mutant = with_items(document, [(mean, values)], f"{mean.plain()} -> {values}")
    near_std = frozenset(range(std.span.line - 1, std.span.end_line + 1))
    return _also_at(mutant._replace(lines=mutant.lines | near_std), op)


@mutator
def mean_and_std_on_the_other_scale(rng: random.Random, document: Document) -> Mutant | None:
    op = _normalize(document)
    if op is None or not any(op.value["mean"].node.plain()):
        return None
    lists = [op.value[key].node for key in ("mean", "std")]
    changed = [(node, _scaled(node.plain())) for node in lists]
    return _also_at(with_items(document, changed, str([values for _, values in changed])), op)


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
    if op is None or node is None or len(node.value) != 3:
        return None
    before, last = node.value[1].span, node.value[2].span
    changed = spliced(document, before.end, last.end, "")
    lines = {
        line
        for key in ("mean", "std")
        for line in range(op.value[key].key_span.line, op.value[key].node.span.end_line + 1)
    }
    return Mutant(changed, frozenset(lines), what="mean or std")


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
    if last is None or -1 in last.plain():
        return None
    changed = [size + 32 for size in last.plain()]
    return with_items(document, [(last, changed)], f"{changed}")
