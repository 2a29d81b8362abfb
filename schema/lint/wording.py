"""How findings name paths, values and kinds of value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def dotted(steps: Sequence[Any]) -> str:
    """Return a path as people write it: `dataset.process_ops[2].mean`."""
    text = ""
    for step in steps:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def in_section(steps: Sequence[Any]) -> str:
    """Return where something stands: in which section, or at the top level."""
    return f"in `{dotted(steps)}`" if steps else "at the top level"


def as_written(value: Any) -> str:
    """Return a value for a message, cut where it is long."""
    text = repr(value) if isinstance(value, str) else plain(value)
    return text if len(text) <= 60 else text[:57] + "..."


def plain(value: Any) -> str:
    """Return a scalar as YAML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else str(value)


def kind_of_value(value: Any) -> str:
    """Return what kind of value it is, in words."""
    if isinstance(value, bool):
        return "true or false"
    if value is None:
        return "null"
    kinds = ((str, "text"), (int, "a whole number"), (float, "a number"), (list, "a list"))
    for kind, name in kinds:
        if isinstance(value, kind):
            return name
    return "a mapping" if isinstance(value, dict) else "a date"


def listed(names: Sequence[str], last: str = "and") -> str:
    """Return names in backquotes as an English list: `a`, `b` and `c`."""
    quoted = [f"`{name}`" for name in names]
    return f" {last} ".join(filter(None, (", ".join(quoted[:-1]), quoted[-1] if quoted else "")))


def plural(number: int, noun: str) -> str:
    """Return a number with its noun: 1 token, 2 tokens."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
