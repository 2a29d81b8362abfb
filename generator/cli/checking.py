"""What `validate` knows beyond the files: presets, and the options in pyproject.toml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vacc_gen.schema.packages import PinFacts


class PresetModels:
    """What presets/ knows of models and cards, read without building their typed presets.

    Typed presets need pydantic, which would cost `validate` more than all the rest of its work.
    """

    def geometry(self, model: str) -> Mapping[str, Any] | None:
        """Return a model's sizes by its preset's name, in any mix of capitals."""
        values = self._values("models", model)
        sizes: Mapping[str, Any] | None = values.get("geometry")
        return None if values.get("any_size") else sizes

    def is_verified(self, model: str) -> bool:
        """Whether the sizes of the model called `model` are sure."""
        source: Mapping[str, Any] = self._values("models", model).get("geometry_source", {})
        return source.get("verified") is True

    def names(self, shelf: str) -> Sequence[str]:
        """Return the names of all presets of a kind: models or cards."""
        return [file.stem for file in self._files(shelf)]

    def die_memory_bytes(self, card: str) -> int | None:
        """Return the memory of one die of a card, or None."""
        memory_bytes: int | None = self._values("cards", card).get("die_memory_bytes")
        return memory_bytes

    def pin_facts(self) -> PinFacts:
        """Return what is known of packages beside each other, and of their wheels."""
        from vacc_gen.schema.lint.document import load
        from vacc_gen.schema.packages import PinFacts

        folder = self._folder()
        if folder is None:
            return PinFacts()
        file = folder / "pins.yaml"
        return PinFacts.from_values(load(file.read_bytes(), str(file)).values)

    def environment_pins(self, preset: str) -> Sequence[str]:
        """Return the requirements of an environment preset; none where there is no such preset."""
        asked: Sequence[str] = self._values("environments", preset).get("asked", ())
        return asked

    @cache  # noqa: B019  # one exists, for as long as the program
    def _files(self, shelf: str) -> list[Path]:
        folder = self._folder()
        return sorted((folder / shelf).glob("*.yaml")) if folder else []

    def _folder(self) -> Path | None:
        from importlib.util import find_spec

        room = find_spec("vacc_gen.presets")
        folders = room.submodule_search_locations if room else None
        return Path(folders[0]) if folders else None

    @cache  # noqa: B019  # as above
    def _values(self, shelf: str, name: str) -> Mapping[str, Any]:
        from vacc_gen.schema.lint.document import load

        for file in self._files(shelf):
            if file.stem.casefold() == name.casefold():
                values: Mapping[str, Any] = load(file.read_bytes(), str(file)).values
                return values
        return {}
