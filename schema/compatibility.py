"""What is known of packages beside each other and of their wheels, applied to a set of pins.

The facts are data (presets/pins.yaml). Applying them takes no index and no interpreter, so that
`validate` says in milliseconds that pins cannot be installed, or that what resolves will not run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from vacc_gen.schema.packages import (
    NO_VERSION,
    Pin,
    VersionSet,
    parse_pin,
    parse_specifiers,
    parse_version,
    versions_by_name,
)

PYTHONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13")
"""What `environment.python` of a recipe may say."""


@dataclass(frozen=True)
class WheelFact:
    """Which Pythons some versions of a package can be installed on."""

    package: Pin
    pythons: VersionSet


@dataclass(frozen=True)
class CompanionFact:
    """Versions of one package run only beside certain versions of another."""

    package: Pin
    """Where this is installed,"""
    needs: Pin
    """this must hold, if that package is installed at all;"""
    reason: str
    """what happens otherwise."""


@dataclass(frozen=True)
class SourceOnlyFact:
    """A package that no lock can install, and why."""

    package: Pin
    reason: str


@dataclass(frozen=True)
class PinFacts:
    """Everything in presets/pins.yaml."""

    wheels: tuple[WheelFact, ...] = ()
    companions: tuple[CompanionFact, ...] = ()
    source_only: tuple[SourceOnlyFact, ...] = ()

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> PinFacts:
        """Build the facts from the file's plain values.

        Raises:
            ValueError: a requirement in them is none.
        """
        return cls(
            wheels=tuple(
                WheelFact(parse_pin(fact["package"]), parse_specifiers(fact["python"]))
                for fact in values["wheels"]
            ),
            companions=tuple(
                CompanionFact(parse_pin(fact["package"]), parse_pin(fact["needs"]), fact["reason"])
                for fact in values["companions"]
            ),
            source_only=tuple(
                SourceOnlyFact(parse_pin(fact["package"]), fact["reason"])
                for fact in values["source_only"]
            ),
        )


@dataclass(frozen=True)
class Bound:
    """A limit that we add to pins, and why."""

    requirement: str
    reason: str


@dataclass(frozen=True)
class PinProblem:
    """Why a set of pins cannot be installed, or will not run."""

    kind: Literal["contradiction", "python", "companion", "source-only"]
    pins: tuple[Pin, ...]
    """What takes part in it, the pin to change first."""
    message: str
    hint: str


def effective_pins(preset: Iterable[Pin], own: Iterable[Pin]) -> list[Pin]:
    """Return a recipe's pins over its preset's: a package that it names has its pins alone."""
    own = list(own)
    named = {pin.name for pin in own}
    return [*(pin for pin in preset if pin.name not in named), *own]


def pin_problems(pins: Sequence[Pin], python: str, facts: PinFacts) -> tuple[PinProblem, ...]:
    """Return what is known to be wrong with `pins` on a Python such as `3.10`.

    A pin that allows a range is wrong only where every version in it is.
    """
    contradictions = _contradictions(pins)
    torn = {pin.name for problem in contradictions for pin in problem.pins}
    sound = [pin for pin in pins if pin.name not in torn]
    return (
        *contradictions,
        *_without_wheels(sound, python, facts),
        *_bad_company(sound, facts),
        *_source_only(sound, facts),
    )


def added_bounds(pins: Iterable[Pin], facts: PinFacts) -> tuple[Bound, ...]:
    """Return the limits that `pins` need beyond themselves so that what resolves also runs.

    They hold for packages that the pins may only bring in indirectly, such as numpy.
    """
    asked = versions_by_name(pins)
    bounds: list[Bound] = []
    for fact in facts.companions:
        package, needed = fact.package, fact.needs
        if package.name not in asked or not asked[package.name] <= package.versions:
            continue
        held = asked.get(needed.name)
        if held is not None and (held <= needed.versions or not held & needed.versions):
            continue
        if all(bound.requirement != needed.text for bound in bounds):
            bounds.append(Bound(needed.text, fact.reason))
    return tuple(bounds)


def _contradictions(pins: Sequence[Pin]) -> list[PinProblem]:
    problems = []
    for name, allowed in versions_by_name(pins).items():
        if not allowed:
            same = tuple(pin for pin in pins if pin.name == name)
            problems.append(
                PinProblem(
                    "contradiction",
                    tuple(reversed(same)),
                    f"no version of {name} answers {_listed(same)}",
                    f"leave one pin of {name}",
                )
            )
    return problems


def _without_wheels(pins: Sequence[Pin], python: str, facts: PinFacts) -> list[PinProblem]:
    problems = []
    for pin in pins:
        unfit = [
            fact
            for fact in facts.wheels
            if fact.package.name == pin.name and parse_version(python) not in fact.pythons
        ]
        barred = NO_VERSION
        for fact in unfit:
            barred |= fact.package.versions
        if not pin.versions <= barred:
            continue
        fitting = [
            python
            for python in PYTHONS
            for fact in unfit
            if fact.package.versions & pin.versions and parse_version(python) in fact.pythons
        ]
        there = f", only for {_span(fitting)}" if fitting else ""
        problems.append(
            PinProblem(
                "python",
                (pin,),
                f"{pin} has no wheels for Python {python}{there}",
                f"set environment.python to {fitting[-1]}, or pin another version"
                if fitting
                else "pin another version",
            )
        )
    return problems


def _bad_company(pins: Sequence[Pin], facts: PinFacts) -> list[PinProblem]:
    asked = versions_by_name(pins)
    first = {pin.name: pin for pin in reversed(pins)}
    problems: list[PinProblem] = []
    for fact in facts.companions:
        package, needed = fact.package, fact.needs
        if not {package.name, needed.name} <= asked.keys():
            continue
        if any(needed.name in {pin.name for pin in problem.pins} for problem in problems):
            continue  # one finding a mistake: that pin is to change in any case
        if asked[package.name] <= package.versions and not asked[needed.name] & needed.versions:
            pair = (first[needed.name], first[package.name])
            problems.append(
                PinProblem(
                    "companion",
                    pair,
                    f"{pair[0]} does not run beside {pair[1]}: {fact.reason}",
                    f"beside {package} use {needed}",
                )
            )
    return problems


def _source_only(pins: Sequence[Pin], facts: PinFacts) -> list[PinProblem]:
    return [
        PinProblem(
            "source-only",
            (pin,),
            f"{pin} cannot be locked: {fact.reason}",
            "leave it out of the pins, and install it by hand beside them",
        )
        for pin in pins
        for fact in facts.source_only
        if fact.package.name == pin.name and pin.versions <= fact.package.versions
    ]


def _span(pythons: Sequence[str]) -> str:
    return pythons[0] if len(pythons) == 1 else f"{pythons[0]} to {pythons[-1]}"


def _listed(pins: Sequence[Pin]) -> str:
    return " and ".join(str(pin) for pin in pins)
