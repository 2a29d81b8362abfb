"""The JSON Schemas (2020-12) of our two file formats, made from the pydantic models.

They are packaged as files: editors read them, and so does the structural check, which thereby does
without pydantic. `python -m vacc_gen.schema.json_schema` writes them again; a test says when.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from vacc_gen.schema.compile_yaml.config import VamcConfig
from vacc_gen.schema.compile_yaml.part import VamcPart
from vacc_gen.schema.recipe import Recipe

FOLDER = Path(__file__).parent
MODELS: dict[str, type[BaseModel]] = {"vamc": VamcConfig, "recipe": Recipe}
TITLES = {"vamc": "Compile YAML of vamc", "recipe": "Recipe of vacc-gen (vacc.yaml)"}


class _Generator(GenerateJsonSchema):
    """As pydantic's, but null is in the schema only where a part of a compile YAML allows it."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        made = super().model_schema(schema)
        part = schema["cls"]
        for name, field in made.get("properties", {}).items():
            field.pop("title", None)
            if issubclass(part, VamcPart):
                if name not in part.NULLABLE:
                    _without_null(field)
                if field.get("default", 0) is None:
                    del field["default"]
        return made


def _without_null(field: dict[str, Any]) -> None:
    options = field.get("anyOf", [])
    kept = [option for option in options if option != {"type": "null"}]
    if len(kept) < len(options):
        del field["anyOf"]
        field.update(kept[0] if len(kept) == 1 else {"anyOf": kept})


def json_schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema called `name`: vamc or recipe."""
    made = MODELS[name].model_json_schema(schema_generator=_Generator)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **made,
        "title": TITLES[name],
    }


def as_text(name: str) -> str:
    """Return the packaged file's text."""
    return json.dumps(json_schema(name), indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write both packaged files."""
    for name in MODELS:
        (FOLDER / f"{name}.schema.json").write_text(as_text(name), encoding="utf-8")


if __name__ == "__main__":
    main()
