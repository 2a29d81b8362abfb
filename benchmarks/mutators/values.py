"""Values of the wrong type, outside what the format allows, or against another value."""

from __future__ import annotations

import random
import re
import string

import yaml
from mutators.base import Config, Entry, Mutant, at, end_of, mutator

OTHER_WORDS = {
    "frontend.type": ("caffe", "mxnet", "torch", "paddle"),
    "frontend.dtype": ("float", "double", "complex64"),
    "frontend.quantize.type": ("awq", "int8"),
    "frontend.model_kwargs.model_arch": ("cuda", "auto"),
    "backend.type": ("tensorrt", "openvino"),
    "backend.dtype": ("fp8", "w4", "mixed", "float16"),
    "backend.quantize.calibrate_mode": ("average", "entropy"),
    "dataset.type": ("coco", "folder"),
}
SUFFIXES = (".onnx", ".torchscript.pt", ".h5", ".pb", ".weights")


def _words(config: Config) -> list[Entry]:
    """Return the entries of which the format names every value, types of operations included."""
    return [
        entry
        for entry in config.scalars("str")
        if entry.dotted in OTHER_WORDS
        or (entry.path[1:2] == ("process_ops",) and entry.key.value == "type")
    ]


@mutator(_words)
def misspelled_value(rng: random.Random, config: Config, entry: Entry) -> Mutant | None:
    value = entry.value.value
    at = rng.choice([index for index, letter in enumerate(value) if letter.isalpha()])
    letters = rng.choice(["", rng.choice(string.ascii_lowercase) + value[at], value[at] * 2])
    wrong = value[:at] + letters + value[at + 1 :]
    if not wrong[:1].isalpha():
        return None
    return config.with_value(entry.value, wrong, suggestion=value)


@mutator(_words)
def value_outside_the_enum(rng: random.Random, config: Config, entry: Entry) -> Mutant:
    return config.with_value(
        entry.value, rng.choice(OTHER_WORDS.get(entry.dotted, ("Sharpen", "Vignette")))
    )


@mutator(lambda config: config.scalars("int", "float"))
def number_in_quotes(rng: random.Random, config: Config, entry: Entry) -> Mutant:
    return config.with_value(entry.value, f'"{entry.value.value}"')


@mutator(lambda config: config.scalars("bool"))
def word_for_a_truth_value(rng: random.Random, config: Config, entry: Entry) -> Mutant:
    return config.with_value(entry.value, rng.choice(['"true"', "'False'", "enabled", "TRUEE"]))


@mutator(lambda config: [e for e in config.scalars("int", "bool") if e.key.value != "norm_type"])
def value_left_out(rng: random.Random, config: Config, entry: Entry) -> Mutant:
    return config.with_value(entry.value, rng.choice(["null", "~", ""]))


def _shapes(config: Config) -> list[yaml.ScalarNode]:
    """Return the sizes of all inputs."""
    nodes = [entry.value for entry in at("frontend.shape")(config)]
    for node in nodes:  # grows on the way
        if isinstance(node, yaml.CollectionNode):
            nodes += [item[1] if isinstance(item, tuple) else item for item in node.value]
    return [n for n in nodes if isinstance(n, yaml.ScalarNode) and n.value.isdigit()]


@mutator(_shapes)
def size_below_one(rng: random.Random, config: Config, number: yaml.ScalarNode) -> Mutant:
    return config.with_value(number, rng.choice(["0", "-1", "0.5"]))


@mutator(at("name"))
def precision_of_the_name(rng: random.Random, config: Config, entry: Entry) -> Mutant | None:
    other, name = {"int8": "fp16", "fp16": "int8"}, entry.value.value
    if "int8" in name and "fp16" in name:
        return None
    return config.with_value(entry.value, re.sub("int8|fp16", lambda found: other[found[0]], name))


Lengths = tuple[yaml.Node, yaml.Node]


def _lengths(config: Config) -> list[Lengths]:
    """Return prefill and total of `input_ids: [[prefill], [total]]`, where that is the shape."""
    shapes = [pair for entry in at("frontend.shape")(config) for pair in entry.value.value]
    inputs = {key.value: value.value for key, value in shapes}
    rows = [row.value for row in inputs.get("input_ids", []) if isinstance(row.value, list)]
    return [(rows[0][0], rows[1][0])] if len(rows) == 2 and all(rows) else []


@mutator(_lengths)
def length_of_the_name(rng: random.Random, config: Config, lengths: Lengths) -> Mutant | None:
    name, prefill = config.by_path.get("name"), lengths[0].value
    if name is None:
        return None
    other = re.sub(rf"\b{prefill}\b", f"{prefill}0", name.value.value, count=1)
    return config.with_value(name.value, other)


@mutator(_lengths)
def length_no_multiple_of_16(rng: random.Random, config: Config, lengths: Lengths) -> Mutant:
    node = rng.choice(lengths)
    return config.with_value(node, str(int(node.value) - rng.randrange(1, 16)))


@mutator(_lengths)
def prefill_above_the_total(rng: random.Random, config: Config, lengths: Lengths) -> Mutant:
    prefill, total = lengths
    mutant = config.with_value(prefill, str(2 * int(total.value)))
    return mutant._replace(lines=mutant.lines | {total.start_mark.line + 1})


@mutator(at("dataset"))
def int8_without_data(rng: random.Random, config: Config, dataset: Entry) -> Mutant | None:
    dtype = config.by_path.get("backend.dtype")
    if dtype is None or dtype.value.value != "int8" or config.by_path.get("frontend.quantize"):
        return None
    lines_gone = dataset.last_line - dataset.line + 1 if dataset.line < dtype.line else 0
    return Mutant(config.without(dataset), frozenset({dtype.line - lines_gone}))


@mutator(at("frontend.checkpoint"))
def suffix_against_the_type(rng: random.Random, config: Config, entry: Entry) -> Mutant | None:
    path, kind = entry.value.value, config.by_path.get("frontend.type")
    own = next((suffix for suffix in SUFFIXES if path.endswith(suffix)), None)
    if own is None or kind is None:
        return None
    other = rng.choice([suffix for suffix in SUFFIXES if suffix != own])
    mutant = config.with_value(entry.value, path.removesuffix(own) + other)
    return mutant._replace(lines=mutant.lines | {kind.line})


@mutator(lambda config: [e for e in config.entries if e.key.value == "mean" and len(e.path) == 4])
def mean_on_the_other_scale(rng: random.Random, config: Config, entry: Entry) -> Mutant | None:
    """The mean of Normalize of 0 to 255 where it is of 0 to 1, or the other way."""
    values = [float(item.value) for item in entry.value.value]
    if not any(values):
        return None
    factor = 255 if max(values) <= 1.5 else 1 / 255
    written = ", ".join(str(round(value * factor, 4)) for value in values)
    start, end = entry.key.end_mark.index, end_of(entry.value).index
    text = f"{config.text[:start]}: [{written}]{config.text[end:]}"
    op = range(entry.section.start_mark.line + 1, end_of(entry.section).line + 2)
    return Mutant(text, frozenset(op))
