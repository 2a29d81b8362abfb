"""Findings as text for people, JSON for programs, annotations for GitHub."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from vacc_gen.schema.errors import encodable, on_one_line, plural, visible
from vacc_gen.schema.lint.diagnostics import Diagnostic, Severity
from vacc_gen.schema.lint.document import Document
from vacc_gen.schema.lint.rule import Rule, all_rules, page_of

_STYLES = {Severity.ERROR: "1;31", Severity.WARNING: "1;35", Severity.INFO: "1"}
"""Of the terminal; yellow and cyan cannot be read on a white one."""
_NOUNS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
"""What a summary and SARIF call the severities."""
_WIDTH = 160
"""Longest line that is shown."""


def as_text(
    diagnostics: Sequence[Diagnostic],
    documents: Mapping[str, Document],
    checked: int,
    colour: bool = False,
) -> str:
    """Return findings as a terminal shows them, each with its line if its file is in `documents`.

    `checked` is the number of files for the summary; 0 leaves it out.
    """
    blocks = [_block(found, documents.get(found.path), colour) for found in diagnostics]
    if checked:
        blocks.append(_summary(diagnostics, checked))
    return "\n\n".join(blocks) + "\n" if blocks else ""


def _summary(diagnostics: Sequence[Diagnostic], checked: int) -> str:
    numbers = Counter(found.severity for found in diagnostics)
    counts = [plural(numbers[kind], noun) for kind, noun in _NOUNS.items() if numbers[kind]]
    what = ", ".join(counts) or "nothing found"
    fixable = sum(found.fixable for found in diagnostics)
    tail = f" ({fixable} fixable with --fix)" if fixable else ""
    return f"{plural(checked, 'file')} checked: {what}{tail}"


def _block(found: Diagnostic, document: Document | None, colour: bool) -> str:
    severity, hint = f"{found.severity.value} {found.code}", "hint:"
    if colour:
        severity = f"\x1b[{_STYLES[found.severity]}m{severity}\x1b[0m"
        hint = f"\x1b[1m{hint}\x1b[0m"
    path, message = on_one_line(found.path), on_one_line(found.message)
    parts = [f"{path}:{found.line}:{found.column}: {severity}: {message}"]
    lines = document.lines[found.line - 1 : found.line] if document else []
    if lines and len(lines[0]) <= _WIDTH:
        parts += _excerpt(found, lines[0], colour)
    if found.hint:
        mark = " (fixable)" if found.fixable else ""
        parts.append(f"{hint} {on_one_line(found.hint)}{mark}")
    return "\n".join(parts)


def _excerpt(found: Diagnostic, line: str, colour: bool) -> list[str]:
    """Return the line with carets under the finding."""
    start = found.column - 1
    end = found.end_column - 1 if found.end_line == found.line else len(line)
    text = "".join(
        mark if mark.isprintable() or mark == "\t" else "\N{REPLACEMENT CHARACTER}" for mark in line
    )
    indent = "".join("\t" if mark == "\t" else " " * _cells(mark) for mark in text[:start])
    carets = "^" * max(1, sum(map(_cells, text[start:end])))
    if colour:
        carets = f"\x1b[{_STYLES[found.severity]}m{carets}\x1b[0m"
    number = str(found.line)
    margin = " " * len(number)
    return [f"{margin}|", f"{number}| {text}".rstrip(), f"{margin}| {indent}{carets}"]


def _cells(mark: str) -> int:
    """Return how many columns of a terminal a character takes; a Chinese one takes two."""
    if unicodedata.combining(mark):
        return 0
    return 2 if unicodedata.east_asian_width(mark) in "WF" else 1


def as_json(diagnostics: Sequence[Diagnostic], checked: int) -> str:
    """Return findings as the object that other programs rely on (version 1)."""
    findings = [found.as_dict() for found in diagnostics]
    return json.dumps({"version": 1, "checked": checked, "findings": findings}, indent=2) + "\n"


def as_github(diagnostics: Sequence[Diagnostic]) -> str:
    """Return findings as workflow commands, which GitHub shows beside the lines of a change."""
    out = ""
    for found in diagnostics:
        level = "notice" if found.severity is Severity.INFO else found.severity.value
        place = f"line={found.line},endLine={found.end_line},col={found.column}"
        if found.end_line == found.line:  # GitHub drops an annotation whose columns span lines
            place += f",endColumn={max(found.end_column - 1, found.column)}"
        message = _data(_with_hint(found))
        out += f"::{level} file={_property(found.path)},{place},title={found.code}::{message}\n"
    return out


def _with_hint(found: Diagnostic) -> str:
    return found.message + (f"\n{found.hint}" if found.hint else "")


def _data(text: str) -> str:
    return visible(encodable(text)).replace("%", "%25").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)


def as_sarif(diagnostics: Sequence[Diagnostic]) -> str:
    """Return findings as one run of vacc-gen, with the rules that they are of."""
    codes = sorted({found.code for found in diagnostics})
    rules = [_sarif_rule(rule) for rule in all_rules() if rule.code in codes]
    run = {
        "tool": {"driver": {"name": "vacc-gen", "rules": rules}},
        "columnKind": "unicodeCodePoints",
        "results": [_sarif_result(found, codes.index(found.code)) for found in diagnostics],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _sarif_rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.code,
        "name": rule.name,
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": page_of(rule).why},
        "defaultConfiguration": {"level": _NOUNS[rule.severity]},
    }


def _sarif_result(found: Diagnostic, rule_index: int) -> dict[str, Any]:
    region = {
        "startLine": found.line,
        "startColumn": found.column,
        "endLine": found.end_line,
        "endColumn": found.end_column,
    }
    path = found.path.encode("utf-8", "surrogateescape")  # byte for byte
    place = {"artifactLocation": {"uri": quote(path, safe="/-._~")}, "region": region}
    return {
        "ruleId": found.code,
        "ruleIndex": rule_index,
        "level": _NOUNS[found.severity],
        "message": {"text": encodable(_with_hint(found))},
        "locations": [{"physicalLocation": place}],
    }
