"""What is known good: models, encoders, cards, calibration sets, environments; a YAML file each.

A preset is found by its file name, so adding one means adding a file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import yaml

from vacc_gen.schema.compatibility import PinFacts
from vacc_gen.schema.errors import UsageError
from vacc_gen.schema.preset import (
    CalibrationSet,
    Card,
    EncoderPreset,
    EnvironmentPreset,
    ModelPreset,
    ServedModel,
)
from vacc_gen.schema.strict import Strict

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_Preset = TypeVar("_Preset", bound=Strict)
_Loader: type[yaml.SafeLoader] | type[yaml.CSafeLoader] = getattr(
    yaml, "CSafeLoader", yaml.SafeLoader
)


SHOWN_NAMES = 12
"""More than these do not go into a hint."""


class Shelf(Generic[_Preset]):
    """All presets of one kind. Reads a file only when its preset is asked for."""

    def __init__(self, folder: str, preset_type: type[_Preset], noun: str) -> None:
        self._folder = folder
        self._preset_type = preset_type
        self._noun = noun

    @cache  # noqa: B019  # one shelf of each kind exists, for as long as the program
    def names(self) -> tuple[str, ...]:
        """Names in alphabetical order."""
        entries = (entry.name for entry in _room(self._folder).iterdir())
        names = (name[: -len(".yaml")] for name in entries if name.endswith(".yaml"))
        return tuple(sorted(names, key=str.casefold))

    def __contains__(self, name: str) -> bool:
        """Whether there is a preset called `name`, in any mix of capitals."""
        return name.casefold() in (known.casefold() for known in self.names())

    def find(self, name: str) -> _Preset:
        """Return the preset called `name`, in any mix of capitals.

        Raises:
            UsageError: there is none; the hint has the nearest names.
        """
        return self._load(_known(name, self.names(), self._noun))

    def all(self) -> tuple[_Preset, ...]:
        """Every preset, in the order of `names`."""
        return tuple(self._load(name) for name in self.names())

    def text(self, name: str) -> str:
        """Return the YAML of the preset called exactly `name`."""
        return (_room(self._folder) / f"{name}.yaml").read_text(encoding="utf-8")

    @cache  # noqa: B019  # as above
    def _load(self, name: str) -> _Preset:
        values = yaml.load(self.text(name), Loader=_Loader)
        return self._preset_type.model_validate_json(json.dumps(values))


MODELS = Shelf("models", ModelPreset, "model")
ENCODERS = Shelf("encoders", EncoderPreset, "encoder")
SERVED = Shelf("served", ServedModel, "served model")
CARDS = Shelf("cards", Card, "card")
CALIBRATION_SETS = Shelf("calibration", CalibrationSet, "calibration set")
ENVIRONMENTS = Shelf("environments", EnvironmentPreset, "environment")
SHELVES: dict[str, Shelf[Any]] = {
    "models": MODELS,
    "encoders": ENCODERS,
    "served": SERVED,
    "cards": CARDS,
    "calibration": CALIBRATION_SETS,
    "environments": ENVIRONMENTS,
}


class _Known:
    """What the validator may know of models and packages: `schema.subject.Known`."""

    def geometry(self, model: str) -> Mapping[str, Any] | None:
        """Return the sizes of the model called `model`, in any mix of capitals, or None."""
        preset = MODELS.find(model) if model in MODELS else None
        return None if preset is None or preset.any_size else preset.geometry.model_dump()

    def is_verified(self, model: str) -> bool:
        """Whether the sizes of the model called `model` are sure."""
        return model in MODELS and MODELS.find(model).geometry_source.verified

    def names(self, shelf: str) -> Sequence[str]:
        """Return the names of all presets of a kind."""
        return SHELVES[shelf].names()

    def vendor_files(self, model: str) -> Sequence[str]:
        """Return the files beside the weights of a preset's model that the vendor publishes."""
        sources = MODELS.find(model).sources if model in MODELS else ()
        return [source.name for source in sources if not source.generated]

    def die_memory_bytes(self, card: str) -> int | None:
        """Return the memory of one die of a card, or None."""
        return CARDS.find(card).die_memory_bytes if card in CARDS else None

    def pin_facts(self) -> PinFacts:
        """Return what is known of packages beside each other, and of their wheels."""
        return pin_facts()

    def environment_pins(self, preset: str) -> Sequence[str]:
        """Return the requirements of an environment preset; none where there is no such preset."""
        return ENVIRONMENTS.find(preset).asked if preset in ENVIRONMENTS else ()


KNOWN = _Known()


def locate(name: str) -> tuple[str, str]:
    """Return the kind of the preset called `name`, and its name as it is spelled.

    Raises:
        UsageError: there is none; the hint has the nearest names.
    """
    kind_of = {known: kind for kind, shelf in SHELVES.items() for known in shelf.names()}
    known = _known(name, kind_of, "preset")
    return kind_of[known], known


def environment_lock(name: str) -> str:
    """Return the resolved packages called `name`, one or more hashes each."""
    return (_room("environments") / f"{name}.txt").read_text(encoding="utf-8")


@cache
def pin_facts() -> PinFacts:
    """Return what is known of packages beside each other, and of their wheels."""
    text = (files(__name__) / "pins.yaml").read_text(encoding="utf-8")
    return PinFacts.from_values(yaml.load(text, Loader=_Loader))


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Return up to `count` of `known` that `name` may have been meant for, likeliest first."""
    from difflib import get_close_matches

    by_key = {candidate.casefold(): candidate for candidate in known}
    key = name.casefold()
    close = get_close_matches(key, by_key, n=count, cutoff=0.6)
    inside = [candidate for candidate in sorted(by_key) if key and key in candidate]
    return [by_key[candidate] for candidate in dict.fromkeys([*close, *inside])][:count]


def _known(name: str, names: Iterable[str], noun: str) -> str:
    """Return the spelling of `name` in `names`."""
    by_key = {known.casefold(): known for known in names}
    if name.casefold() in by_key:
        return by_key[name.casefold()]
    near = nearest(name, by_key.values())
    raise UsageError(
        f"no {noun} is called {name!r}",
        hint=f"did you mean {' or '.join(near)}?" if near else _all_of(list(by_key.values())),
    )


def _all_of(names: list[str]) -> str:
    if len(names) > SHOWN_NAMES:
        return "`vacc-gen presets list` names them"
    return f"known: {', '.join(names)}"


def _room(folder: str) -> Traversable:
    return files(__name__) / folder
