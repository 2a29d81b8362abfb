"""Pins in pip's notation, and what is known of packages beside each other and of their wheels.

The facts are data (presets/pins.yaml). Applying them takes no index and no interpreter, so that
`validate` says in milliseconds that pins cannot be installed, or that what resolves will not run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from packaging.specifiers import InvalidSpecifier, SpecifierSet

PYTHONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13")
"""What `environment.python` of a recipe may say."""

_REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*"
    r"(?:\[[A-Za-z0-9,._\s-]*\])?\s*(?P<specifiers>[<>=!~].*)?",
    re.ASCII,
)

_REFUSED = {
    ";": "pins are for one Python: leave out the marker after `;`",
    "@": "a URL (`@`) cannot be locked: pin a version instead",
    "===": "`===` compares text, not versions: use `==`",
}


def parse_versions(text: str) -> SpecifierSet:
    """Read a list of bounds such as `>=4.31.0,<4.52`; nothing means any version.

    Raises:
        ValueError: it is no such list.
    """
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
    for sign, reason in _REFUSED.items():
        if sign in text:
            raise ValueError(reason)
    match = _REQUIREMENT.fullmatch(text)
    try:
        if match is None:
            raise InvalidSpecifier
        return Pin(text, normalized_name(match["name"]), parse_versions(match["specifiers"] or ""))
    except InvalidSpecifier:
        raise ValueError(f"{text!r} is not a requirement such as `torch==2.1.0`") from None


def normalized_name(name: str) -> str:
    """Return a package's name as an index compares it."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def versions_by_name(pins: Iterable[Pin]) -> dict[str, SpecifierSet]:
    """Return what all pins of a package together allow, by package."""
    allowed: dict[str, SpecifierSet] = {}
    for pin in pins:
        allowed[pin.name] = allowed.get(pin.name, parse_versions("")) & pin.versions
    return allowed


@dataclass(frozen=True)
class Wheels:
    """Which Pythons some versions of a package can be installed on; none: it is source alone."""

    package: Pin
    pythons: SpecifierSet
    reason: str = ""
    """Why it cannot be built from source under a lock."""


@dataclass(frozen=True)
class Companion:
    """Where `package` is installed, `needs` must hold if that package is installed at all."""

    package: Pin
    needs: Pin
    reason: str


@dataclass(frozen=True)
class PinFacts:
    """Everything in presets/pins.yaml."""

    wheels: tuple[Wheels, ...] = ()
    companions: tuple[Companion, ...] = ()

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> PinFacts:
        """Build the facts from the file's plain values.

        Raises:
            ValueError: a requirement in them is none.
        """
        return cls(
            tuple(
                Wheels(
                    parse_pin(fact["package"]),
                    parse_versions(fact["python"]),
                    fact.get("reason", ""),
                )
                for fact in values["wheels"]
            ),
            tuple(
                Companion(parse_pin(fact["package"]), parse_pin(fact["needs"]), fact["reason"])
                for fact in values["companions"]
            ),
        )


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
    allowed = versions_by_name(pins)
    sound = [pin for pin in pins if not allowed[pin.name].is_unsatisfiable()]
    return (
        *_contradictions(pins),
        *_without_wheels(sound, python, facts.wheels),
        *_breaking_companions(sound, facts.companions),
    )


def added_bounds(pins: Iterable[Pin], facts: PinFacts) -> tuple[Companion, ...]:
    """Return the facts whose `needs` must bound what resolves so that it also runs.

    They hold for packages that the pins may only bring in indirectly, such as numpy.
    """
    asked = versions_by_name(pins)
    bounds: dict[str, Companion] = {}
    for fact in facts.companions:
        package, needed = fact.package, fact.needs
        if package.name not in asked or not asked[package.name].is_subset(package.versions):
            continue
        own = asked.get(needed.name)
        if own is not None and (own.is_subset(needed.versions) or own.is_disjoint(needed.versions)):
            continue
        bounds.setdefault(needed.text, fact)
    return tuple(bounds.values())


def _contradictions(pins: Sequence[Pin]) -> Iterator[PinProblem]:
    for name, allowed in versions_by_name(pins).items():
        if allowed.is_unsatisfiable():
            same = [pin for pin in pins if pin.name == name]
            yield PinProblem(
                "contradiction",
                tuple(reversed(same)),
                f"no version of {name} satisfies {' and '.join(map(str, same))}",
                f"leave one pin of {name}",
            )


def _without_wheels(
    pins: Sequence[Pin], python: str, facts: Sequence[Wheels]
) -> Iterator[PinProblem]:
    for pin in pins:
        for fact in facts:
            if fact.package.name != pin.name or python in fact.pythons:
                continue
            if not pin.versions.is_subset(fact.package.versions):
                continue
            fitting = [known for known in PYTHONS if known in fact.pythons]
            if fitting:
                span = " to ".join(dict.fromkeys((fitting[0], fitting[-1])))
                yield PinProblem(
                    "python",
                    (pin,),
                    f"{pin} has no wheels for Python {python}, only for {span}",
                    f"set environment.python to {fitting[-1]}, or pin another version",
                )
            else:
                yield PinProblem(
                    "source-only",
                    (pin,),
                    f"{pin} cannot be locked: {fact.reason}",
                    "leave it out of the pins, and install it by hand beside them",
                )


def _breaking_companions(pins: Sequence[Pin], facts: Sequence[Companion]) -> Iterator[PinProblem]:
    asked = versions_by_name(pins)
    first = {pin.name: pin for pin in reversed(pins)}
    reported = set()
    for fact in facts:
        package, needed = fact.package, fact.needs
        if not {package.name, needed.name} <= asked.keys() or needed.name in reported:
            continue
        if asked[package.name].is_subset(package.versions) and asked[needed.name].is_disjoint(
            needed.versions
        ):
            reported |= {package.name, needed.name}
            pair = (first[needed.name], first[package.name])
            yield PinProblem(
                "companion",
                pair,
                f"{pair[0]} does not run beside {pair[1]}: {fact.reason}",
                f"beside {package} use {needed}",
            )
