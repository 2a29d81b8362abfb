"""What editors need to help with vacc.yaml."""

from __future__ import annotations

from importlib.resources import files
from pathlib import PurePosixPath

from vacc_gen.generator.emit.emitted import EmittedFile

RECIPE_SCHEMA_PATH = PurePosixPath(".vacc-gen", "recipe.schema.json")


def recipe_schema() -> EmittedFile:
    """Return the JSON Schema that the first lines of vacc.yaml name."""
    text = (files("vacc_gen.schema") / "recipe.schema.json").read_text(encoding="utf-8")
    return EmittedFile(RECIPE_SCHEMA_PATH, text)
