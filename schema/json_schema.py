"""The JSON Schemas (2020-12) of our two file formats, made from the pydantic models.

They are packaged as files for editors. `python -m vacc_gen.schema.json_schema` writes them again; a
test says when.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from vacc_gen.schema.compile_yaml.config import CompileConfig
from vacc_gen.schema.recipe import Recipe

FOLDER = Path(__file__).parent
MODELS: dict[str, type[BaseModel]] = {"vamc": CompileConfig, "recipe": Recipe}
TITLES = {"vamc": "Compile YAML of vamc", "recipe": "Recipe of vacc-gen (vacc.yaml)"}
_NULL = {"type": "null"}
_TEXTS, _FILES = "#/$defs/TextDataset", "#/$defs/FileDataset"


def _placed(schema: Any) -> Any:
    """Say with `if` and `then` which form is meant; editors mark all of a `oneOf` as wrong."""
    if isinstance(schema, list):
        return [_placed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _placed(value) for key, value in schema.items()}
    if isinstance(made.get("title"), str):
        del made["title"]
    options = made.pop("oneOf", None)
    references = [option.get("$ref") for option in options or ()]
    if options and "discriminator" in made:
        made |= _chosen(made.pop("discriminator")["mapping"])
    elif options and _TEXTS in references:
        chooses = {"properties": {"type": {"const": "huggingface"}}, "required": ["type"]}
        made |= {"if": chooses, "then": {"$ref": _TEXTS}, "else": {"$ref": _FILES}}
    elif options:
        made["anyOf"] = options
    alternatives = made.get("anyOf", [])
    if len(alternatives) == 2 and _NULL in alternatives:
        del made["anyOf"]
        schema = next(option for option in alternatives if option != _NULL)
        if isinstance(schema.get("type"), str) and not {"enum", "const"} & schema.keys():
            made |= {**schema, "type": [schema["type"], "null"]}
        else:
            made |= {"if": {"not": _NULL}, "then": schema}
    return made


def _chosen(mapping: dict[str, str]) -> dict[str, Any]:
    """Return the part that checks a mapping by its `type`, given the schema of each type."""
    choices = [
        {"if": {"properties": {"type": {"const": kind}}}, "then": {"$ref": reference}}
        for kind, reference in mapping.items()
    ]
    kinds = {"type": {"enum": list(mapping)}}
    return {"type": "object", "required": ["type"], "properties": kinds, "allOf": choices}


def as_text(name: str) -> str:
    """Return the text of the JSON Schema called `name`: vamc or recipe."""
    draft = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    schema = draft | _placed(MODELS[name].model_json_schema()) | {"title": TITLES[name]}
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def packaged(name: str) -> str:
    """Return what `as_text` was when the file was packaged."""
    return (FOLDER / f"{name}.schema.json").read_text(encoding="utf-8")


def main() -> None:
    """Write both packaged files."""
    for name in MODELS:
        (FOLDER / f"{name}.schema.json").write_text(as_text(name), encoding="utf-8")


if __name__ == "__main__":
    main()
