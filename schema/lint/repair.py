"""Fixes applied to a text, and only where the text is the better for it."""

from __future__ import annotations

from collections.abc import Sequence

from vacc_gen.schema.lint.check import check_text
from vacc_gen.schema.lint.diagnostics import Diagnostic, Fix, Severity
from vacc_gen.schema.lint.fixes import apply


def repaired(text: str, path: str, fixes: Sequence[Fix]) -> str | None:
    """Return the text with fixes applied, or None where nothing can be bettered.

    Fixes go in one after the other, and one that brings a new error with it is left out.
    """
    if not fixes:
        return None
    at_once = apply(text, list(fixes))
    before = _errors(text, path)
    if at_once != text and _errors(at_once, path) <= before:
        return at_once
    kept: list[Fix] = []
    for fix in fixes:
        if _errors(apply(text, [*kept, fix]), path) <= before:
            kept.append(fix)
    changed = apply(text, kept)
    return changed if kept and changed != text else None


def _errors(text: str, path: str) -> int:
    found: list[Diagnostic] = check_text(text, path)
    return sum(diagnostic.severity is Severity.ERROR for diagnostic in found)
