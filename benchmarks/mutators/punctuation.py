"""Colons, blanks, quotes and commas: left out, in excess, or from another keyboard."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from mutators.base import Mutant, block_lines, mutator, nodes, one, places, spliced
from vacc_gen.schema.lint.document import Document, Node

_LINE = re.compile(r"^(?P<indent> *(?:- )?)(?P<key>[\w.-]+): (?P<value>[^\s#].*)$")


def _lines(document: Document) -> list[tuple[int, re.Match[str]]]:
    """Return the lines `key: value`, with their numbers."""
    found = ((number, _LINE.match(line)) for number, line in enumerate(document.lines, 1))
    return [(number, match) for number, match in found if match]


def _with(document: Document, changes: dict[int, str], **extra: object) -> Mutant:
    lines = [*document.lines]
    for number, line in changes.items():
        lines[number - 1] = line
    what = "; ".join(line.strip() for line in changes.values())
    return Mutant("\n".join(lines), frozenset(changes), what=what, **extra)  # type: ignore[arg-type]


def _one_line(rng: random.Random, document: Document, form: str) -> Mutant | None:
    chosen = one(rng, _lines(document))
    if chosen is None:
        return None
    number, match = chosen
    right = document.lines[number - 1].strip()
    return _with(document, {number: form.format(**match.groupdict())}, suggestion=right)


def _indented(
    rng: random.Random, document: Document, blanks: Callable[[int], str]
) -> Mutant | None:
    """Indent a line by what `blanks` makes of its indentation's width."""
    chosen = one(rng, [(n, m) for n, m in _lines(document) if m["indent"].startswith("  ")])
    if chosen is None:
        return None
    number, _ = chosen
    bare = document.lines[number - 1].lstrip(" ")
    return _with(document, {number: blanks(len(document.lines[number - 1]) - len(bare)) + bare})


def _two_lines(rng: random.Random, document: Document, form: str) -> Mutant | None:
    found = _lines(document)
    if len(found) < 2:
        return None
    changes = {n: form.format(**match.groupdict()) for n, match in rng.sample(found, 2)}
    return _with(document, changes, mistakes=2)


@mutator
def blank_missing_after_a_colon(rng: random.Random, document: Document) -> Mutant | None:
    return _one_line(rng, document, "{indent}{key}:{value}")


@mutator
def two_blanks_missing_after_colons(rng: random.Random, document: Document) -> Mutant | None:
    return _two_lines(rng, document, "{indent}{key}:{value}")


@mutator
def full_width_colon(rng: random.Random, document: Document) -> Mutant | None:
    form = rng.choice(["{indent}{key}\uff1a{value}", "{indent}{key}\uff1a {value}"])
    return _one_line(rng, document, form)


@mutator
def full_width_colon_of_a_header(rng: random.Random, document: Document) -> Mutant | None:
    headers = [n for n, line in enumerate(document.lines, 1) if re.match(r" *[\w-]+:\s*$", line)]
    number = one(rng, headers)
    if number is None:
        return None
    line = document.lines[number - 1]
    changed = {number: line.replace(":", "\uff1a")}
    return _with(document, changed, suggestion=line.strip())


@mutator
def two_full_width_colons(rng: random.Random, document: Document) -> Mutant | None:
    return _two_lines(rng, document, "{indent}{key}\uff1a{value}")


@mutator
def full_width_quotes(rng: random.Random, document: Document) -> Mutant | None:
    chosen = one(rng, [(n, m) for n, m in _lines(document) if m["value"][0] not in "[{\"'"])
    if chosen is None:
        return None
    number, match = chosen
    left, right = rng.choice(["\u201c\u201d", "\u2018\u2019", "\uff02\uff02"])
    value = match["value"].rstrip()
    line = f"{match['indent']}{match['key']}: {left}{value}{right}"
    return _with(document, {number: line})


@mutator
def full_width_comma(rng: random.Random, document: Document) -> Mutant | None:
    rows = [n for n, line in enumerate(document.lines, 1) if re.search(r"\[.*,.*\]", line)]
    number = one(rng, rows)
    if number is None:
        return None
    line = document.lines[number - 1]
    return _with(document, {number: re.sub(r", ?", "\uff0c", line)}, suggestion=None)


@mutator
def full_width_blank(rng: random.Random, document: Document) -> Mutant | None:
    return _one_line(rng, document, "{indent}{key}:\u3000{value}")


@mutator
def full_width_indentation(rng: random.Random, document: Document) -> Mutant | None:
    return _indented(rng, document, lambda width: "\u3000" * (width // 2) + " " * (width % 2))


@mutator
def no_break_space_after_a_colon(rng: random.Random, document: Document) -> Mutant | None:
    return _one_line(rng, document, "{indent}{key}:\u00a0{value}")


@mutator
def no_break_space_in_the_indentation(rng: random.Random, document: Document) -> Mutant | None:
    return _indented(rng, document, lambda width: "\u00a0" * width)


@mutator
def no_break_space_at_the_end(rng: random.Random, document: Document) -> Mutant | None:
    return _one_line(rng, document, "{indent}{key}: {value}\u00a0")


@mutator
def comma_after_the_value(rng: random.Random, document: Document) -> Mutant | None:
    return _one_line(rng, document, "{indent}{key}: {value},")


@mutator
def comma_after_two_values(rng: random.Random, document: Document) -> Mutant | None:
    return _two_lines(rng, document, "{indent}{key}: {value},")


@mutator
def equals_sign_for_a_colon(rng: random.Random, document: Document) -> Mutant | None:
    form = rng.choice(
        ["{indent}{key} = {value}", "{indent}{key}={value}", "{indent}{key}= {value}"]
    )
    return _one_line(rng, document, form)


@mutator
def two_equals_signs_for_colons(rng: random.Random, document: Document) -> Mutant | None:
    return _two_lines(rng, document, "{indent}{key} = {value}")


@mutator
def semicolon_for_a_colon(rng: random.Random, document: Document) -> Mutant | None:
    return _one_line(rng, document, "{indent}{key}; {value}")


@mutator
def colon_in_the_value(rng: random.Random, document: Document) -> Mutant | None:
    chosen = one(
        rng, [(n, m) for n, m in _lines(document) if m["key"] in ("name", "path", "checkpoint")]
    )
    if chosen is None:
        return None
    number, match = chosen
    value = match["value"].rstrip()
    if value[0] in "\"'":
        return None
    wrong = rng.choice([f"model: {value}", f"{value}: final", f"{value}:"])
    line = f"{match['indent']}{match['key']}: {wrong}"
    return _with(document, {number: line})


@mutator
def quote_not_closed(rng: random.Random, document: Document) -> Mutant | None:
    chosen = one(rng, [(n, m) for n, m in _lines(document) if m["value"][0] not in "[{\"'"])
    if chosen is None:
        return None
    number, match = chosen
    quote = rng.choice("\"'")
    value = match["value"].rstrip()
    written = rng.choice([f"{quote}{value}", f"{quote}{value}", f"{value}{quote}"])
    return _with(document, {number: f"{match['indent']}{match['key']}: {written}"})


def _bracketed(document: Document) -> list[Node]:
    lists = [node for node in nodes(document.root) if isinstance(node.value, list)]
    return [node for node in lists if document.text[node.span.start : node.span.start + 1] == "["]


@mutator
def bracket_not_opened(rng: random.Random, document: Document) -> Mutant | None:
    node = one(rng, _bracketed(document))
    if node is None:
        return None
    start = node.span.start
    return Mutant(
        spliced(document, start, start + 1, ""), frozenset({node.span.line}), what="[ missing"
    )


@mutator
def bracket_of_another_kind(rng: random.Random, document: Document) -> Mutant | None:
    """Python's tuple, or Chinese brackets."""
    node = one(rng, [n for n in _bracketed(document) if n.span.line == n.span.end_line])
    if node is None:
        return None
    left, right = rng.choice(["()", "\u3010\u3011", "\uff3b\uff3d"])
    written = left + document.text[node.span.start + 1 : node.span.end - 1] + right
    text = spliced(document, node.span.start, node.span.end, written)
    return Mutant(text, frozenset({node.span.line}), what=written)


@mutator
def blank_missing_after_a_dash(rng: random.Random, document: Document) -> Mutant | None:
    numbers = [n for n, line in enumerate(document.lines, 1) if re.match(r" *- \S", line)]
    number = one(rng, numbers)
    if number is None:
        return None
    line = document.lines[number - 1]
    return _with(document, {number: line.replace("- ", "-", 1)})


@mutator
def dash_of_a_word_processor(rng: random.Random, document: Document) -> Mutant | None:
    numbers = [n for n, line in enumerate(document.lines, 1) if re.match(r" *- \S", line)]
    number = one(rng, numbers)
    if number is None:
        return None
    line = document.lines[number - 1]
    dash = rng.choice("\u2013\u2014\uff0d\u2022")
    return _with(document, {number: line.replace("- ", f"{dash} ", 1)})


@mutator
def comment_of_another_language(rng: random.Random, document: Document) -> Mutant | None:
    choices = [
        place
        for place in places(document)
        if (lines := block_lines(document, place.entry))
        and lines[0] == lines[1]
        and not isinstance(place.entry.node.value, (list, dict))
    ]
    place = one(rng, choices)
    if place is None:
        return None
    number = place.entry.key_span.line
    line = document.lines[number - 1]
    if "#" in line:
        return None
    return _with(
        document, {number: line.rstrip() + rng.choice([" // as measured", "# as measured"])}
    )
