"""Changes that leave the meaning as it is, of which nothing is to be said."""

from __future__ import annotations

import random
import re

from mutators.base import HARMLESS, block_lines, harmless, one, places
from vacc_gen.schema.lint.document import Document

__all__ = ["HARMLESS"]


@harmless
def windows_line_ends(rng: random.Random, document: Document) -> str:
    return document.text.replace("\r\n", "\n").replace("\n", "\r\n")


@harmless
def mixed_line_ends(rng: random.Random, document: Document) -> str:
    lines = document.text.replace("\r\n", "\n").split("\n")
    return "".join(line + rng.choice(["\n", "\r\n"]) for line in lines[:-1]) + lines[-1]


@harmless
def chinese_comment(rng: random.Random, document: Document) -> str:
    lines = [*document.lines]
    at = rng.randrange(len(lines) + 1)
    lines.insert(at, "# \u6ce8\u610f\uff1atp\uff1a4\uff0c\u201cvacc\u201d\u3000\u3002")
    return "\n".join(lines)


@harmless
def key_commented_out(rng: random.Random, document: Document) -> str:
    """A line that says `#key: value` beside one that holds."""
    rows = [n for n, line in enumerate(document.lines) if re.match(r" *[\w-]+: \S", line)]
    number = one(rng, rows) or 0
    lines = [*document.lines]
    lines.insert(number, "#" + lines[number])
    return "\n".join(lines)


@harmless
def trailing_blanks(rng: random.Random, document: Document) -> str:
    return "\n".join(line + " " * rng.randrange(3) for line in document.lines)


@harmless
def no_final_newline(rng: random.Random, document: Document) -> str:
    return document.text.rstrip("\n")


@harmless
def quoted_value(rng: random.Random, document: Document) -> str:
    place = one(rng, [p for p in places(document) if isinstance(p.entry.node.value, str)])
    span = place.entry.node.span
    return document.text[: span.start] + f'"{place.entry.node.value}"' + document.text[span.end :]


@harmless
def sections_in_another_order(rng: random.Random, document: Document) -> str:
    tops = [p for p in places(document) if len(p.path) == 1]
    blocks = [block_lines(document, place.entry) for place in tops]
    if any(block is None for block in blocks):
        return document.text
    spans = [block for block in blocks if block]
    rng.shuffle(spans)
    return "\n".join(line for first, last in spans for line in document.lines[first - 1 : last])
