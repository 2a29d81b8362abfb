"""What a recipe asks of the compiler's environment, and whether a lock satisfies it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

from packaging.version import InvalidVersion, Version

from vacc_gen import presets
from vacc_gen.schema.errors import UnreadableError
from vacc_gen.schema.packages import (
    Companion,
    Pin,
    PinProblem,
    added_bounds,
    effective_pins,
    normalized_name,
    parse_pin,
    pin_problems,
)
from vacc_gen.schema.recipe import Environment

RECIPE_SOURCE = "vacc.yaml"

_LOCKED = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==(?P<version>[^\s;\\]+)"
    r".*--hash=sha256:[0-9a-f]{64}\b"
)


@dataclass(frozen=True)
class Requirements:
    """Everything that a lock must satisfy."""

    python: str
    platform: str
    by_source: Mapping[str, tuple[Pin, ...]]
    """The pins by who asks for them."""
    bounds: tuple[Companion, ...] = ()
    """Whose `needs` we add so that what resolves also runs."""

    @property
    def pins(self) -> tuple[Pin, ...]:
        """All pins."""
        return tuple(chain.from_iterable(self.by_source.values()))

    def problems(self) -> tuple[PinProblem, ...]:
        """Return what is known to be wrong with the pins."""
        return pin_problems(self.pins, self.python, presets.pin_facts())


def requirements_of(environment: Environment) -> Requirements:
    """Return what a recipe asks: its own pins, its preset's, and the bounds that follow.

    Raises:
        UsageError: there is no such environment preset.
    """
    preset = presets.ENVIRONMENTS.find(environment.preset)
    own = [parse_pin(text) for text in environment.pins]
    pins = effective_pins([parse_pin(text) for text in preset.asked], own)
    by_source = {
        preset.asked_source: tuple(pin for pin in pins if pin not in own),
        RECIPE_SOURCE: tuple(own),
    }
    return Requirements(
        python=environment.python,
        platform=environment.platform,
        by_source={source: pins for source, pins in by_source.items() if pins},
        bounds=added_bounds(pins, presets.pin_facts()),
    )


def locked_packages(text: str, where: str) -> dict[str, Version]:
    """Read a lock in pip's format: `name==version`, with hashes on the lines that follow.

    `where` is how messages call it.

    Raises:
        UnreadableError: a line is none of those, or a package is pinned twice.
    """
    packages: dict[str, Version] = {}
    for line in text.replace("\\\n", " ").splitlines():
        line = line.split(" #")[0].strip()
        if not line or line.startswith("#"):
            continue
        match = _LOCKED.match(line)
        name = normalized_name(match["name"]) if match else ""
        try:
            if match is None or name in packages:
                raise InvalidVersion
            packages[name] = Version(match["version"])
        except InvalidVersion as error:
            raise UnreadableError(
                f"{where} is not a lock: {line[:60]!r} is not a package at one version with hashes",
                hint="`vacc-gen lock` writes it again",
            ) from error
    return packages


def unsatisfied(wanted: Requirements, packages: Mapping[str, Version]) -> tuple[str, ...]:
    """Return what `wanted` asks and the locked packages do not satisfy, each in one phrase."""
    missing = [f"it lacks {pin}" for pin in wanted.pins if pin.name not in packages]
    checked = [(pin, "") for pin in wanted.pins]
    checked += [(bound.needs, f": {bound.reason}") for bound in wanted.bounds]
    other = [
        f"it has {pin.name} {packages[pin.name]}, not {pin}{reason}"
        for pin, reason in checked
        if pin.name in packages and packages[pin.name] not in pin.versions
    ]
    return (*missing, *other)
