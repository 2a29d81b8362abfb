"""Mistakes: in keys, in notation, and in values, alone or against another value."""

import random
import re
import string
from functools import partial

import yaml
from mutators.base import MUTATORS, Config, Entry, Mutant, at, end_of, mutator


def _typos(rng: random.Random, key: str) -> dict[str, str]:
    """Return misspellings of a key, by what is wrong with them."""
    at, letter = rng.randrange(len(key)), rng.choice(string.ascii_lowercase)
    left, right = key[:at], key[at:]
    other_styles = [key.upper(), key.title(), key.replace("_", "-"), key.replace("_", "")]
    return {
        "key with a letter more": left + letter + right,
        "key with a letter less": left + right[1:],
        "key with another letter": left + letter + right[1:],
        "key with letters swapped": left + right[:2][::-1] + right[2:],
        "key in capitals or with hyphens": rng.choice(other_styles),
    }


def _misspelled(kind: str, rng: random.Random, config: Config) -> Mutant | None:
    entry = rng.choice(config.entries)
    wrong = _typos(rng, entry.key.value)[kind]
    names = {key.value for key, _ in entry.section.value}
    if wrong in names or not wrong.replace("-", "_").isidentifier():
        return None
    return config.with_value(entry.key, wrong, suggestion=entry.key.value)


MUTATORS.update({kind: partial(_misspelled, kind) for kind in _typos(random.Random(), "key")})


# More than one section has these: in another one they may be right.
SHARED = {"type", "dtype", "path", "quantize", "name", "size", "checkpoint"}


def _movable(config: Config) -> list[Entry]:
    """Return the `key: value` of sections that keep other keys; items of lists are none."""
    entries = [e for e in config.one_liners() if len(e.path) > 1 and isinstance(e.path[-2], str)]
    return [e for e in entries if e.key.value not in SHARED and len(e.section.value) > 1]


@mutator(_movable)
def key_in_another_section(rng: random.Random, config: Config, entry: Entry) -> Mutant | None:
    """Move a line to the top of the section above or beside its own."""
    own = entry.path[:-1]
    beside = [
        other.value
        for other in config.blocks()
        if len(other.path) == len(own) and other.path != own and other.key.value != "shape"
        if isinstance(other.value, yaml.MappingNode) and other.line < other.last_line
    ]
    section = ".".join(map(str, own))
    above = config.by_path.get(section.rpartition(".")[0])
    target = rng.choice([above.value if above else config.root, *beside])
    if any(key.value == entry.key.value for key, _ in target.value):
        return None
    first = target.value[0][0]
    lines = [*config.lines]
    moved = " " * first.start_mark.column + lines.pop(entry.line - 1).strip()
    at = first.start_mark.line - (entry.line <= first.start_mark.line)
    lines.insert(at, moved)
    return Mutant("\n".join(lines), frozenset({at + 1}), section, entry.key.value)


REQUIRED = {
    *("name", "workspace.path", "backend.type", "backend.dtype"),
    *("frontend.checkpoint", "frontend.shape", "frontend.quantize.type"),
    *("frontend.model_kwargs.tp", "frontend.model_kwargs.model_arch"),
    *("dataset.path", "dataset.sampler.get_data_num", "graph.extra_ops.type"),
}


@mutator(lambda config: [e for e in config.blocks() if e.dotted in REQUIRED])
def required_key_deleted(rng: random.Random, config: Config, entry: Entry) -> Mutant | None:
    if len(entry.section.value) == 1:
        return None
    text = config.without(entry)
    header = config.by_path.get(entry.dotted.rpartition(".")[0])
    if header is None:  # of the whole file: its first line, or its first line with a key
        return Mutant(text, frozenset({1, text[: len(text) - len(text.lstrip())].count("\n") + 1}))
    return Mutant(text, frozenset({header.line - (header.line > entry.line)}))


@mutator(lambda config: [e for e in config.one_liners() if isinstance(e.path[-1], str)])
def key_given_twice(rng: random.Random, config: Config, entry: Entry) -> Mutant | None:
    lines = [*config.lines[: entry.line], *config.lines[entry.line - 1 :]]
    return Mutant("\n".join(lines), frozenset({entry.line, entry.line + 1}))


# Slips of notation, most of which leave a text that is not YAML

COLONS = {
    "no space after the colon": ["{}{}:{}"],
    "full width colon": ["{}{}\uff1a{}", "{}{}\uff1a {}"],
    "no colon": ["{}{} {}"],
    "equals sign for the colon": ["{}{} = {}", "{}{}={}"],
}


def _rewritten(forms: list[str], rng: random.Random, config: Config) -> Mutant | None:
    """Write a line `key: value` in another form."""
    entry = rng.choice(config.one_liners())
    match = re.match(r"( *(?:- )?)([\w.-]+): +(.*\S)", config.lines[entry.line - 1])
    form = rng.choice(forms)
    return config.with_line(entry.line, form.format(*match.groups())) if match else None


MUTATORS.update({kind: partial(_rewritten, forms) for kind, forms in COLONS.items()})


@mutator(lambda config: [e for e in config.one_liners() if e.kind and not e.value.style])
def quote_not_closed(rng: random.Random, config: Config, entry: Entry) -> Mutant:
    return config.with_value(entry.value, rng.choice("\"'") + entry.value.value)


@mutator(lambda c: [e for e in c.one_liners() if isinstance(e.value, yaml.SequenceNode)])
def bracket_not_closed(rng: random.Random, config: Config, entry: Entry) -> Mutant:
    end = entry.value.end_mark.index
    return Mutant(config.text[: end - 1] + config.text[end:], frozenset({entry.line}))


@mutator(lambda config: [e for e in config.blocks() if len(e.path) > 1])
def tab_in_the_indentation(rng: random.Random, config: Config, entry: Entry) -> Mutant:
    return config.with_line(entry.line, "\t" + config.lines[entry.line - 1].lstrip(" "))


@mutator(Config.blocks)
def indentation_off_by_one(rng: random.Random, config: Config, entry: Entry) -> Mutant:
    line = config.lines[entry.line - 1]
    is_less = line.startswith(" ") and rng.random() < 0.5
    return config.with_line(entry.line, line[1:] if is_less else " " + line)


@mutator(Config.blocks)
def conflict_of_a_merge(rng: random.Random, config: Config, entry: Entry) -> Mutant:
    part = config.lines[entry.line - 1 : entry.last_line]
    conflict = ["<<<<<<< HEAD", *part, "=======", *part, ">>>>>>> other"]
    lines = [*config.lines[: entry.line - 1], *conflict, *config.lines[entry.last_line :]]
    return Mutant("\n".join(lines), frozenset({entry.line}))


# Values of the wrong type, outside what the format allows, or against another value

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
