"""What a check reports: one mistake, its place, what to do about it, and how it is worded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from vacc_gen.schema.errors import VaccGenError, encodable

Steps = tuple[str | int, ...]
"""A path through a document: keys, and positions in lists."""


class Span(NamedTuple):
    """A stretch of text. Lines and columns count from 1, in characters; the end is exclusive."""

    line: int
    column: int
    end_line: int
    end_column: int
    start: int  # offset of the first character
    end: int


START = Span(1, 1, 1, 1, 0, 0)
"""Where a text begins."""


class Severity(str, Enum):
    """How bad a finding is. Only errors make `validate` exit 1, unless `--strict` is given."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True)
class Fix:
    """Put `text` in place of what stands in `span`.

    A fix is safe where the file then means what its writer can only have meant, and `--fix` applies
    it. What moves, drops or invents something needs `--unsafe-fixes`.
    """

    span: Span
    text: str
    safe: bool = True


class Finding(NamedTuple):
    """What a rule yields; `check` adds the rule's code and the path."""

    span: Span
    message: str
    hint: str | None = None
    fix: Fix | None = None
    severity: Severity | None = None  # instead of the rule's own


@dataclass(frozen=True)
class Diagnostic:
    """One finding. Lines and columns count from 1, in characters; the end is exclusive."""

    code: str
    severity: Severity
    path: str
    line: int
    column: int
    end_line: int
    end_column: int
    message: str
    hint: str | None = None
    fix: Fix | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the finding as `validate --format json` prints it."""
        fields = {**vars(self), "severity": self.severity.value, "fixable": self.fixable}
        del fields["fix"]
        texts = {key: encodable(text) for key, text in fields.items() if isinstance(text, str)}
        return fields | texts

    @property
    def fixable(self) -> bool:
        """Whether `--fix` puts it right."""
        return self.fix is not None and self.fix.safe


class FindingsError(VaccGenError):
    """A file was read and has errors; `diagnostics` are all of them."""

    def __init__(self, message: str, diagnostics: Sequence[Diagnostic]) -> None:
        super().__init__(message)
        self.diagnostics = tuple(diagnostics)


def has_errors(diagnostics: Iterable[Diagnostic], strict: bool = False) -> bool:
    """Whether there is an error among `diagnostics`; with `strict`, warnings count too."""
    counted = (Severity.ERROR, Severity.WARNING) if strict else (Severity.ERROR,)
    return any(diagnostic.severity in counted for diagnostic in diagnostics)


def dotted(steps: Sequence[Any]) -> str:
    """Return a path as people write it: `dataset.process_ops[2].mean`."""
    text = ""
    for step in steps:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def in_section(steps: Sequence[Any]) -> str:
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
    if isinstance(value, bool):
        return "true or false"
    if value is None:
        return "null"
    kinds = {str: "text", int: "a whole number", float: "a number", list: "a list"}
    return kinds.get(type(value), "a mapping" if isinstance(value, dict) else "a date")


def listed(names: Sequence[str]) -> str:
    """Return names in backquotes as an English list: `a`, `b` and `c`."""
    *others, last = (f"`{name}`" for name in names)
    return f"{', '.join(others)} and {last}" if others else last
