"""Which preset a checkpoint is of, from its config.json."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vacc_gen import presets
from vacc_gen.schema.checkpoint_facts import SHAPE, shape_difference
from vacc_gen.schema.errors import CheckpointError, UsageError
from vacc_gen.schema.model import Geometry, geometry_from_config
from vacc_gen.schema.preset import ModelPreset

SHOWN_CANDIDATES = 8


@dataclass(frozen=True)
class Recognized:
    """A checkpoint's preset, and how we came to it."""

    preset: ModelPreset
    seen: str
    """What config.json says, in words."""
    equals: tuple[str, ...]
    """Other presets that would make the same files but for the name and the download."""


def recognize(folder: Path, config: Mapping[str, Any]) -> Recognized:
    """Find the preset of the checkpoint in `folder`, whose config.json is `config`.

    Presets of the same sizes are told apart by the folder's name or the name that config.json
    was saved under. Vocabulary and positions count only where they decide.

    Raises:
        CheckpointError: config.json fits no preset, or has no usable sizes.
        UsageError: it fits several that are not alike.
    """
    geometry = geometry_from_config(config)
    seen = describe(config, geometry)
    of_type = [one for one in presets.MODELS.all() if config.get("model_type") in one.model_types]
    fitting = [one for one in of_type if not one.any_size and not differs(one, geometry)]
    fitting = fitting or [one for one in of_type if one.any_size]
    if not fitting:
        raise CheckpointError(
            f"{folder} fits no preset: {seen}",
            hint=f"nearest: {', '.join(_nearest(of_type, geometry))}; `--model` with one of them "
            "says what differs"
            if of_type
            else "its model_type is none that vacc-gen knows; `vacc-gen presets list` names them",
        )
    fitting = _narrow(fitting, folder, config, geometry)
    chosen, *others = fitting
    if any(_alike(chosen) != _alike(other) for other in others):
        names = [one.name for one in fitting]
        more = f" and {len(names) - SHOWN_CANDIDATES} more" if len(names) > SHOWN_CANDIDATES else ""
        raise UsageError(
            f"{folder} may be one of several models: {seen}",
            hint=f"say which with --model: {', '.join(names[:SHOWN_CANDIDATES])}{more}",
        )
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


def _narrow(
    fitting: list[ModelPreset], folder: Path, config: Mapping[str, Any], geometry: Geometry
) -> list[ModelPreset]:
    """Keep those that a name, or else every size, speaks for; the shortest name first."""
    # Not resolved: a weight folder is often a link, whose name is the model's.
    folder_name = os.path.basename(os.path.abspath(folder))  # noqa: PTH100, PTH119
    saved_as = str(config.get("_name_or_path", "")).rstrip("/").rpartition("/")[2]
    named = [
        one
        for hint in (folder_name, saved_as)
        for one in fitting
        if one.name.casefold() == hint.casefold()
    ]
    exact = [
        one for one in fitting if one.geometry.model_copy(update={"parameters": None}) == geometry
    ]
    return sorted(named[:1] or exact or fitting, key=lambda one: (len(one.name), one.name))


def _alike(preset: ModelPreset) -> tuple[object, ...]:
    """What decides the files of a workspace, apart from names."""
    return (preset.family, preset.sources, preset.recommended, preset.environment)


def _nearest(candidates: list[ModelPreset], geometry: Geometry, count: int = 3) -> list[str]:
    """Names of the presets whose sizes come closest, each size in proportion."""

    def distance(preset: ModelPreset) -> float:
        pairs = ((getattr(preset.geometry, name), getattr(geometry, name)) for name in SHAPE)
        return sum(abs(math.log(ours / theirs)) for ours, theirs in pairs)

    return [preset.name for preset in sorted(candidates, key=distance)[:count]]
