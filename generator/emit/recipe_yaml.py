"""vacc.yaml as `new` writes it: what was chosen, and the defaults that one is likely to change."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from shlex import join

from vacc_gen.generator.emit.yaml_text import sections
from vacc_gen.schema.recipe import Recipe

RECIPE_SCHEMA_PATH = PurePosixPath(".vacc-gen", "recipe.schema.json")
"""Where editors find the JSON Schema that the first lines of vacc.yaml name."""

_WHOLE = ("version", "model", "precisions", "target", "environment")
"""Sections that are written with their defaults; of the others, only what differs is."""


def recipe_text(recipe: Recipe, command: Sequence[str]) -> str:
    """Return a recipe as text, which reads back as the same recipe.

    `command` is the command line that made it. It becomes a comment: no word may hold a line break.
    """
    every = recipe.model_dump(mode="json", exclude_none=True)
    chosen = recipe.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    values = {
        key: value if key in _WHOLE else chosen[key]
        for key, value in every.items()
        if key in _WHOLE or key in chosen
    }
    if not recipe.environment.pins:
        del values["environment"]["pins"]
    if recipe.calibration is not None:
        keys = {*chosen["calibration"], "samples"}
        values["calibration"] = {
            key: value for key, value in every["calibration"].items() if key in keys
        }
    return (
        f"# {join(command)}\n"
        f"# yaml-language-server: $schema={RECIPE_SCHEMA_PATH}\n"
        f"{sections(values)}"
    )
