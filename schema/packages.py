"""Pins in pip's notation, and what is known of packages beside each other and of their wheels.

The facts are data (presets/pins.yaml); applying them takes no index and no interpreter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from pydantic import BaseModel, PlainValidator

PYTHONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13")
"""What `environment.python` of a recipe may say."""


def parse_versions(text: str) -> SpecifierSet:
    """Read a list of bounds such as `>=4.31.0,<4.52`; nothing means any version."""
    # Pre-releases count: a set of pins is judged by what it allows, not by what pip prefers.
    return SpecifierSet(text, prereleases=True)


@dataclass(frozen=True)
class Pin:
    """One requirement: a package and the versions that it may have."""

    text: str
    name: str
    """As an index compares names: lower case, words joined by `-`."""
    versions: SpecifierSet

    def __str__(self) -> str:
        return self.text


def parse_pin(text: str) -> Pin:
    """Read a requirement such as `torch==2.1.0` or `vllm[audio]>=0.11,<0.12`.

    Raises:
        ValueError: it is none, or has what no lock can hold.
    """
    text = text.strip()
    try:
        parsed = Requirement(text)
    except InvalidRequirement:
        raise ValueError(f"{text!r} is not a requirement such as `torch==2.1.0`") from None
    if parsed.url or parsed.marker or "===" in text:
        raise ValueError("a pin has no URL (`@`), no marker (`;`) and no `===`: use `==`")
    return Pin(text, str(canonicalize_name(parsed.name)), parse_versions(str(parsed.specifier)))


def versions_by_name(pins: Iterable[Pin]) -> dict[str, SpecifierSet]:
    """Return what all pins of a package together allow, by package."""
    allowed: dict[str, SpecifierSet] = {}
    for pin in pins:
        allowed[pin.name] = allowed.get(pin.name, parse_versions("")) & pin.versions
    return allowed


ReadPin = Annotated[Pin, PlainValidator(parse_pin)]


class Wheels(BaseModel):
    """Which Pythons some versions of a package can be installed on; none: it is source alone."""

    package: ReadPin
    python: Annotated[SpecifierSet, PlainValidator(parse_versions)]
    reason: str = ""
    """Why it cannot be built from source under a lock."""


class Companion(BaseModel):
    """Where `package` is installed, `needs` must hold if that package is installed at all."""

    package: ReadPin
    needs: ReadPin
    reason: str

    def applies(self, asked: Mapping[str, SpecifierSet]) -> bool:
        """Whether every version of `package` that is asked for, by name, is one of these."""
        name = self.package.name
        return name in asked and asked[name].is_subset(self.package.versions)


class PinFacts(BaseModel):
    """Everything in presets/pins.yaml."""

    wheels: tuple[Wheels, ...] = ()
    companions: tuple[Companion, ...] = ()


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
    problems, sound = [], []
    for name, allowed in versions_by_name(pins).items():
        same = [pin for pin in pins if pin.name == name]
        if not allowed.is_unsatisfiable():
            sound += same
            continue
        message = f"no version of {name} satisfies {' and '.join(map(str, same))}"
        hint = f"leave one pin of {name}"
        problems.append(PinProblem("contradiction", tuple(reversed(same)), message, hint))
    problems += _without_wheels(sound, python, facts.wheels)
    return (*problems, *_breaking_companions(sound, facts.companions))


def added_bounds(pins: Iterable[Pin], facts: PinFacts) -> tuple[Companion, ...]:
    """Return the facts whose `needs` must bound what resolves so that it also runs.

    They hold for packages that the pins may only bring in indirectly, such as numpy.
    """
    asked = versions_by_name(pins)
    bounds: dict[str, Companion] = {}
    for fact in facts.companions:
        needed, own = fact.needs.versions, asked.get(fact.needs.name)
        if own is not None and (own.is_subset(needed) or own.is_disjoint(needed)):
            continue
        if fact.applies(asked):
            bounds.setdefault(fact.needs.text, fact)
    return tuple(bounds.values())


def _without_wheels(
    pins: Sequence[Pin], python: str, facts: Sequence[Wheels]
) -> Iterator[PinProblem]:
    for pin in pins:
        for fact in facts:
            is_same = fact.package.name == pin.name and pin.versions.is_subset(
                fact.package.versions
            )
            if not is_same or python in fact.python:
                continue
            if fitting := [known for known in PYTHONS if known in fact.python]:
                span = " to ".join(dict.fromkeys((fitting[0], fitting[-1])))
                message = f"{pin} has no wheels for Python {python}, only for {span}"
                hint = f"set environment.python to {fitting[-1]}, or pin another version"
                yield PinProblem("python", (pin,), message, hint)
            else:
                message = f"{pin} cannot be locked: {fact.reason}"
                hint = "leave it out of the pins, and install it by hand beside them"
                yield PinProblem("source-only", (pin,), message, hint)


def _breaking_companions(pins: Sequence[Pin], facts: Sequence[Companion]) -> Iterator[PinProblem]:
    asked = versions_by_name(pins)
    first = {pin.name: pin for pin in reversed(pins)}
    reported: set[str] = set()
    for fact in facts:
        package, needed = fact.package, fact.needs
        if needed.name not in asked or needed.name in reported or not fact.applies(asked):
            continue
        if asked[needed.name].is_disjoint(needed.versions):
            reported |= {package.name, needed.name}
            pair = (first[needed.name], first[package.name])
            message = f"{pair[0]} does not run with {pair[1]}: {fact.reason}"
            yield PinProblem("companion", pair, message, f"with {package} use {needed}")
