"""One screen of the wizard: the open question, what stands in its field or list, what it means."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from vacc_gen.generator.new.draft import Draft
from vacc_gen.generator.new.interview import Interview
from vacc_gen.generator.new.memory import plan_target, target_lines
from vacc_gen.generator.new.question import Option
from vacc_gen.generator.new.recognition import AmbiguousModelError, listed
from vacc_gen.schema.errors import UsageError, VaccGenError

SEARCHED_FROM = 20
"""Lists of this many options or more are searched by typing."""

SHOWN_PATHS = 200
"""Paths that are offered at once; a folder may hold more than anyone would step through."""


@dataclass(frozen=True)
class Meaning:
    """What an answer comes to: a draft, or an error."""

    draft: Draft | None = None
    error: VaccGenError | None = None


class Page:
    """The open question of an interview.

    Typed answers stand in `text`; in lists `text` is the search, and `cursor` the row that Enter
    takes. The arrow keys put what is offered into a field, which leaves what is offered as it is.
    """

    def __init__(self, interview: Interview) -> None:
        question = interview.question
        assert question is not None, "the summary is no page"
        self.question = question
        self._interview = interview
        self._meanings: dict[str, Meaning] = {}
        suggestion = interview.suggestion()
        self._options = tuple(question.options(interview.draft))
        if question.kind == "one" and suggestion not in (one.value for one in self._options):
            self._options = (Option(suggestion, "as given"), *self._options)
        self.text = suggestion if self.is_typed else ""
        self.taken = set(suggestion.split()) if question.kind == "several" else set()
        self._typed = self.text
        self._sought = ""
        self.cursor = self._row_of(suggestion)

    @property
    def help(self) -> str:
        """What is said of the question, by what was answered before."""
        return f"{self.question.help} {self.question.advice(self._interview.draft)}".rstrip()

    @property
    def is_typed(self) -> bool:
        """Whether the answer itself stands in a field."""
        return self.question.kind in ("number", "file", "folder")

    @property
    def is_searched(self) -> bool:
        """Whether the field narrows a list."""
        return self.question.kind == "one" and len(self._options) >= SEARCHED_FROM

    @property
    def rows(self) -> Sequence[Option]:
        """What is offered, by what was typed."""
        if self.question.kind in ("file", "folder"):
            return matching_paths(self._typed, folders=self.question.kind == "folder")
        if not self.is_searched or not self.text:
            return self._options
        words = self.text.casefold().split()
        found = [option for option in self._options if _has_words(option, words)]
        # A model that is only likened to the one that was meant comes after it.
        return sorted(found, key=lambda option: not _holds(option.value, words))

    @property
    def value(self) -> str:
        """The answer as it stands."""
        if self.is_typed:
            return self.text.strip()
        if self.question.kind == "several":
            return " ".join(one.value for one in self._options if one.value in self.taken)
        rows = self.rows
        return rows[self.cursor].value if rows else ""

    @property
    def meaning(self) -> Meaning:
        """What the answer comes to as it stands."""
        value = self.value
        if value not in self._meanings:
            self._meanings = {value: self._try(value)}
        return self._meanings[value]

    def type(self, text: str) -> None:
        """Take what was typed into the field."""
        if text == self.text:
            return
        self.text = self._typed = text
        self.cursor = self._row_of(text) if self.is_typed else 0

    def step(self, rows: int) -> None:
        """Go up or down in what is offered, and put it into the field of a typed answer."""
        offered = self.rows
        self._sought = ""
        if not offered:
            return
        if self.question.kind == "number":
            self.cursor = self._row_beside(rows)
        else:
            self.cursor = min(max(self.cursor + rows, 0), len(offered) - 1)
        if self.is_typed:
            self.text = offered[self.cursor].value

    def seek(self, letter: str) -> None:
        """Go to the first option that begins with the letters sought since the last step.

        Where none does, the letter begins anew; where none begins with it, nothing moves.
        """
        for sought in (self._sought + letter, letter):
            for row, option in enumerate(self._options):
                if option.value.casefold().startswith(sought.casefold()):
                    self.cursor, self._sought = row, sought
                    return

    def toggle(self) -> None:
        """Take or leave the option at the cursor."""
        self.taken ^= {self._options[self.cursor].value}

    def complete(self) -> None:
        """Write a path on as far as all that is offered agrees."""
        if self.question.kind in ("file", "folder"):
            common = _common_beginning([option.value for option in self.rows])
            if len(common) > len(self._typed):
                self.type(common)

    def warnings(self) -> list[str]:
        """Return what `validate` would warn of on account of this answer."""
        draft, before = self.meaning.draft, self._interview.draft
        if draft is None or before is None:
            return []
        known = {finding.message for finding in before.warnings}
        return [one.message for one in draft.warnings if one.message not in known]

    def notes(self) -> list[str]:
        """Return what follows from this answer, a sentence each."""
        draft, before = self.meaning.draft, self._interview.draft
        if draft is None:
            return []
        known = before.decision.notes if before else ()
        notes = [note for note in draft.decision.notes if note not in known]
        remark = self.question.remark(draft)
        return [*notes, remark] if remark else notes

    def memory(self) -> Sequence[str]:
        """Return what each die would hold, in lines, where this question has a part in it."""
        draft = self.meaning.draft
        if draft is None or not self.question.shows_memory:
            return ()
        return target_lines(plan_target(draft.plan))

    def _try(self, value: str) -> Meaning:
        if not self.is_typed and not self.rows:
            return Meaning(error=UsageError("nothing here has all of these words"))
        try:
            return Meaning(draft=self._interview.check(value))
        except AmbiguousModelError as error:
            hint = f"it fits {listed(error.candidates)}: Esc, and choose it there"
            return Meaning(error=UsageError(error.message, hint))
        except VaccGenError as error:
            return Meaning(error=error)

    def _row_of(self, value: str) -> int:
        values = [option.value for option in self.rows]
        return values.index(value) if value in values else (-1 if self.is_typed else 0)

    def _row_beside(self, rows: int) -> int:
        """Return the row of the next number that is offered, from the one in the field."""
        numbers = [int(option.value) for option in self._options]
        try:
            number = int(self.text)
        except ValueError:
            return 0
        if rows < 0:
            return max(sum(one < number for one in numbers) - 1, 0)
        return min(sum(one <= number for one in numbers), len(numbers) - 1)


def matching_paths(typed: str, folders: bool) -> list[Option]:
    """Return the paths that begin as `typed` does; folders end with a slash.

    `folders` leaves files out. Hidden ones are among them only where the dot was typed.
    """
    head, tail = os.path.split(typed)
    found = []
    try:
        with os.scandir(Path(head or ".").expanduser()) as entries:
            for entry in entries:
                hidden = entry.name.startswith(".") and not tail.startswith(".")
                if hidden or not entry.name.startswith(tail) or not entry.name.isprintable():
                    continue
                if entry.is_dir():
                    path = f"{os.path.join(head, entry.name)}/"  # noqa: PTH118  # keeps ./ and ~
                    has_config = Path(entry.path, "config.json").is_file()
                    found.append(Option(path, "has a config.json" if has_config else ""))
                elif not folders:
                    found.append(Option(os.path.join(head, entry.name)))  # noqa: PTH118
    except OSError:
        return []
    return sorted(found, key=lambda option: option.value)[:SHOWN_PATHS]


def _common_beginning(words: Sequence[str]) -> str:
    letters = zip(*words, strict=False)
    return "".join(same[0] for same in takewhile(lambda same: len(set(same)) == 1, letters))


def _has_words(option: Option, words: Sequence[str]) -> bool:
    return _holds(f"{option.value} {option.note} {option.keywords}", words)


def _holds(text: str, words: Sequence[str]) -> bool:
    return all(word in text.casefold() for word in words)
