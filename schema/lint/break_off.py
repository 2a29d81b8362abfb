"""A file that ends in the middle, as after a full disk: what to say of it, and what not to."""

from __future__ import annotations

from vacc_gen.schema.lint.document import Document, Problem, load
from vacc_gen.schema.lint.verdict import judge
from vacc_gen.schema.lint.walk import Schema

REACH_LINES = 6
"""How many lines at the end may be unreadable: a list, or quotes, that the end cut through."""


def break_off(
    document: Document, lines: list[str], numbers: list[int], schema: Schema
) -> list[Problem] | None:
    """Return what there is to tell if the file ends too early; None where it does not."""
    text = document.text
    if text.lstrip()[:1] == "{" and text.rstrip()[-1:] == "}":
        return None  # whole, as JSON is
    torn = bool(text) and not text.endswith(("\n", "\r"))
    kept = _filled(lines)
    last = len(kept)
    for _ in range(REACH_LINES if torn else 1):
        if not kept:
            return None
        text = "\n".join(kept) + "\n"
        verdict, found = judge(text, schema)
        if not verdict.unreadable:
            break
        kept = _filled(kept[:-1])
    else:
        return None
    read = load(text)
    lacking = [one for one in found if _is_at_the_end(one, read, len(kept))]
    others = [
        one
        for one in found
        if one not in lacking and not (torn and one.span.end_line >= last == len(kept))
    ]
    missing = [one.facts for one in lacking if one.kind == "missing-key"]
    whole_sections = any(not one["parent"] for one in missing)
    if len(others) == len(found) or (not torn and not (whole_sections and len(lacking) > 1)):
        return None
    span = document.line_span(numbers[last - 1])
    facts = {"missing": [(one["key"], one["parent"]) for one in missing], "kept": len(kept)}
    return [*others, Problem("cut-off", span, facts)]


def _filled(lines: list[str]) -> list[str]:
    """Return lines without the empty ones at their end."""
    end = len(lines)
    while end and not lines[end - 1].strip():
        end -= 1
    return lines[:end]


def _is_at_the_end(problem: Problem, document: Document, last: int) -> bool:
    """Whether what is missing would stand behind the last line."""
    if problem.kind in ("null", "empty"):
        return problem.span.line >= last
    if problem.kind != "missing-key":
        return False
    parent = problem.facts["parent"]
    if not parent:
        return bool(problem.facts["key"] not in ("name", "version"))
    section = document.node(*parent)
    return section is not None and section.span.end_line >= last
