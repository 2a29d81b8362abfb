"""VG18: the pins of a recipe's environment."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vacc_gen.schema.lint.diagnostics import Severity
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.subject import Finding, Subject

if TYPE_CHECKING:
    from vacc_gen.schema.packages import Pin, PinProblem

_DEFAULT_PYTHON = "3.10"
_PINS = ("environment", "pins")
_LONE_EQUALS = re.compile(r"\s*([A-Za-z0-9._-]{1,99})\s*=\s*([A-Za-z0-9.+*]{1,99})\s*")
"""Conda's notation of a version."""


@rule("VG185", Severity.ERROR, "pin that no lock can answer", scope="recipe")
def unreadable_pin(subject: Subject) -> Iterator[Finding]:
    """A pin is no requirement of a package's versions in pip's notation.

    Markers and URLs are none either: the pins are for the one Python of the recipe, and a lock
    names packages by hash, not by place.

    Bad:
        environment:
          pins:
            - torch=2.1.0
    Good:
        environment:
          pins:
            - torch==2.1.0
    """
    for index, pin in _own_pins(subject):
        if isinstance(pin, ValueError):
            lone = _LONE_EQUALS.fullmatch(subject.get(*_PINS, index))
            hint = f"did you mean `{lone[1]}=={lone[2]}`?" if lone else None
            yield Finding(subject.span(*_PINS, index), str(pin), hint)


@rule("VG186", Severity.ERROR, "pins that cannot be installed", scope="recipe")
def uninstallable_pins(subject: Subject) -> Iterator[Finding]:
    """Two pins of a package exclude each other, or a pinned version has no wheel for the Python.

    The recipe's pins are looked at together with those of its environment preset. What is known of
    wheels ships with vacc-gen; nothing is asked of a package index. A package that is published as
    source alone is a warning: it can be built by hand, but no lock can hold it.

    Bad:
        environment:
          preset: falcon-py310
          pins:
            - transformers>=4.40
            - transformers<4.38
    Good:
        environment:
          preset: falcon-py310
          pins:
            - transformers>=4.38,<4.40
    """
    yield from _findings(subject, ("contradiction", "python", "source-only"))


@rule("VG187", Severity.ERROR, "pins that are known to break together", scope="recipe")
def breaking_pins(subject: Subject) -> Iterator[Finding]:
    """Two packages can be installed beside each other and do not run.

    A resolver finds such a set, and an import check passes: onnxruntime 1.13.1 beside numpy 2 is
    imported, and kills the process in its first session.

    Bad:
        environment:
          pins:
            - onnxruntime==1.13.1
            - numpy==2.2.6
    Good:
        environment:
          pins:
            - onnxruntime==1.13.1
            - numpy==1.26.4
    """
    yield from _findings(subject, ("companion",))


def _findings(subject: Subject, kinds: tuple[str, ...]) -> Iterator[Finding]:
    """Put what is known of the recipe's pins into its places."""
    from vacc_gen.schema.packages import Pin, effective_pins, parse_pin, pin_problems

    own = {pin: index for index, pin in _own_pins(subject) if isinstance(pin, Pin)}
    preset = subject.get("environment", "preset")
    asked = subject.known.environment_pins(preset) if isinstance(preset, str) else ()
    pins = effective_pins([parse_pin(text) for text in asked], own)
    python = subject.get("environment", "python") or _DEFAULT_PYTHON
    for problem in pin_problems(pins, python, subject.known.pin_facts()):
        if problem.kind in kinds:
            yield _finding(subject, problem, own)


def _finding(subject: Subject, problem: PinProblem, own: dict[Pin, int]) -> Finding:
    """Point at the recipe's pin that takes part, else at the Python, else at the preset."""
    mine = next((own[pin] for pin in problem.pins if pin in own), None)
    if mine is not None:
        span = subject.span(*_PINS, mine)
    else:
        span = subject.span("environment", "python" if problem.kind == "python" else "preset")
    # What has no wheel can still be built by hand.
    severity = Severity.WARNING if problem.kind == "source-only" else None
    return Finding(span, problem.message, problem.hint, severity=severity)


def _own_pins(subject: Subject) -> Iterator[tuple[int, Pin | ValueError]]:
    """Yield the recipe's pins with their positions; for a bad one, what is wrong with it."""
    from vacc_gen.schema.packages import parse_pin

    pins = subject.get(*_PINS)
    for index, text in enumerate(pins if isinstance(pins, list) else ()):
        if isinstance(text, str):
            try:
                yield index, parse_pin(text)
            except ValueError as error:
                yield index, error
