"""What a recipe asks of the compiler's environment, and whether a lock is an answer to it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from vacc_gen import presets
from vacc_gen.schema.compatibility import Bound, added_bounds, effective_pins
from vacc_gen.schema.environment import Environment
from vacc_gen.schema.errors import UnreadableError
from vacc_gen.schema.packages import Version, normalized_name, parse_pin, parse_version

RECIPE_SOURCE = "vacc.yaml"

_LOCKED = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==(?P<version>[^\s;\\]+)")
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}\b")


@dataclass(frozen=True)
class Asked:
    """One requirement, and who asks it."""

    requirement: str
    source: str


@dataclass(frozen=True)
class Requirements:
    """Everything that a lock must be an answer to."""

    python: str
    platform: str
    asked: tuple[Asked, ...]
    bounds: tuple[Bound, ...]
    """What we add so that what resolves also runs; for packages that come along, too."""

    def by_source(self) -> dict[str, tuple[str, ...]]:
        """Return the requirements by who asks them."""
        sources = dict.fromkeys(asked.source for asked in self.asked)
        return {
            source: tuple(one.requirement for one in self.asked if one.source == source)
            for source in sources
        }


@dataclass(frozen=True)
class LockedPackage:
    """One package of a lock."""

    version: Version
    hashes: int
    """How many files of it are pinned."""


def requirements_of(environment: Environment) -> Requirements:
    """Return what a recipe asks: its own pins, its preset's, and the bounds that follow.

    Raises:
        UsageError: there is no such environment preset.
    """
    preset = presets.ENVIRONMENTS.find(environment.preset)
    own = [parse_pin(text) for text in environment.pins]
    pins = effective_pins([parse_pin(text) for text in preset.asked], own)
    return Requirements(
        python=environment.python,
        platform=environment.platform,
        asked=tuple(
            Asked(pin.text, RECIPE_SOURCE if pin in own else preset.asked_source) for pin in pins
        ),
        bounds=added_bounds(pins, presets.pin_facts()),
    )


def locked_packages(text: str, where: str) -> dict[str, LockedPackage]:
    """Read a lock in pip's format: `name==version`, with hashes on the lines that follow.

    `where` is how messages call it.

    Raises:
        UnreadableError: a line is none of those, or a package is pinned twice.
    """
    packages: dict[str, LockedPackage] = {}
    for line in text.replace("\\\n", " ").splitlines():
        line = line.split(" #")[0].strip()
        if not line or line.startswith("#"):
            continue
        match = _LOCKED.match(line)
        name = normalized_name(match["name"]) if match else ""
        try:
            if match is None or name in packages:
                raise ValueError
            version = parse_version(match["version"])
        except ValueError as error:
            raise UnreadableError(
                f"{where} is no lock: {line[:60]!r} is not one package at one version",
                hint="`vacc-gen lock` writes it again",
            ) from error
        packages[name] = LockedPackage(version, len(_HASH.findall(line)))
    return packages


def unanswered(wanted: Requirements, packages: Mapping[str, LockedPackage]) -> tuple[str, ...]:
    """Return what `wanted` asks and the locked packages do not answer, each in one phrase."""
    reasons = [f"{name} has no hash" for name, package in packages.items() if not package.hashes]
    for asked in wanted.asked:
        pin = parse_pin(asked.requirement)
        package = packages.get(pin.name)
        if package is None:
            reasons.append(f"it lacks {pin}")
        elif package.version not in pin.versions:
            reasons.append(f"it has {pin.name} {package.version}, not {pin}")
    for bound in wanted.bounds:
        pin = parse_pin(bound.requirement)
        package = packages.get(pin.name)
        if package is not None and package.version not in pin.versions:
            reasons.append(f"it has {pin.name} {package.version}, not {pin}: {bound.reason}")
    return tuple(reasons)
