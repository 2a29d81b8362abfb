"""After a syntax error: which line is to blame, and the text with that line put right.

A parser notices a broken indentation where it can go no further, often lines after the cause. So we
try: each nearby line at each nearby indentation. The change that leaves the fewest mistakes tells the
line to blame, and the text that came of it lets the rest of the file be checked.
"""

from __future__ import annotations

from typing import NamedTuple

from vacc_gen.schema import structure
from vacc_gen.schema.document import Document, Problem, load
from vacc_gen.schema.rules.text import tab_problem

REACH_LINES = 6
"""How far before the parser's complaint the cause is looked for."""


class Repaired(NamedTuple):
    """A text that can be read, and the line (from 1) that was changed."""

    text: str
    line: int


def recover(document: Document) -> Repaired | None:
    """Return the text with one line's indentation put right, or None where that does not help.

    The document's syntax problem is moved to the line that is to blame.
    """
    problem = next((one for one in document.problems if one.kind == "syntax"), None)
    if problem is None:
        return None
    lines = document.lines
    line = min(problem.span.line, len(lines))
    if any("\t" in text[: len(text) - len(text.lstrip())] for text in lines):
        return _without_tabs(document, problem)
    best: tuple[tuple[int, int, int], Repaired, Problem] | None = None
    for number in range(max(1, line - REACH_LINES), line + 1):
        for indent in _indents(lines, number):
            changed = [*lines]
            changed[number - 1] = " " * indent + lines[number - 1].lstrip(" ")
            text = "\n".join(changed)
            again = load(text)
            if again.problems:
                continue
            mistakes = len(structure.check(again, structure.packaged_schema("vamc")))
            shift = abs(indent - _indent(lines[number - 1]))
            score = (mistakes, shift, line - number)
            if best is None or score < best[0]:
                best = (score, Repaired(text, number), _blame(document, problem, number, indent))
    if best is None or best[0][0] > 3:
        return None
    document.problems[document.problems.index(problem)] = best[2]
    return best[1]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _indents(lines: list[str], number: int) -> list[int]:
    """Return the indentations of the lines around one, other than its own."""
    own = lines[number - 1]
    if not own.strip() or own.lstrip().startswith("#"):
        return []
    around = lines[max(0, number - 5) : number - 1] + lines[number : number + 4]
    near = {_indent(line) for line in around if line.strip()}
    near |= {indent + 2 for indent in near}
    return sorted(near - {_indent(own)})


def _blame(document: Document, problem: Problem, number: int, indent: int) -> Problem:
    text = document.lines[number - 1]
    start = sum(len(line) + 1 for line in document.lines[: number - 1])
    if "\r\n" in document.text:
        start += number - 1
    own = _indent(text)
    span = problem.span._replace(
        line=number,
        column=own + 1,
        end_line=number,
        end_column=len(text.rstrip()) + 1,
        start=start + own,
        end=start + len(text.rstrip()),
    )
    return Problem("syntax", span, {**problem.facts, "indent": own, "meant": indent})


def _without_tabs(document: Document, problem: Problem) -> Repaired | None:
    """Tell each tab in the indentation as the cause, and put blanks in its place."""
    lines = [*document.lines]
    found: list[Problem] = []
    start = 0
    for number, text in enumerate(lines, 1):
        span = problem.span._replace(line=number, column=1, start=start)
        tab = tab_problem(Problem("syntax", span, {}), text, lines[: number - 1])
        if tab is not None:
            found.append(tab)
            lines[number - 1] = tab.facts["blanks"] + text.lstrip(" \t")
        start += len(text) + (2 if "\r\n" in document.text else 1)
    again = load("\n".join(lines))
    if any(one.kind == "syntax" for one in again.problems) and again.problems[0].span.line != (
        problem.span.line
    ):
        return None
    document.problems.remove(problem)
    document.problems += found
    first = found[0].span.line
    return Repaired("\n".join(lines), first) if not again.problems else None
