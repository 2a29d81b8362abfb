"""Values and recipes as YAML, laid out as the published configs: blocks, lists on one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import yaml

from vacc_gen.schema.errors import shell_command
from vacc_gen.schema.recipe import Recipe

RECIPE_SCHEMA_PATH = PurePosixPath(".vacc-gen", "recipe.schema.json")
"""Where editors find the JSON Schema that the first lines of vacc.yaml name."""

_WHOLE = ("version", "model", "precisions", "target", "environment")
"""Sections of a recipe that are written with their defaults; of others, only what differs is."""


class _Dumper(yaml.SafeDumper):
    """Writes lists in flow style unless of mappings; repeats a value rather than refer to it."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _flow_list(dumper: yaml.SafeDumper, values: Any) -> yaml.Node:
    is_flat = not any(isinstance(value, Mapping) for value in values)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=is_flat)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = None if text.isprintable() else '"'  # which alone knows escapes
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(list, _flow_list)
_Dumper.add_representer(tuple, _flow_list)


def sections(values: Mapping[str, object]) -> str:
    """Return `values` as YAML, mappings of the top level set apart by blank lines."""
    text = ""
    previous_is_block = False
    for key, value in values.items():
        is_block = isinstance(value, Mapping)
        if text and (is_block or previous_is_block):
            text += "\n"
        block = yaml.dump(
            {key: value},
            Dumper=_Dumper,
            default_flow_style=False,
            sort_keys=False,
            allow_unicode=True,
            width=1 << 30,  # one value, one line, whatever its length
        )
        text += "".join(
            mark if mark.isprintable() or mark == "\n" else f"\\U{ord(mark):08x}" for mark in block
        )
        previous_is_block = is_block
    return text


def recipe_text(recipe: Recipe, command: Sequence[str]) -> str:
    """Return vacc.yaml as `new` writes it: what was chosen, and the defaults likely to change.

    It reads back as the same recipe. `command`, the command line that made it, becomes a comment.
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
        f"# {shell_command(command)}\n"
        f"# yaml-language-server: $schema={RECIPE_SCHEMA_PATH}\n"
        f"{sections(values)}"
    )
