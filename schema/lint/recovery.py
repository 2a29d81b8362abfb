"""From many complaints to the one mistake behind them, and the text with that put right.

A parser notices a broken line where it can go no further, often lines behind the cause; and a
header that is indented wrongly makes every key below it look misplaced. So we try: slips of the pen
put right, then one line after the other, at each nearby indentation, with the colon or the bracket
that it lacks. The change that leaves the fewest mistakes tells what is to blame, and the text that
came of it lets the rest of the file be checked.
"""

from __future__ import annotations

from typing import Any

from vacc_gen.schema.lint.break_off import break_off
from vacc_gen.schema.lint.changes import Change, changes, indent_of, indents, is_bare
from vacc_gen.schema.lint.debris import before_every_line, between_lines, flat
from vacc_gen.schema.lint.document import Document, Problem, Span
from vacc_gen.schema.lint.readable import Repaired
from vacc_gen.schema.lint.reader import MAX_PROBLEMS
from vacc_gen.schema.lint.slips import Slip, mended, slips
from vacc_gen.schema.lint.verdict import Verdict, judge
from vacc_gen.schema.lint.walk import Schema, packaged_schema

REACH_LINES = 6
"""How far before the parser's complaint the cause is looked for."""

MOST_MISTAKES = 3
"""A repair of unreadable text that leaves more than this is a guess too many."""

ROUNDS = 4
"""How many lines are put right by trial."""

BUDGET_CHARACTERS = 1_000_000
"""How much text is read for trials; a published config of 4 kB takes about half of it."""

BUDGET_TRIALS = 500
"""How many texts are tried; a published config takes about a hundred and fifty."""

MOST_TOLD = 12
"""A text with more mistakes than this has more than one cause, or is no config."""

_LIGHT = frozenset(("dash", "colon", "commented", "quotes", "two-keys"))
"""Changes that are believed where they explain a single mistake; the others, two."""

_STAYS = ("bom", "encoding")
"""Problems of the bytes, which no change of the text puts right."""


class _Exhausted(Exception):  # noqa: N818 - no error: ends the trials
    """The budget is spent."""


def recover(document: Document, schema_name: str, found: list[Problem]) -> Repaired | None:
    """Return the text put right, or None where no small change does that.

    What the changes tell replaces the document's problems.

    Args:
        document: what was read; its tree may have been repaired since.
        schema_name: vamc or recipe.
        found: what the structural check said of it.
    """
    syntax = next((one for one in document.problems if one.kind == "syntax"), None)
    if (not document.complete and syntax is None) or not document.text.strip():
        return None
    if syntax is None and not document.suspicious and not found + document.problems:
        return None
    search = _Search(document, packaged_schema(schema_name))
    try:
        repaired = search.run(syntax)
    except _Exhausted:
        repaired = Repaired(None, (), frozenset()) if search.told else None
    if repaired is not None:
        stays = [one for one in document.problems if one.kind in _STAYS]
        document.problems = stays + search.told
    return repaired


class _Search:
    """The text on its way to one that can be read."""

    def __init__(self, document: Document, schema: Schema) -> None:
        self.document = document
        self.schema = schema
        self.lines = [*document.lines]
        self.numbers = [*range(1, len(self.lines) + 1)]
        self.changed: set[int] = set()
        self.shifts: dict[int, int] = {}
        self.told: list[Problem] = []
        self.budget = BUDGET_CHARACTERS
        self.known: dict[str, Verdict] = {}
        self.written = self.lines  # as they were before slips were put right

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def run(self, syntax: Problem | None) -> Repaired | None:
        """Put right what can be; None where that tells no more than the problems themselves."""
        self._drop_debris(syntax is not None)
        at = flat(self.lines, self.schema["properties"])
        if at is not None:
            facts = {"cause": "flat", "problem": "", "slip": ""}
            self.told.append(Problem("slip", self.document.line_span(at), facts))
            return Repaired(None, (), frozenset())
        if syntax is not None:
            self._without_tabs(syntax)
        mends = self._mend()
        cut = break_off(self.document, self.lines, self.numbers, self.schema)
        mended_lines, told = [*self.lines], [*self.told]
        for _ in range(ROUNDS):
            if not self._improve():
                break
        verdict = self._judge(self.text)
        count = MAX_PROBLEMS if verdict.unreadable else len(self.told) + verdict.mistakes
        if cut is not None:
            far = self.document.lines[cut[-1].facts["kept"] : cut[-1].span.line - 1]
            whole_sections = any(not at for _, at in cut[-1].facts["missing"])
            as_good = whole_sections and len(self.told) == len(told)
            readable_else = not verdict.unreadable and any(line.strip() for line in far)
            if len(told) + len(cut) >= count + as_good or readable_else:
                cut = None
        if verdict.unreadable or cut:
            self.lines, self.told = mended_lines, told
            self.numbers = [*range(1, len(self.lines) + 1)]
        self._tell(mends)
        if cut:
            self.told += cut
        elif self.told and verdict.unreadable and len(self.told) < MAX_PROBLEMS:
            self.told += judge(self.text, self.schema)[1][-1:]
        if not self.told:
            return None
        if verdict.unreadable or cut:
            return Repaired(None, (), frozenset())
        return Repaired(self.text, tuple(self.numbers), frozenset(self.changed), self.shifts)

    def _judge(self, text: str) -> Verdict:
        if text not in self.known:
            self.budget -= len(text)
            if self.budget < 0 or len(self.known) > BUDGET_TRIALS:
                raise _Exhausted
            self.known[text] = judge(text, self.schema)[0]
        return self.known[text]

    # Slips --------------------------------------------------------------------------------------

    def _mend(self) -> dict[int, list[Slip]]:
        """Put the slips of lines right where that makes nothing worse, and return them by line."""
        mends: dict[int, list[Slip]] = {}
        if not self.document.suspicious:
            return mends
        self.written = [*self.lines]
        for slip in slips(self.text):
            mends.setdefault(slip.line, []).append(slip)
        before = self._judge(self.text)
        for run in _runs(sorted(mends)):
            written = {line: self.lines[line - 1] for line in run}
            for line in run:
                self.lines[line - 1] = mended(written[line], mends[line])
            after = self._judge(self.text)
            if after > before:
                for line in run:
                    self.lines[line - 1] = written[line]
                    del mends[line]
            else:
                before = after
        return mends

    def _tell(self, mends: dict[int, list[Slip]]) -> None:
        """Tell the slips without which the text is worse, in terms of YAML where it is unreadable.

        A slip in a value is told where it makes no difference to YAML, too.
        """
        self.told = [one for one in self.told if one.kind == "tab" or one.span.line not in mends]
        for line, found in sorted(mends.items()):
            at, right = self.numbers.index(line), self.lines
            with_it = self._judge(self.text)
            self.lines = [*right]
            self.lines[at] = self.written[line - 1]
            without = self._judge(self.text)
            in_value = any(slip.in_value for slip in found)
            if with_it < without or (with_it == without and in_value):
                self.lines = right
                self.changed.add(line)
                self.told.append(self._slip(line, found, without.unreadable))

    def _slip(self, line: int, found: list[Slip], unreadable: bool) -> Problem:
        slip, written = found[0], self.written[line - 1]
        start = self.document.line_start(line)
        as_it_is = written == self.document.lines[line - 1]  # else it had a tab
        whole = slip.kind in ("blank-after-colon", "colon", "prose")
        own = indent_of(written) if whole else slip.start
        end = len(written.rstrip()) if whole else max(slip.end, slip.start + 1)
        facts = {
            "cause": slip.kind,
            "slip": written[slip.start : slip.end],
            "right": mended(written, found).strip(),
            "edits": [(start + one.start, start + one.end, one.text) for one in found if as_it_is],
            "problem": "",
        }
        span = self.document.span_at(start + own, min(start + end, start + len(written)))
        span = span if as_it_is else self.document.line_span(line)
        return Problem("syntax" if unreadable else "slip", span, facts)

    # Trials -------------------------------------------------------------------------------------

    def _improve(self) -> bool:
        """Make the change that leaves the fewest mistakes, and tell it; whether there is one."""
        before = self._judge(self.text)
        found = judge(self.text, self.schema)[1]
        if not before.unreadable and not 1 <= before.mistakes <= MOST_TOLD:
            return False
        tried = []
        for change in self._guesses(before, found):
            try:
                verdict = self._judge(self._with(change))
            except _Exhausted:
                break
            guessed = verdict.unreadable and change.kind == "closing" and change.cost > 0
            if verdict < before and not guessed:
                tried.append((verdict, change.odd, change.cost, -change.first, change))
        if not tried:
            return False
        verdict, _, _, _, change = min(tried)
        if not before.unreadable:
            needed = 1 if change.kind in _LIGHT else 2
            if before.mistakes - verdict.mistakes < needed:
                return False
        elif not verdict.unreadable and verdict.mistakes > MOST_MISTAKES:
            return False
        self._tell_change(change, found, before)
        self._take(change)
        return True

    def _guesses(self, before: Verdict, found: list[Problem]) -> list[Change]:
        last = len(self.lines) - 1
        if before.unreadable and found:
            syntax = found[-1]
            end = min(syntax.span.line - 1, last)
            opened = syntax.facts.get("context_line")
            opened = min(opened - 1, last) if opened else end
            numbers = {*range(max(0, end - REACH_LINES), end + 1), opened}
            numbers |= set(_above(self.lines, end))
            headers = {key for key in self.schema["required"] if not self._has_header(key)}
            made = changes(self.lines, sorted(numbers), opened, sorted(headers))
            return sorted(made, key=lambda change: (-change.first, change.cost))
        told = {min(one.span.line - 1, last) for one in found}
        twice = {one.span.line - 1 for one in found if one.kind == "duplicate-key"}
        numbers = told | {max(0, number - 1) for number in told}
        numbers |= {n for n, line in enumerate(self.lines) if line.lstrip().startswith("#")}
        return [
            change
            for change in changes(self.lines, sorted(numbers), None, sorted(_absent(found)))
            if change.kind not in ("closing", "quotes")
            and (change.kind != "dash" or change.first in twice)
        ]

    def _has_header(self, key: str) -> bool:
        return any(line.startswith(f"{key}:") for line in self.lines)

    def _with(self, change: Change) -> str:
        return "\n".join([*self.lines[: change.first], *change.lines, *self.lines[change.end :]])

    def _take(self, change: Change) -> None:
        number = self.numbers[min(change.first, len(self.numbers) - 1)]
        old = self.numbers[change.first : change.end] or [number]
        numbers = [old[min(at, len(old) - 1)] for at in range(len(change.lines))]
        self.lines[change.first : change.end] = change.lines
        self.numbers[change.first : change.end] = numbers
        self.changed |= set(numbers) if change.first < change.end else set()

    def _tell_change(self, change: Change, found: list[Problem], before: Verdict) -> None:
        at = change.first - 1 if change.kind == "body" else change.first
        number = self.numbers[min(at, len(self.numbers) - 1)]
        facts: dict[str, Any] = {**found[-1].facts} if before.unreadable else {}
        facts |= {
            "cause": change.kind,
            "right": change.lines[0].strip(),
            "indent": indent_of(change.lines[0]),
            "line": number,
            "end_line": self.numbers[min(change.end, len(self.numbers)) - 1],
            "edits": [
                (start, start + len(line), right)
                for n, line, right in zip(
                    self.numbers[change.first : change.end],
                    self.lines[change.first : change.end],
                    change.lines,
                    strict=False,
                )
                if line == self.document.lines[n - 1]
                for start in [self.document.line_start(n)]
            ],
        }
        facts.setdefault("problem", "")
        kind = "syntax" if before.unreadable and change.kind not in _NAMED else "layout"
        self.told.append(Problem(kind, self.document.line_span(number), facts))

    # Debris and tabs ------------------------------------------------------------------

    def _drop_debris(self, unreadable: bool) -> None:
        """Take off what stands before every line, and empty the lines that tools left."""
        before = before_every_line(self.lines)
        for one in [before] if before else between_lines(self.lines) if unreadable else []:
            starts = [(self.document.line_start(number), width) for number, width in one.cuts]
            for number, width in one.cuts:
                if width == len(self.lines[number - 1]):
                    self.changed.add(number)
                self.lines[number - 1] = self.lines[number - 1][width:]
            facts: dict[str, Any] = {"cause": one.cause, "problem": "", "slip": one.slip}
            if before:
                self.shifts = dict(one.cuts)
                facts["edits"] = [(start, start + width, "") for start, width in starts]
            self.told.append(Problem("syntax", self.document.line_span(one.line), facts))

    def _without_tabs(self, syntax: Problem) -> None:
        """Tell each tab in the indentation as a mistake of its own, and put blanks in its place."""
        lines = [*self.lines]
        numbers = [number for number, line in enumerate(lines, 1) if _tab(line)]
        for number in numbers:
            lines[number - 1] = lines[number - 1].expandtabs(2)
        if not numbers or (
            self._judge("\n".join(lines)).unreadable and numbers[0] > syntax.span.line
        ):
            return  # the tabs are behind the error, and not its cause
        for number in numbers:
            bare = lines[number - 1].lstrip(" ")
            near = [indent_of(lines[number - 1]), *indents(lines, number - 1)]
            texts = {
                indent: "\n".join([*lines[: number - 1], " " * indent + bare, *lines[number:]])
                for indent in near
            }
            try:
                best = min(texts, key=lambda indent: self._judge(texts[indent]))
            except _Exhausted:
                break
            lines[number - 1] = " " * best + bare
        self.lines = lines
        self.changed |= set(numbers)
        for told, number in enumerate(numbers):
            start, line = self.document.line_start(number), self.document.lines[number - 1]
            width = len(line) - len(line.lstrip(" \t"))
            span = Span(number, 1, number, width + 1, start, start + width)
            if told == MAX_PROBLEMS:
                self.told.append(Problem("too-many-problems", span, {"limit": MAX_PROBLEMS}))
                break
            blanks = " " * indent_of(self.lines[number - 1])
            self.told.append(Problem("tab", span, {"blanks": blanks}))


_NAMED = frozenset(("commented", "header", "body", "dash"))


def _runs(numbers: list[int]) -> list[list[int]]:
    """Return numbers in runs without a gap."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs


def _above(lines: list[str], number: int) -> list[int]:
    """Return the lines (from 0) that one stands below, by their indentation."""
    above: list[int] = []
    indent = indent_of(lines[number])
    for at in range(number - 1, -1, -1):
        if not is_bare(lines[at]) and indent_of(lines[at]) < indent:
            above.append(at)
            indent = indent_of(lines[at])
    return above


def _absent(found: list[Problem]) -> set[str]:
    """Return the sections that keys without one belong to."""
    absent = set()
    for one in found:
        other = one.facts.get("suggestion")
        if other is not None and other.moved and other.schema is None and other.section:
            absent.add(str(other.section[-1]))
        if one.kind == "missing-key" and not one.facts["parent"]:
            absent.add(str(one.facts["key"]))
    return absent


def _tab(line: str) -> bool:
    return "\t" in line[: len(line) - len(line.lstrip(" \t"))]
