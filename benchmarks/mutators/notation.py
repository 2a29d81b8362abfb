"""Slips of notation, most of which leave a text that is not YAML."""

from __future__ import annotations

import random
import re

import yaml
from mutators.base import Config, Entry, Mutant, mutator


def _rewritten(config: Config, entry: Entry, form: str) -> Mutant | None:
    """Write a line `key: value` in another form."""
    match = re.match(r"( *(?:- )?)([\w.-]+): +(.*\S)", config.lines[entry.line - 1])
    return config.with_line(entry.line, form.format(*match.groups())) if match else None


@mutator(Config.one_liners)
def no_space_after_the_colon(rng: random.Random, config: Config, entry: Entry) -> Mutant | None:
    return _rewritten(config, entry, "{}{}:{}")


@mutator(Config.one_liners)
def full_width_colon(rng: random.Random, config: Config, entry: Entry) -> Mutant | None:
    return _rewritten(config, entry, rng.choice(["{}{}\uff1a{}", "{}{}\uff1a {}"]))


@mutator(Config.one_liners)
def no_colon(rng: random.Random, config: Config, entry: Entry) -> Mutant | None:
    return _rewritten(config, entry, "{}{} {}")


@mutator(Config.one_liners)
def equals_sign_for_the_colon(rng: random.Random, config: Config, entry: Entry) -> Mutant | None:
    return _rewritten(config, entry, rng.choice(["{}{} = {}", "{}{}={}"]))


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
