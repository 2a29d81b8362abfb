"""A text put right for reading, and the way back to the places in the one that was written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from vacc_gen.schema.lint.diagnostics import Diagnostic, Edit, Fix
from vacc_gen.schema.lint.document import Document


class Repaired(NamedTuple):
    """A text that can be read, and where its lines come from."""

    text: str | None  # None: what there is to tell is told, and nothing beyond can be checked
    numbers: tuple[int, ...]  # by line: its number in the original
    changed: frozenset[int]  # numbers of the original's lines that were put right
    shifts: Mapping[int, int] = MappingProxyType({})  # by number: characters taken off its head

    def moved(self, found: list[Diagnostic], original: Document) -> list[Diagnostic]:
        """Return findings in the repaired text with the places that they have in the original."""
        repaired = Document(self.text or "", original.path)
        return [
            replace(
                one,
                line=self._number(one.line),
                column=one.column + self._shift(one.line),
                end_line=self._number(one.end_line),
                end_column=one.end_column + self._shift(one.end_line),
                fix=self._fix(one.fix, repaired, original),
            )
            for one in found
        ]

    def _number(self, line: int) -> int:
        return self.numbers[min(line, len(self.numbers)) - 1]

    def _shift(self, line: int) -> int:
        return self.shifts.get(self._number(line), 0)

    def _fix(self, fix: Fix | None, repaired: Document, original: Document) -> Fix | None:
        edits = []
        for edit in fix.edits if fix else ():
            span = repaired.span_at(edit.start, edit.end)
            lines = [self._number(line) for line in range(span.line, span.end_line + 1)]
            if self.changed & set(lines) or lines != [*range(lines[0], lines[-1] + 1)]:
                return None
            start = original.line_start(lines[0]) + span.column - 1 + self._shift(span.line)
            end = original.line_start(lines[-1]) + span.end_column - 1
            end += self._shift(span.end_line)
            edits.append(Edit(start, end, edit.text))
        return Fix(tuple(edits), fix.safe) if fix else None
