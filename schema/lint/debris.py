"""What tools leave in a text that is copied from them: a merge's markers, fences, line numbers.

Whole lines of it are emptied and keep their numbers, so that what is told further down stays at its
place; what stands before every line is taken off.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from itertools import pairwise
from typing import NamedTuple

_CONFLICT = re.compile(r"^(<{7}|\|{7}|={7}|>{7})( |$)")
_FENCE = re.compile(r"^\s*(`{3}|~{3})")
_NUMBERED = re.compile(r"^(?P<number>\s*L?\d+)(?P<mark>[ \t]*[:.|)]?[ \t]*)")
_QUOTED = re.compile(r"^(?:> ?|\| ?|\+(?! )|// ?|\* )")
_PATCH_HEAD = re.compile(r"^(diff |index |--- |\+\+\+ |@@ )")
_PATCH_LINE = re.compile(r"^[ +-]")

LEAST_LINES = 4
"""A mark before every line is no accident in a text of so many."""


_SECTION = re.compile(r"^(\w+):\s*(#.*)?$")


class Debris(NamedTuple):
    """Lines that were left behind, and the text without them."""

    cause: str  # conflict, fence, numbered, quoted or patch
    line: int  # the first of them, from 1
    slip: str
    cuts: tuple[tuple[int, int], ...]  # line (from 1) and how many characters go at its head


def before_every_line(lines: list[str]) -> Debris | None:
    """Return what stands before every line: line numbers, a quote's `>`, a patch's `+`."""
    filled = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if len(filled) < LEAST_LINES:
        return None
    return _numbered(filled) or _quoted(filled) or _patch(filled)


def _numbered(filled: list[tuple[int, str]]) -> Debris | None:
    found = [_NUMBERED.match(line) for _, line in filled]
    if any(one is None for one in found):
        return None
    matches = [one for one in found if one is not None]
    numbers = [int(one["number"].strip().lstrip("L")) for one in matches]
    if any(later <= earlier for earlier, later in pairwise(numbers)):
        return None
    whole = [one["mark"] for one in matches if one.end() < len(one.string)]
    mark = min(whole, key=len, default="")
    if not mark or any(not one.startswith(mark) for one in whole):
        return None
    cuts = [
        (number, min(match.end("number") + len(mark), len(line)))
        for (number, line), match in zip(filled, matches, strict=True)
    ]
    return Debris("numbered", filled[0][0], matches[0].group(), tuple(cuts))


def _quoted(filled: list[tuple[int, str]]) -> Debris | None:
    found = _QUOTED.match(filled[0][1])
    mark = found.group() if found else ""
    if not mark or any(not line.startswith(mark.rstrip()) for _, line in filled):
        return None
    cuts = [(number, len(mark) if line.startswith(mark) else len(line)) for number, line in filled]
    return Debris("quoted", filled[0][0], mark.strip(), tuple(cuts))


def _patch(filled: list[tuple[int, str]]) -> Debris | None:
    """Return a patch's marks: each line has a sign or a blank at its head, and `-` lines go."""
    lines = [one for one in filled if not _PATCH_HEAD.match(one[1])]
    signs = {line[0] for _, line in lines}
    if "+" not in signs or not all(_PATCH_LINE.match(line) for _, line in lines):
        return None
    kept = {number for number, line in lines if line[0] != "-"}
    cuts = [(number, 1 if number in kept else len(line)) for number, line in filled]
    return Debris("patch", filled[0][0], filled[0][1][:1], tuple(cuts))


def between_lines(lines: list[str]) -> list[Debris]:
    """Return what a merge and what Markdown left, as whole lines; of two versions, ours stays."""
    found: dict[str, list[int]] = {}
    theirs = False
    last_end = max((at for at, line in enumerate(lines) if line.startswith(">>>>>>>")), default=-1)
    for at, line in enumerate(lines):
        conflict = _CONFLICT.match(line)
        if conflict:
            theirs = line[0] in "|=" and at < last_end
        if conflict or theirs:
            found.setdefault("conflict", []).append(at + 1)
        elif _FENCE.match(line):
            found.setdefault("fence", []).append(at + 1)
    return [
        Debris(
            cause,
            numbers[0],
            lines[numbers[0] - 1],
            tuple((number, len(lines[number - 1])) for number in numbers),
        )
        for cause, numbers in found.items()
    ]


def flat(lines: list[str], top_level: Collection[str]) -> int | None:
    """Return the first section's line (from 1) where the whole indentation is lost, else None.

    Args:
        lines: the text.
        top_level: keys that belong there.
    """
    filled = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    bare = [(number, line) for number, line in filled if not line.lstrip().startswith("#")]
    if any(line[0] in " \t{" for _, line in bare):
        return None
    found = [
        number
        for (number, line), (_, below) in pairwise(bare)
        if _SECTION.match(line) and _key(line) in top_level and _key(below) not in top_level
    ]
    return found[0] if len(found) > 1 else None


def _key(line: str) -> str:
    return line.split(":", 1)[0].strip()
