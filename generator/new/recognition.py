"""Which preset a checkpoint is of, from its config.json."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vacc_gen import presets
from vacc_gen.schema.checkpoint_facts import SHAPE, shape_difference
from vacc_gen.schema.errors import CheckpointError, UsageError
from vacc_gen.schema.geometry import Geometry, geometry_from_config
from vacc_gen.schema.preset import ModelPreset

TEXT_ENCODERS = ("bert", "roberta", "xlm-roberta")
"""`model_type` values of models that `presets.ENCODERS` are of."""


class AmbiguousModelError(UsageError):
    """A config.json fits presets that make different files, and no name decides."""

    def __init__(self, folder: Path, seen: str, candidates: tuple[str, ...]) -> None:
        line = shlex.join(
            ["vacc-gen", "new", "--model", candidates[0], "--checkpoint", str(folder)]
        )
        super().__init__(
            f"{folder} may be any of {len(candidates)} models: {seen}",
            hint=f"it fits {listed(candidates)}; say which, such as `{line}`",
        )
        self.candidates = candidates


@dataclass(frozen=True)
class Recognized:
    """A checkpoint's preset, and how we came to it."""

    preset: ModelPreset
    seen: str
    """What config.json says, in words."""
    equals: tuple[str, ...]
    """Other presets that would make the same files but for the name and the download."""
    decided_by: str | None = None
    """Which name chose among presets that make different files; None where none had to."""

    def sentence(self, folder: Path) -> str:
        """Say what was seen and what it is."""
        told = f"{folder}: {self.seen}: {self.preset.name}"
        if self.decided_by is not None:
            return f"{told}, by {self.decided_by}"
        return f"{told} (as {listed(self.equals)} would be)" if self.equals else told


def recognize(folder: Path, config: Mapping[str, Any]) -> Recognized:
    """Find the preset of the checkpoint in `folder`, whose config.json is `config`.

    Presets of the same sizes are told apart by the folder's name or the name that config.json
    was saved under. Vocabulary and positions count only where they decide.

    Raises:
        CheckpointError: config.json fits no preset, or has no usable sizes.
        AmbiguousModelError: it fits several that are not alike.
    """
    of_type = [one for one in presets.MODELS.all() if config.get("model_type") in one.model_types]
    if not of_type:
        raise CheckpointError(f"{folder} fits no preset: {_kind(config)}", _on_model_type(config))
    try:
        geometry = geometry_from_config(config)
    except CheckpointError as error:
        raise CheckpointError(f"{folder} ({_kind(config)}): {error.message}", error.hint) from error
    seen = describe(config, geometry)
    fitting = [one for one in of_type if not one.any_size and not differs(one, geometry)]
    fitting = fitting or [one for one in of_type if one.any_size]
    if not fitting:
        raise CheckpointError(
            f"{folder} fits no preset: {seen}",
            hint=f"nearest: {', '.join(_nearest(of_type, geometry))}; `--model` with one of them "
            "says what differs",
        )
    chosen, *others = sorted(
        _of_exact_sizes(fitting, geometry), key=lambda one: (len(one.name), one.name)
    )
    unlike = any(_alike(chosen) != _alike(other) for other in others)
    for name, source in _names_of(folder, config):
        for one in fitting:
            if _key(name) in (_key(one.name), _key(one.huggingface_id or "")):
                return Recognized(one, seen, (), source if unlike else None)
    if unlike:
        raise AmbiguousModelError(folder, seen, tuple(one.name for one in (chosen, *others)))
    return Recognized(chosen, seen, tuple(other.name for other in others))


def describe(config: Mapping[str, Any], geometry: Geometry) -> str:
    """Return what a config.json says of its model, in one line."""
    g = geometry
    return (
        f"model_type {config.get('model_type')}, {g.layers} layers of width {g.hidden_size}, "
        f"{g.attention_heads} attention heads of {g.head_size} on {g.kv_heads} KV "
        f"{'head' if g.kv_heads == 1 else 'heads'}, a vocabulary of {g.vocab_size}"
    )


def differs(preset: ModelPreset, geometry: Geometry) -> str | None:
    """Return the sizes in which a checkpoint is another model than the preset's, in words."""
    if preset.any_size:
        return None
    return shape_difference(preset.geometry.model_dump(), geometry.model_dump())


def listed(names: Sequence[str]) -> str:
    """Return names as a phrase: `a`, `a and b`, `a, b and c`."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _names_of(folder: Path, config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield names that a checkpoint goes by, each with where it stands."""
    # Not resolved: a weight folder is often a link, whose name is the model's.
    for part in reversed(Path(os.path.abspath(folder)).parts):  # noqa: PTH100
        if part.startswith("models--"):  # Hugging Face's cache: models--OWNER--NAME/snapshots/HASH
            yield part.rpartition("--")[2], "the folder's name"
    yield os.path.basename(os.path.abspath(folder)), "the folder's name"  # noqa: PTH100, PTH119
    yield str(config.get("_name_or_path", "")).rstrip("/"), "the name in its config.json"


def _key(name: str) -> str:
    """Return what makes names equal: Llama 3 has been called with and without `Meta-`."""
    return name.rpartition("/")[2].casefold().removeprefix("meta-")


def _of_exact_sizes(fitting: list[ModelPreset], geometry: Geometry) -> list[ModelPreset]:
    """Keep those that also have the vocabulary and the positions, if any has."""
    exact = [
        one for one in fitting if one.geometry.model_copy(update={"parameters": None}) == geometry
    ]
    return exact or fitting


def _kind(config: Mapping[str, Any]) -> str:
    model_type = config.get("model_type")
    return "no model_type in its config.json" if model_type is None else f"model_type {model_type}"


def _on_model_type(config: Mapping[str, Any]) -> str:
    if config.get("model_type") in TEXT_ENCODERS:
        return "a text encoder needs no workspace: `vacc-gen presets config` prints its config"
    return "no model that vacc-gen knows has this model_type; `vacc-gen presets list` names them"


def _alike(preset: ModelPreset) -> tuple[object, ...]:
    """What decides the files of a workspace, apart from names."""
    return (preset.family, preset.sources, preset.recommended, preset.environment)


def _nearest(candidates: list[ModelPreset], geometry: Geometry, count: int = 3) -> list[str]:
    """Names of the presets whose sizes come closest, each size in proportion."""

    def distance(preset: ModelPreset) -> float:
        pairs = ((getattr(preset.geometry, name), getattr(geometry, name)) for name in SHAPE)
        return sum(abs(math.log(ours / theirs)) for ours, theirs in pairs)

    return [preset.name for preset in sorted(candidates, key=distance)[:count]]
