"""How findings name paths, values and kinds of value."""

from __future__ import annotations

from typing import Any

NAMES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}


def dotted(steps: tuple[Any, ...]) -> str:
    """Return a path as people write it: `dataset.process_ops[2].mean`."""
    text = ""
    for step in steps:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def in_section(steps: tuple[Any, ...]) -> str:
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


def kind_of(value: Any) -> str:
    """Return what kind of value it is, in words."""
    if isinstance(value, bool):
        return "true or false"
    if value is None:
        return "null"
    for kind, name in ((str, "text"), (int, "a whole number"), (float, "a number")):
        if isinstance(value, kind):
            return name
    return (
        "a list"
        if isinstance(value, list)
        else "a mapping"
        if isinstance(value, dict)
        else "a date"
    )
