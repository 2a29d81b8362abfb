"""How bad a text is."""

from __future__ import annotations

from typing import NamedTuple

from vacc_gen.schema.lint import structure
from vacc_gen.schema.lint.document import Problem, load
from vacc_gen.schema.lint.walk import Schema


class Verdict(NamedTuple):
    """Of two, the smaller is better."""

    unreadable: bool
    error_line: int  # negative: an error further down is the better one
    mistakes: int


def judge(text: str, schema: Schema) -> tuple[Verdict, list[Problem]]:
    """Return how bad a text is, and what is wrong with it."""
    document = load(text)
    if not document.complete or document.root is None:
        line = document.problems[-1].span.line if document.problems else 0
        return Verdict(True, -line, 0), document.problems
    found = structure.check(document, schema)
    found += document.problems
    return Verdict(False, 0, len(found)), found
