"""The JSON Schemas (2020-12) of our two file formats, made from the pydantic models.

They are packaged as files for editors; `make docs` writes them again, and a test says when.
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
    if options and "discriminator" in made:
        mapping = made.pop("discriminator")["mapping"]
        made |= _chosen({(kind,): reference for kind, reference in mapping.items()})
    elif options and {"$ref": _TEXTS} in options:
        made |= _chosen({("huggingface",): _TEXTS, ("tvm", None): _FILES})
    elif options:  # a shape: by what it is, and whether there are lists in it
        fixed, bounds, profile = options
        nested = {"type": "array", "contains": {"type": "array"}}
        listed = {"if": nested, "then": bounds, "else": fixed}
        made |= {"if": {"type": "object"}, "then": profile, "else": listed}
    alternatives = made.get("anyOf", [])
    if len(alternatives) == 2 and _NULL in alternatives:
        del made["anyOf"]
        schema = next(option for option in alternatives if option != _NULL)
        if isinstance(schema.get("type"), str) and not {"enum", "const"} & schema.keys():
            made |= {**schema, "type": [schema["type"], "null"]}
        else:
            made |= {"if": {"not": _NULL}, "then": schema}
    return made


def _chosen(mapping: dict[tuple[str | None, ...], str]) -> dict[str, Any]:
    """Return the part that checks a mapping by its `type`: None is for one that has none."""

    def typed(*kinds: str | None) -> dict[str, Any]:
        required = [] if None in kinds else ["type"]
        return {"type": "object", "required": required, "properties": {"type": {"enum": kinds}}}

    choices = [{"if": typed(*kinds), "then": {"$ref": to}} for kinds, to in mapping.items()]
    return typed(*(kind for kinds in mapping for kind in kinds)) | {"allOf": choices}


def as_text(name: str) -> str:
    """Return the text of the JSON Schema called `name`: vamc or recipe."""
    draft = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    schema = draft | _placed(MODELS[name].model_json_schema()) | {"title": TITLES[name]}
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def packaged(name: str) -> str:
    """Return what `as_text` was when the file was packaged."""
    return (FOLDER / f"{name}.schema.json").read_text(encoding="utf-8")
