"""How a list is written as the mapping that it was meant to be."""

from __future__ import annotations

import re

from vacc_gen.schema.lint.diagnostics import Edit, Fix
from vacc_gen.schema.lint.document import Node
from vacc_gen.schema.lint.subject import Subject

_PIN = re.compile(r"([A-Za-z0-9][\w.-]*)\s*[=~<>!]=+\s*([\w.+!*]+)")


def without_dashes(subject: Subject, items: list[Node]) -> tuple[str | None, Fix | None]:
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
