"""vacc.yaml as `new` writes it: what was chosen, and the defaults that one is likely to change."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import join

from vacc_gen.generator.emit.editor import RECIPE_SCHEMA_PATH
from vacc_gen.generator.emit.yaml_text import sections
from vacc_gen.schema.recipe import Recipe

_ALWAYS = ("version", "model", "precisions", "target", "environment")


def recipe_text(recipe: Recipe, command: Sequence[str]) -> str:
    """Return a recipe as text; `command` is the command line that made it, without secrets.

    The command must not hold line breaks: it becomes a comment.
    """
    chosen = recipe.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    shown = recipe.model_dump(mode="json", exclude_none=True)
    values = {key: shown[key] for key in shown if key in _ALWAYS or key in chosen}
    if not recipe.environment.pins:
        del values["environment"]["pins"]
    return (
        f"# {join(command)}\n"
        f"# yaml-language-server: $schema={RECIPE_SCHEMA_PATH}\n"
        f"{sections(values)}"
    )
