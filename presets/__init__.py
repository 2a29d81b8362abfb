"""What is known good: models, encoders, cards, calibration sets, environments; a YAML file each.

A preset is found by its file name, so adding one means adding a file. Names cost a look into a
folder; a file is read when its preset is asked for, and pydantic is loaded by `load` and `find`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import yaml

from vacc_gen.schema.errors import UsageError

if TYPE_CHECKING:
    from vacc_gen.schema import preset
    from vacc_gen.schema.geometry import Geometry
    from vacc_gen.schema.packages import PinFacts

_Preset = TypeVar("_Preset", bound="preset.Preset")
FOLDER = Path(__file__).parent


class Shelf(Generic[_Preset]):
    """All presets of one kind."""

    def __init__(self, folder: str, type_name: str, noun: str) -> None:
        self.folder = FOLDER / folder
        self._type_name = type_name
        self._noun = noun

    @cache  # noqa: B019  # one shelf of each kind exists, for as long as the program
    def names(self) -> tuple[str, ...]:
        """Names in alphabetical order."""
        return tuple(sorted((path.stem for path in self.folder.glob("*.yaml")), key=str.casefold))

    def __contains__(self, name: str) -> bool:
        """Whether there is a preset called `name`, in any mix of capitals."""
        return name.casefold() in (known.casefold() for known in self.names())

    def find(self, name: str) -> _Preset:
        """Return the preset called `name`, in any mix of capitals; raises UsageError."""
        return self._load(_spelling(name, self.names(), self._noun))

    def all(self) -> tuple[_Preset, ...]:
        """Every preset, in the order of `names`."""
        return tuple(self._load(name) for name in self.names())

    def text(self, name: str) -> str:
        """Return the YAML of the preset called exactly `name`."""
        return (self.folder / f"{name}.yaml").read_text(encoding="utf-8")

    @cache  # noqa: B019  # as above
    def values(self, name: str) -> Mapping[str, Any]:
        """Return what the file of a preset says, unchecked; nothing where there is no preset."""
        spelled = (known for known in self.names() if known.casefold() == name.casefold())
        return next((_read(self.text(known)) for known in spelled), {})

    @cache  # noqa: B019  # as above
    def _load(self, name: str) -> _Preset:
        from vacc_gen.schema import preset

        preset_type: type[_Preset] = getattr(preset, self._type_name)
        return preset_type.model_validate_json(json.dumps(self.values(name)))


MODELS: Shelf[preset.ModelPreset] = Shelf("models", "ModelPreset", "model")
ENCODERS: Shelf[preset.EncoderPreset] = Shelf("encoders", "EncoderPreset", "encoder")
SERVED: Shelf[preset.ServedModel] = Shelf("served", "ServedModel", "served model")
CARDS: Shelf[preset.Card] = Shelf("cards", "Card", "card")
CALIBRATION_SETS: Shelf[preset.CalibrationSet] = Shelf(
    "calibration", "CalibrationSet", "calibration set"
)
ENVIRONMENTS: Shelf[preset.EnvironmentPreset] = Shelf(
    "environments", "EnvironmentPreset", "environment"
)
SHELVES: dict[str, Shelf[Any]] = {
    shelf.folder.name: shelf
    for shelf in (MODELS, ENCODERS, SERVED, CARDS, CALIBRATION_SETS, ENVIRONMENTS)
}


class KnownPresets:
    """What the linter may know of models, cards and packages, without building typed presets."""

    def geometry(self, model: str) -> Geometry | None:
        """Return the sizes of a model, by the name of its preset; None without one."""
        from vacc_gen.schema.geometry import Geometry

        values = MODELS.values(model)
        sizes = None if values.get("any_size") else values.get("geometry")
        return Geometry.model_validate(sizes) if sizes else None

    def is_verified(self, model: str) -> bool:
        """Whether the sizes of a model are sure."""
        return MODELS.values(model).get("geometry_source", {}).get("verified") is True

    def names(self, shelf: str) -> Sequence[str]:
        """Return the names of all presets of a kind, a key of `SHELVES`."""
        return SHELVES[shelf].names()

    def vendor_files(self, model: str) -> Sequence[str]:
        """Return the files beside the weights of a preset's model that the vendor publishes."""
        sources = MODELS.find(model).sources if model in MODELS else ()
        return [source.name for source in sources if not source.generated]

    def die_memory_bytes(self, card: str) -> int | None:
        """Return the memory of one die of a card, or None."""
        return CARDS.values(card).get("die_memory_bytes")

    @cache  # noqa: B019  # as above
    def pin_facts(self) -> PinFacts:
        """Return what is known of packages beside each other, and of their wheels."""
        from vacc_gen.schema.packages import PinFacts

        return PinFacts.from_values(_read((FOLDER / "pins.yaml").read_text(encoding="utf-8")))

    def environment_pins(self, preset: str) -> Sequence[str]:
        """Return the requirements of an environment preset; none where there is no such preset."""
        pins: Sequence[str] = ENVIRONMENTS.values(preset).get("asked", ())
        return pins


KNOWN = KnownPresets()
pin_facts = KNOWN.pin_facts


def load(name: str) -> preset.ModelPreset:
    """Return the preset of a model, by its name or its Hugging Face id, in any mix of capitals.

    Raises:
        UsageError: there is none; the hint has the nearest names.
    """
    if "/" in name:
        for known in MODELS.names():
            if str(MODELS.values(known).get("huggingface_id")).casefold() == name.casefold():
                return MODELS.find(known)
    return MODELS.find(name)


def locate(name: str) -> tuple[str, str]:
    """Return the kind of the preset called `name`, and its spelling; raises UsageError."""
    kind_of = {known: kind for kind, shelf in SHELVES.items() for known in shelf.names()}
    known = _spelling(name, kind_of, "preset")
    return kind_of[known], known


def environment_lock(name: str) -> str:
    """Return the resolved packages called `name`, one or more hashes each."""
    return (FOLDER / "environments" / f"{name}.txt").read_text(encoding="utf-8")


def _read(text: str) -> dict[str, Any]:
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # type: ignore[no-any-return]


def _spelling(name: str, names: Iterable[str], noun: str) -> str:
    """Return `name` in the capitals that it has in `names`."""
    by_key = {known.casefold(): known for known in names}
    if name.casefold() in by_key:
        return by_key[name.casefold()]
    near = " or ".join(_nearest(name, by_key.values()))
    hint = f"did you mean {near}?" if near else "`vacc-gen presets list` names all"
    raise UsageError(f"no {noun} is called {name!r}", hint)


def _nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Return up to `count` names: first those that contain `name`, then those spelled like it.

    Punctuation does not count, so `llama3` is in Meta-Llama-3-8B; numbers are whole ones, so it is
    not in LLaMA-33B.
    """
    by_key = {candidate.casefold(): candidate for candidate in sorted(known, key=len)}
    key = name.casefold().rpartition("/")[2]
    pattern = "[-_.]*".join(mark for mark in key if mark.isalnum())
    pattern += r"(?!\d)" if key[-1:].isdigit() else ""
    containing = [one for one in by_key if len(pattern) > 1 and re.search(pattern, one)]
    close = get_close_matches(key, by_key, n=count, cutoff=0.6)
    return [by_key[one] for one in dict.fromkeys([*containing, *close])][:count]
