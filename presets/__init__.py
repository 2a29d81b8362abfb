"""What is known good: models, encoders, cards, calibration sets, environments; a YAML file each.

A preset is found by its file name, and its file read when it is asked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from vacc_gen.schema.errors import UsageError

if TYPE_CHECKING:
    from vacc_gen.schema import preset
    from vacc_gen.schema.geometry import Geometry
    from vacc_gen.schema.packages import PinFacts

_Preset = TypeVar("_Preset", bound="preset.Preset")
FOLDER = Path(__file__).parent
OLDER_KEYS = FOLDER / "older_keys.yaml"


class Shelf(Generic[_Preset]):
    """The presets of one kind. Their typed model is imported when one is loaded."""

    def __init__(self, folder: str, type_name: str, noun: str) -> None:
        self.folder = FOLDER / folder
        self._type_name, self._noun = type_name, noun

    @cache  # noqa: B019  # one shelf of each kind exists, for as long as the program
    def names(self) -> tuple[str, ...]:
        return tuple(sorted((path.stem for path in self.folder.glob("*.yaml")), key=str.casefold))

    def get(self, name: str) -> _Preset | None:
        """Return the preset called `name`, in any mix of capitals; None without one."""
        return next(map(self._load, self._spelled(name)), None)

    def find(self, name: str, option: str = "") -> _Preset:
        found = self.get(name)
        if found is None:
            raise _unknown(name, self.names(), f"{option}no {self._noun}")
        return found

    def all(self) -> tuple[_Preset, ...]:
        return tuple(self._load(name) for name in self.names())

    def text(self, name: str, suffix: str = "yaml") -> str:
        return (self.folder / f"{name}.{suffix}").read_text(encoding="utf-8")

    def values(self, name: str) -> dict[str, Any]:
        """Return what the file of a preset says, unchecked; nothing without one."""
        return next((_read(self.text(known)) for known in self._spelled(name)), {})

    def _spelled(self, name: str) -> list[str]:
        return [known for known in self.names() if known.casefold() == name.casefold()]

    @cache  # noqa: B019  # as above
    def _load(self, name: str) -> _Preset:
        from vacc_gen.schema import preset

        preset_type: type[_Preset] = getattr(preset, self._type_name)
        return preset_type.model_validate_json(json.dumps(_read(self.text(name))))


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
    """What the linter may know of models, cards and packages: its protocol `Known`."""

    def __init__(self) -> None:
        self.model, self.card, self.environment = MODELS.get, CARDS.get, ENVIRONMENTS.get

    def geometry(self, model: str) -> Geometry | None:
        from vacc_gen.schema.geometry import Geometry

        values = MODELS.values(model)  # the typed preset costs more than a whole check
        sizes = None if values.get("any_size") else values.get("geometry")
        return Geometry.model_validate(sizes) if sizes else None

    def names(self, shelf: str) -> Sequence[str]:
        return SHELVES[shelf].names()

    @cache  # noqa: B019  # as above
    def pin_facts(self) -> PinFacts:
        from vacc_gen.schema.packages import PinFacts  # slow: for the rules that ask

        return PinFacts.model_validate(_read((FOLDER / "pins.yaml").read_text(encoding="utf-8")))


KNOWN = KnownPresets()
pin_facts = KNOWN.pin_facts


def load(name: str, option: str = "") -> preset.ModelPreset:
    """Return the preset of a model, by its name or its Hugging Face id, in any mix of capitals.

    Raises:
        UsageError: there is none; the hint has the nearest names.
    """
    if "/" in name:
        for known in MODELS.all():
            if str(known.huggingface_id).casefold() == name.casefold():
                return known
    return MODELS.find(name, option)


def locate(name: str) -> tuple[str, str]:
    """Return the kind of the preset called `name`, and its spelling; raises UsageError."""
    for kind, shelf in SHELVES.items():
        if found := shelf.get(name):
            return kind, found.name
    every = (known for shelf in SHELVES.values() for known in shelf.names())
    raise _unknown(name, every, "no preset")


def _read(text: str) -> dict[str, Any]:
    import yaml  # not for the shell's completion of names

    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # type: ignore[no-any-return]


def _unknown(name: str, known: Iterable[str], none: str) -> UsageError:
    """Return an error with up to three names: of the same words and numbers, or spelled alike."""
    from difflib import get_close_matches

    asked = _words(name.rpartition("/")[2])
    by_key = {candidate.casefold(): candidate for candidate in sorted(known, key=len)}
    near = [key for key in by_key if asked and {*asked} <= {*_words(key)}]
    near.sort(key=lambda key: not key.startswith(asked[0]))
    near += get_close_matches("-".join(asked), by_key)
    names = " or ".join([by_key[key] for key in dict.fromkeys(near)][:3])
    hint = f"did you mean {names}?" if names else "`vacc-gen presets list` names all"
    return UsageError(f"{none} is called {name!r}", hint)


def _words(name: str) -> list[str]:
    """Return the words and numbers of a name: of `llama3` llama and 3."""
    return re.findall(r"[^\W\d_]+|\d+", name.casefold())
