"""Which preset a checkpoint is of, from its config.json."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vacc_gen import presets
from vacc_gen.schema.errors import CheckpointError, UsageError
from vacc_gen.schema.footprint import count_of
from vacc_gen.schema.geometry import SHAPE, Geometry, geometry_from_config, shape_difference
from vacc_gen.schema.preset import ModelPreset

TEXT_ENCODERS = ("bert", "roberta", "xlm-roberta")
"""`model_type` values of models that `presets.ENCODERS` are of."""


def recognize(folder: Path, config: Mapping[str, Any]) -> tuple[ModelPreset, str]:
    """Return the preset of the checkpoint in `folder`, and a sentence that says how it was found.

    Among presets of the same sizes the folder's name decides, or the name that config.json was
    saved under. Vocabulary and positions count only where they decide.

    Raises:
        CheckpointError: config.json fits no preset, or has no usable sizes.
        UsageError: it fits several that make different files, and no name decides.
    """
    of_type = _of_type(folder, config)
    geometry = geometry_from_config(config)
    seen = f"{folder}: {describe(config, geometry)}"
    fitting = [one for one in of_type if not one.any_size and not differs(one, geometry)]
    fitting = fitting or [one for one in of_type if one.any_size]
    if not fitting:
        near = ", ".join(_nearest(of_type, geometry))
        raise CheckpointError(
            f"{folder} fits no preset: {describe(config, geometry)}",
            hint=f"nearest: {near}; `--model` with one of them says what differs",
        )
    exact = [one for one in fitting if _sizes(one) == geometry] or fitting
    chosen, *others = sorted(exact, key=lambda preset: (len(preset.name), preset.name))
    ambiguous = any(_files_of(chosen) != _files_of(other) for other in others)
    for name, source in _names_of(folder, config):
        for preset in fitting:
            if _key(name) in (_key(preset.name), _key(preset.huggingface_id or "")):
                return preset, f"{seen}: {preset.name}{f', by {source}' if ambiguous else ''}"
    names = [preset.name for preset in (chosen, *others)]
    if ambiguous:
        line = shlex.join(["vacc-gen", "new", "--model", names[0], "--checkpoint", str(folder)])
        raise UsageError(
            f"{folder} may be any of {len(names)} models: {describe(config, geometry)}",
            hint=f"it fits {_phrase(names)}; say which, such as `{line}`",
        )
    alike = f" (as {_phrase(names[1:])} would be)" if others else ""
    return chosen, f"{seen}: {chosen.name}{alike}"


def describe(config: Mapping[str, Any], geometry: Geometry) -> str:
    """Return what a config.json says of its model, in one line."""
    g = geometry
    return (
        f"model_type {config.get('model_type')}, {g.layers} layers of width {g.hidden_size}, "
        f"{g.attention_heads} attention heads of {g.head_size} on "
        f"{count_of(g.kv_heads, 'KV head')}, a vocabulary of {g.vocab_size}"
    )


def differs(preset: ModelPreset, geometry: Geometry) -> str | None:
    """Return the sizes in which a checkpoint is another model than the preset's, in words."""
    return None if preset.any_size else shape_difference(preset.geometry, geometry)


def _of_type(folder: Path, config: Mapping[str, Any]) -> list[ModelPreset]:
    """Return the presets of a config's `model_type`; raises CheckpointError where there is none."""
    model_type = config.get("model_type")
    found = [preset for preset in presets.MODELS.all() if model_type in preset.model_types]
    if found:
        return found
    if model_type in TEXT_ENCODERS:
        hint = "a text encoder needs no workspace: `vacc-gen presets config` prints its config"
    else:
        hint = "no known model has this model_type; `vacc-gen presets list` names them"
    kind = f"model_type {model_type}" if model_type else "no model_type in its config.json"
    raise CheckpointError(f"{folder} fits no preset: {kind}", hint)


def _names_of(folder: Path, config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield names that a checkpoint goes by, each with where it stands."""
    # Not resolved: a weight folder is often a link, whose name is the model's.
    parts = Path(os.path.abspath(folder)).parts  # noqa: PTH100
    for part in reversed(parts):
        if part.startswith("models--"):  # Hugging Face's cache: models--OWNER--NAME/snapshots/HASH
            yield part.rpartition("--")[2], "the folder's name"
    yield parts[-1], "the folder's name"
    yield str(config.get("_name_or_path", "")).rstrip("/"), "the name in its config.json"


def _key(name: str) -> str:
    """Return what makes names equal: Llama 3 has been called with and without `Meta-`."""
    return name.rpartition("/")[2].casefold().removeprefix("meta-")


def _sizes(preset: ModelPreset) -> Geometry:
    return preset.geometry.model_copy(update={"parameters": None})


def _files_of(preset: ModelPreset) -> tuple[object, ...]:
    """Return what decides the files of a workspace, apart from names."""
    return (preset.family, preset.sources, preset.recommended, preset.environment)


def _nearest(candidates: list[ModelPreset], geometry: Geometry, count: int = 3) -> list[str]:
    """Return the presets whose sizes come closest, each size in proportion."""

    def distance(preset: ModelPreset) -> float:
        pairs = ((getattr(preset.geometry, name), getattr(geometry, name)) for name in SHAPE)
        return sum(abs(math.log(expected / found)) for expected, found in pairs)

    return [preset.name for preset in sorted(candidates, key=distance)[:count]]


def _phrase(names: Sequence[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
