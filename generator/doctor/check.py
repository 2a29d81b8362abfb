"""One thing that was looked at, and how it stands."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from vacc_gen.schema.errors import VaccGenError


class State(str, Enum):
    """How a thing stands. Only a problem makes `doctor` exit 1."""

    OK = "ok"
    WARNING = "warning"
    """It may be meant so, or it matters on another machine."""
    PROBLEM = "problem"
    """Something would fail later."""
    UNKNOWN = "unknown"
    """It could not be looked at; the message says why."""


@dataclass(frozen=True)
class Check:
    """One line of the table, and of `doctor --json`."""

    section: str
    name: str
    state: State
    message: str
    hint: str | None = None

    @classmethod
    def of(cls, section: str, name: str, ok: bool, message: str, hint: str | None = None) -> Check:
        """Return what is either fine or a problem, which alone has a hint."""
        if ok:
            return cls(section, name, State.OK, message)
        return cls(section, name, State.PROBLEM, message, hint)

    @classmethod
    def failed(cls, section: str, name: str, error: VaccGenError) -> Check:
        """Return an error that a build would end with."""
        return cls(section, name, State.PROBLEM, error.message, error.hint)


def first_few(names: list[str], shown: int = 3) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return f"{', '.join(names[:shown])}{more}"
