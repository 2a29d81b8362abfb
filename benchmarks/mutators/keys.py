"""Keys that are misspelled, misplaced, missing or there twice, and slips of notation."""

from __future__ import annotations

import random
import re
import string
from functools import partial

import yaml
from mutators.base import MUTATORS, Config, Entry, Mutant, mutator


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
