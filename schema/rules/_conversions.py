"""How a value of the wrong type is written rightly, where that can be known."""

from __future__ import annotations

import re
from typing import Any

from vacc_gen.schema import edits
from vacc_gen.schema.diagnostics import Edit, Fix
from vacc_gen.schema.document import Node, Problem, load
from vacc_gen.schema.subject import Subject
from vacc_gen.schema.walk import is_type

_PIN = re.compile(r"([A-Za-z0-9][\w.-]*)\s*[=~<>!]=+\s*([\w.+!*]+)")


def conversion(
    subject: Subject, problem: Problem, expected: list[str], value: Any
) -> tuple[str | None, Fix | None]:
    """Return a hint, and a fix, for a value that is none of the expected types."""
    written = subject.document.text[problem.span.start : problem.span.end]
    if isinstance(value, list) and "object" in expected:
        return _without_dashes(subject, value)
    if isinstance(value, str):
        meant = load(value)
        if meant.problems or meant.root is None:
            return None, None
        for name in expected:
            if name != "string" and is_type(meant.root.value, name):
                return f"write {value} without quotes", edits.replace(problem.span, value)
        return None, None
    if "string" in expected and not isinstance(value, (dict, list)) and "\n" not in written:
        return f'in quotes it is text: "{written}"', edits.replace(problem.span, f'"{written}"')
    return None, None


def _without_dashes(subject: Subject, items: list[Node]) -> tuple[str | None, Fix | None]:
    """Return how a list of pins, or of single keys, is written as a mapping."""
    found: list[Edit] = []
    first = None
    for item in items:
        start = subject.document.line_start(item.span.line)
        before = subject.document.text[start : item.span.start]
        dash = start + before.find("-")
        if before.strip() != "-":
            return None, None
        if isinstance(item.value, dict) and item.value:
            found.append(Edit(dash, dash + 1, " "))
            line = subject.document.lines[item.span.line - 1].strip()
            first = first or line.removeprefix("-").strip()
            continue
        pin = _PIN.fullmatch(item.value) if isinstance(item.value, str) else None
        if pin is None:
            return None, None
        version = f'"{pin[2]}"' if re.fullmatch(r"\d+(\.\d+)?", pin[2]) else pin[2]
        found.append(Edit(dash, item.span.end, f"{pin[1]}: {version}"))
        first = first or found[-1].text
    return f"write `{first}`, without the `-`", Fix(tuple(found))
