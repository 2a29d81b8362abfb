"""A question of the wizard: how it is asked, what it offers, what its answer decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from vacc_gen.generator.new.choices import Choices
from vacc_gen.generator.new.draft import Draft

Kind = Literal["one", "several", "number", "file", "folder"]
"""How an answer is given: from a list, several from a list, or typed."""


@dataclass(frozen=True)
class Option:
    """An answer that is offered."""

    value: str
    note: str = ""
    keywords: str = ""
    """What a search finds it by, beside value and note."""


@dataclass(frozen=True)
class Question:
    """One question. A draft is what earlier answers come to; None before there is a model."""

    name: str
    prompt: str
    help: str
    kind: Kind
    choose: Callable[[Choices, str], Choices]
    """The choices with those that an answer makes. Raises UsageError where it cannot be read."""
    default: Callable[[Draft | None], str]
    advice: Callable[[Draft | None], str] = lambda draft: ""
    """What follows `help`, by what was answered before."""
    options: Callable[[Draft | None], Sequence[Option]] = lambda draft: ()
    given: Callable[[Choices], object] = lambda choices: None
    """The answer that choices hold already, or None."""
    applies: Callable[[Draft | None], bool] = lambda draft: True
    remark: Callable[[Draft], str | None] = lambda draft: None
    """What there is to say about an answer that is possible, given what it comes to."""
    shows_memory: bool = False
    """Whether what each die holds hangs on the answer."""
