"""After a syntax error: which line is to blame, and the text with that line put right.

A parser notices a broken line where it can go no further, often lines behind the cause. So we
try: each nearby line, at each nearby indentation, with the colon or the bracket that it lacks. The
change that leaves the fewest mistakes tells the line to blame, and the text that came of it lets
the rest of the file be checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from vacc_gen.schema import structure
from vacc_gen.schema.document import Document, Problem, Span, load
from vacc_gen.schema.reader import MAX_PROBLEMS
from vacc_gen.schema.walk import Schema, packaged_schema

REACH_LINES = 6
"""How far before the parser's complaint the cause is looked for."""

MOST_MISTAKES = 3
"""A repair that leaves more than this is a guess too many."""

BUDGET_CHARACTERS = 1_000_000
"""How much text is read for trials; a published config of 4 kB takes about half of it."""

MISSING_BLANK = re.compile(r"^(\s*(?:- )?[\w.-]+)(?::(?=\S)|\uff1a\s*)")
"""A key whose colon has no blank behind it, `tp:4`, or is a full-width one."""


class Repaired(NamedTuple):
    """A text that can be read, and the lines (from 1) that were changed."""

    text: str
    lines: frozenset[int]


class _Change(NamedTuple):
    """A line put right, and what was wrong with it."""

    line: int
    text: str
    kind: str
    cost: int


def recover(document: Document, schema_name: str) -> Repaired | None:
    """Return the text put right, or None where no small change does that.

    The document's syntax problem is moved to the line that is to blame.
    """
    problem = next((one for one in document.problems if one.kind == "syntax"), None)
    if problem is None:
        return None
    schema = packaged_schema(schema_name)
    if any(_tab(line) for line in document.lines):
        return _without_tabs(document, problem, schema)
    tried = sorted(_changes(document, problem), key=lambda change: (-change.line, change.cost))
    tried = tried[: BUDGET_CHARACTERS // max(1, len(document.text))]
    changes = sorted(
        (
            _mistakes(_with(document.lines, change.line, change.text), schema),
            _unusual(document, change),
            change,
        )
        for change in tried
    )
    if not changes or changes[0][0] > MOST_MISTAKES:
        return None
    change = changes[0][2]
    blamed = Problem(
        "syntax", _line_span(document, change.line), {**problem.facts, "cause": change.kind}
    )
    document.problems[document.problems.index(problem)] = blamed
    return Repaired(_with(document.lines, change.line, change.text), frozenset({change.line}))


def _changes(document: Document, problem: Problem) -> Iterator[_Change]:
    """Yield changes of single lines that may be what was meant."""
    lines = document.lines
    end = min(problem.span.line, len(lines))
    context = problem.facts.get("context_line") or end
    numbers = {*range(max(1, end - REACH_LINES), end + 1), min(context, len(lines))}
    for number in sorted(numbers):
        line = lines[number - 1]
        bare = line.strip()
        if not bare or bare.startswith("#"):
            continue
        for indent in _indents(lines, number):
            moved = " " * indent + line.lstrip(" ")
            yield _Change(number, moved, "indentation", abs(indent - _indent(line)))
        if re.match(r"^\s*(- )?[\w.-]+(\s|$)", line):
            yield _Change(
                number, re.sub(r"^(\s*(?:- )?[\w.-]+)", r"\1:", line, count=1), "colon", 1
            )
        if MISSING_BLANK.match(line):
            yield _Change(number, MISSING_BLANK.sub(r"\1: ", line), "blank", 0)
        for bracket in "]}\"'":
            opened_here = number == problem.facts.get("context_line")
            yield _Change(number, line.rstrip() + bracket, "closing", 0 if opened_here else 1)


def _mistakes(text: str, schema: Schema) -> int:
    """Count what is wrong with a text: one that cannot be read has more mistakes than any."""
    document = load(text)
    if not document.complete or document.root is None:
        return 1000
    return len(document.problems) + len(structure.check(document, schema))


def _unusual(document: Document, change: _Change) -> tuple[int, int, int]:
    """Return how usual the line was before, for ties: an odd one out is the likelier cause."""
    own = _indent(document.lines[change.line - 1])
    alike = sum(_indent(line) == own for line in document.lines if line.strip())
    return alike if change.kind == "indentation" else 1, change.cost, -change.line


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _indents(lines: list[str], number: int) -> list[int]:
    """Return the indentations of the lines around one, other than its own."""
    around = lines[max(0, number - 8) : number - 1] + lines[number : number + 8]
    near = {_indent(line) for line in around if line.strip()} | {0}
    near |= {indent + 2 for indent in near}
    return sorted(near - {_indent(lines[number - 1])})


def _with(lines: list[str], number: int, line: str) -> str:
    return "\n".join([*lines[: number - 1], line, *lines[number:]])


def _line_span(document: Document, number: int) -> Span:
    """Return the span of a line without its indentation."""
    line = document.lines[number - 1]
    start, bare = document.line_start(number), line.strip(" \t")
    own = len(line) - len(line.lstrip(" \t"))
    return Span(number, own + 1, number, own + 1 + len(bare), start + own, start + own + len(bare))


def _tab(line: str) -> bool:
    return "\t" in line[: len(line) - len(line.lstrip(" \t"))]


def _without_tabs(document: Document, problem: Problem, schema: Schema) -> Repaired | None:
    """Tell each tab in the indentation as a mistake of its own, and put blanks in its place."""
    lines = [*document.lines]
    numbers = [number for number, line in enumerate(lines, 1) if _tab(line)]
    for number in numbers:
        lines[number - 1] = lines[number - 1].expandtabs(2)
    budget = BUDGET_CHARACTERS
    for number in numbers:
        bare = lines[number - 1].lstrip(" ")
        indents = [_indent(lines[number - 1]), *_indents(lines, number)]
        budget -= len(indents) * len(document.text)
        if budget < 0:
            break
        texts = {indent: _with(lines, number, " " * indent + bare) for indent in indents}
        best = min(texts, key=lambda indent: _mistakes(texts[indent], schema))
        lines[number - 1] = " " * best + bare
    text = "\n".join(lines)
    if not load(text).complete and numbers[0] > problem.span.line:
        return None  # the tabs are behind the error, and not its cause
    document.problems.remove(problem)
    for told, number in enumerate(numbers):
        start, line = document.line_start(number), document.lines[number - 1]
        width = len(line) - len(line.lstrip(" \t"))
        span = Span(number, 1, number, width + 1, start, start + width)
        if told == MAX_PROBLEMS:
            document.problems.append(Problem("too-many-problems", span, {"limit": MAX_PROBLEMS}))
            break
        document.problems.append(Problem("tab", span, {"blanks": " " * _indent(lines[number - 1])}))
    return Repaired(text, frozenset(numbers))
