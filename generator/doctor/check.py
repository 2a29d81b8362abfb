"""One thing that was looked at, and how it stands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from vacc_gen.schema.errors import VaccGenError


class State(str, Enum):
    """How a thing stands. Only a problem makes `doctor` exit 1."""

    OK = "ok"
    WARNING = "warning"
    """It may be meant so, or it matters on another machine."""
    PROBLEM = "problem"
    """Something would fail later."""
    UNKNOWN = "unknown"
    """It could not be looked at, and why is told."""


@dataclass(frozen=True)
class Check:
    """One line of the table."""

    section: str
    name: str
    state: State
    message: str
    hint: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the line as `doctor --json` prints it."""
        return {
            "section": self.section,
            "name": self.name,
            "state": self.state.value,
            "message": self.message,
            "hint": self.hint,
        }


def problem_of(section: str, name: str, error: VaccGenError) -> Check:
    """Return an error that a build would end with."""
    return Check(section, name, State.PROBLEM, error.message, error.hint)


def has_problems(checks: Iterable[Check]) -> bool:
    """Whether something would fail later."""
    return any(check.state is State.PROBLEM for check in checks)
