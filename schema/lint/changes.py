"""Changes of one line, or one block, that may be what was meant: the guesses of `recovery`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

REACH_LINES = 8
"""How far around a line its neighbours' indentation is looked at."""

_HEADER = re.compile(r"^ *(?:- )?[\w.-]+:\s*(?:#.*)?$")
_COMMENTED = re.compile(r"^( *)#(\s*)((?:- )?[\w.-]+:(?:\s.*)?)$")
_BARE_KEY = re.compile(r"^( *(?:- )?[\w.-]+)(?=\s|$)")
_NO_KEY = re.compile(
    r"""^(?! *(?:- )?["']?[\w.-]+["']?\s*[:=\uff1a](?:\s|$))"""
    r"""(?! *[\[\]{}"'-]| +[\w.-]+ *$)[^:]*(?::\S[^:]*)*$"""
)
"""A line that is neither a key, nor an item, nor part of a list in brackets."""
_VALUE = re.compile(r"^(?P<before> *(?:- )?[\w.-]+: +)(?P<value>[^\s\[{#|>][^#]*)$")
_ITEM_KEY = re.compile(r"^( *)  ([\w.-]+:(?:\s.*)?)$")


class Change(NamedTuple):
    """Lines put right: those from `first` up to `end` (from 0) become `lines`."""

    first: int
    end: int
    lines: tuple[str, ...]
    kind: str
    odd: int  # how usual the lines were before: of two guesses as good, the odd one is taken
    cost: int


def indent_of(line: str) -> int:
    """Return the number of blanks at the head of a line."""
    return len(line) - len(line.lstrip(" "))


def is_bare(line: str) -> bool:
    """Whether a line has nothing but blanks or a comment."""
    return not line.strip() or line.lstrip().startswith("#")


def changes(
    lines: list[str], numbers: Iterable[int], opened: int | None, headers: Iterable[str] = ()
) -> Iterator[Change]:
    """Yield what may be meant by the lines at `numbers` (from 0).

    Args:
        lines: the text.
        numbers: which of them to look at.
        opened: the line in which the parser saw a bracket, a quote or a key begin, if any.
        headers: sections that the text lacks, by their key.
    """
    for number in numbers:
        line = lines[number]
        if is_bare(line):
            yield from _uncommented(lines, number)
            continue
        yield from _indented(lines, number)
        yield from _punctuated(lines, number, opened)
        yield from _block(lines, number)
        if _NO_KEY.match(line):
            commented = " " * indent_of(line) + "# " + line.lstrip(" ")
            yield _one(number, commented, "prose", len(lines), 0)
        for key in headers:
            if indent_of(line) >= 2:
                written = " " * (indent_of(line) - 2) + key + ":"
                yield Change(number, number, (written,), "header", 2, 0)


def indents(lines: list[str], number: int) -> list[int]:
    """Return the indentations of the lines around one, other than its own."""
    around = lines[max(0, number - REACH_LINES) : number]
    around += lines[number + 1 : number + 1 + REACH_LINES]
    near = {indent_of(line) for line in around if line.strip()} | {0}
    near |= {indent + 2 for indent in near}
    return sorted(near - {indent_of(lines[number])})


def _one(number: int, line: str, kind: str, odd: int, cost: int) -> Change:
    return Change(number, number + 1, (line,), kind, odd, cost)


def _uncommented(lines: list[str], number: int) -> Iterator[Change]:
    found = _COMMENTED.match(lines[number])
    if found is None:
        return
    before, blanks, code = found.groups()
    widths = {len(before), len(before) + len(blanks), len(before) + 1 + len(blanks)}
    for width in sorted(widths):
        yield _one(number, " " * width + code, "commented", 0, width)


def _indented(lines: list[str], number: int) -> Iterator[Change]:
    own = indent_of(lines[number])
    alike = sum(indent_of(line) == own for line in lines if line.strip())
    due = _due(lines, number)
    for indent in indents(lines, number):
        moved = " " * indent + lines[number].lstrip(" ")
        odd = 0 if indent == due else len(lines) if own == due else alike
        yield _one(number, moved, "indentation", odd, abs(indent - own))


def _due(lines: list[str], number: int) -> int | None:
    """Return the indentation of a line below its header; None where it stands below none."""
    above = next((line for line in reversed(lines[:number]) if not is_bare(line)), "")
    if not _HEADER.match(above) or lines[number].lstrip().startswith("- "):
        return None
    return indent_of(above) + 2


def _punctuated(lines: list[str], number: int, opened: int | None) -> Iterator[Change]:
    line = lines[number]
    if _BARE_KEY.match(line) and not line.lstrip().startswith("- -"):
        yield _one(number, _BARE_KEY.sub(r"\1:", line, count=1), "colon", 1, 1)
    for bracket in "]}\"'":
        yield _one(number, line.rstrip() + bracket, "closing", 1, 0 if number == opened else 1)
    item = _ITEM_KEY.match(line)
    if item:
        yield _one(number, f"{item[1]}- {item[2]}", "dash", 1, 0)
    value = _VALUE.match(line)
    if value:
        yield from _quoted(number, value["before"], value["value"].rstrip())


def _quoted(number: int, before: str, value: str) -> Iterator[Change]:
    """Yield a value in quotes, and one that holds the next key on a line of its own."""
    pair = re.match(r"^([^\s:]+?),? +([\w-]+:(?: .*)?)$", value)
    if pair:
        following = " " * len(before[: len(before) - len(before.lstrip(" -"))]) + pair[2]
        yield Change(number, number + 1, (before + pair[1], following), "two-keys", 0, 0)
    bare = value[1:-1] if len(value) > 1 and value[0] == value[-1] in "\"'" else value
    if re.search(r"^[@`%*&!\"']|:(\s|$)|\\|'", bare):
        quote = "'" if "\\" in bare or '"' in bare else '"'
        if quote not in bare and not re.search(r"[\[{]", bare):
            yield _one(number, f"{before}{quote}{bare}{quote}", "quotes", 0, 0)


def _block(lines: list[str], number: int) -> Iterator[Change]:
    """Yield the lines under a header that has none, indented further."""
    if not _HEADER.match(lines[number]):
        return
    own, first = indent_of(lines[number]), number + 1
    if first == len(lines) or is_bare(lines[first]) or indent_of(lines[first]) != own:
        return
    end = first
    while end < len(lines) and (is_bare(lines[end]) or indent_of(lines[end]) >= own):
        end += 1
    for stop in range(first + 1, min(end, first + 40) + 1):
        moved = tuple("  " + line if line.strip() else line for line in lines[first:stop])
        yield Change(first, stop, moved, "body", 1, stop - first)
