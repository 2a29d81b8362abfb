"""Values as YAML in the layout of the published configs: blocks of mappings, lists on one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml


class _Dumper(yaml.SafeDumper):
    """Writes lists in flow style and repeats a value rather than refer to it."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _flow_list(dumper: yaml.SafeDumper, values: Any) -> yaml.Node:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=True)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    # Single quotes would turn U+0085 into a space: it is a line break to YAML 1.1.
    style = None if text.isprintable() else '"'
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
        text += yaml.dump(
            {key: value},
            Dumper=_Dumper,
            default_flow_style=False,
            sort_keys=False,
            allow_unicode=True,
            width=1 << 30,  # one value, one line, whatever its length
        )
        previous_is_block = is_block
    return text
