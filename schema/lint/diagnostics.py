"""What a check reports: one mistake, its place, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from vacc_gen.schema.lint.tree import Span
from vacc_gen.schema.printable import encodable


class Severity(str, Enum):
    """How bad a finding is. Only errors make `validate` exit 1, unless `--strict` is given."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True)
class Edit:
    """Replace the characters from offset `start` up to `end` of the text."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Fix:
    """Edits that remove the cause of a finding.

    A fix is safe where the file then means what its writer can only have meant, and `--fix` applies
    it. What moves, drops or invents something needs `--unsafe-fixes`.
    """

    edits: tuple[Edit, ...]
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
        return {
            "code": self.code,
            "severity": self.severity.value,
            "path": encodable(self.path),
            "line": self.line,
            "column": self.column,
            "end_line": self.end_line,
            "end_column": self.end_column,
            "message": encodable(self.message),
            "hint": None if self.hint is None else encodable(self.hint),
            "fixable": self.is_fixable,
        }

    @property
    def is_fixable(self) -> bool:
        """Whether `--fix` removes the cause."""
        return self.fix is not None and self.fix.safe


def has_errors(diagnostics: Iterable[Diagnostic], strict: bool = False) -> bool:
    """Whether there is an error among `diagnostics`; with `strict`, warnings count too."""
    counted = (Severity.ERROR, Severity.WARNING) if strict else (Severity.ERROR,)
    return any(diagnostic.severity in counted for diagnostic in diagnostics)
