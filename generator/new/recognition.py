"""Which preset a checkpoint is of, from its config.json."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vacc_gen import presets
from vacc_gen.schema.checkpoint import name_of
from vacc_gen.schema.errors import CheckpointError, UsageError, plural, shell_command
from vacc_gen.schema.geometry import Geometry, geometry_from_config, shape_difference
from vacc_gen.schema.preset import ModelPreset


def recognize(folder: Path, config: Mapping[str, Any]) -> tuple[ModelPreset, str]:
    """Return the preset of the checkpoint in `folder`, and a sentence that says how it was found.

    Among presets of the same sizes the folder's name decides, or the name that config.json was
    saved under. Vocabulary and positions count only where they decide.

    Raises:
        CheckpointError: config.json fits no preset, or has no usable sizes.
        UsageError: it fits several that make different files, and no name decides.
    """
    model_type = config.get("model_type")
    of_type = [preset for preset in presets.MODELS.all() if model_type in preset.model_types]
    if not of_type:
        raise CheckpointError(
            f"{folder} fits no preset: its config.json has model_type {model_type}",
            "`vacc-gen presets list` names the known models; for a text encoder, "
            "`vacc-gen presets config` prints the compile config",
        )
    geometry = geometry_from_config(config)
    seen = describe(config, geometry)
    fitting = [
        one for one in of_type if not one.any_size and not shape_difference(one.geometry, geometry)
    ] or [one for one in of_type if one.any_size]
    if not fitting:
        raise CheckpointError(
            f"{folder} fits no preset: {seen}",
            "`--model` says what differs from a preset; `vacc-gen presets list` names them",
        )
    exact = [one for one in fitting if _sizes(one) == geometry] or fitting
    chosen, *others = sorted(exact, key=lambda preset: (len(preset.name), preset.name))
    ambiguous = any(_files_of(chosen) != _files_of(other) for other in others)
    # Not resolved: a weight folder is often a link, whose name is the model's.
    own_name = name_of(os.path.abspath(folder))  # noqa: PTH100
    saved_as = str(config.get("_name_or_path", "")).rstrip("/")
    for name in map(_key, (own_name, saved_as)):
        for preset in fitting:
            if name in (_key(preset.name), _key(preset.huggingface_id or "")):
                by_name = ", by its name" if ambiguous else ""
                return preset, f"{folder}: {seen}: {preset.name}{by_name}"
    if ambiguous:
        names = [preset.name for preset in (chosen, *others)]
        line = shell_command(["vacc-gen", "new", "--model", names[0], "--checkpoint", str(folder)])
        raise UsageError(
            f"{folder} may be any of {len(names)} models: {seen}",
            hint=f"it fits {', '.join(names)}; say which, such as `{line}`",
        )
    return chosen, f"{folder}: {seen}: {chosen.name}"


def describe(config: Mapping[str, Any], geometry: Geometry) -> str:
    """Return what a config.json says of its model, in one line."""
    g = geometry
    return (
        f"model_type {config.get('model_type')}, {g.layers} layers of width {g.hidden_size}, "
        f"{g.attention_heads} attention heads of {g.head_size} on "
        f"{plural(g.kv_heads, 'KV head')}, a vocabulary of {g.vocab_size}"
    )


def _key(name: str) -> str:
    """Return what makes names equal: Llama 3 has been called with and without `Meta-`."""
    return name.rpartition("/")[2].casefold().removeprefix("meta-")


def _sizes(preset: ModelPreset) -> Geometry:
    return preset.geometry.model_copy(update={"parameters": None})


def _files_of(preset: ModelPreset) -> tuple[object, ...]:
    """Return what decides the files of a workspace, apart from names."""
    return (preset.family, preset.sources, preset.recommended, preset.environment)
