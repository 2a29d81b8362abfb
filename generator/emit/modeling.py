"""source_code/: the modeling file, and the config that points to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from vacc_gen.generator.emit.template import EmittedFile, template_text
from vacc_gen.generator.plan import Plan
from vacc_gen.schema.preset import VACC_CONFIG_FILE

SOURCE_FOLDER = PurePosixPath("source_code")

MODELING_HEADER = (
    "# Written by `vacc-gen generate`, which keeps and names a copy that was changed.\n"
)
"""A comment, so that what follows stays the module's docstring."""

AUTO_CLASSES = {
    "AutoConfig": "FalconConfig",
    "AutoModel": "FalconModel",
    "AutoModelForCausalLM": "FalconForCausalLM",
}


def modeling_files(plan: Plan, model_config: Mapping[str, Any] | None) -> tuple[EmittedFile, ...]:
    """Return the code that the weight folder needs, and config_vacc.json, which loads it.

    Nothing at all for a model whose code is not ours to write.
    """
    sources = tuple(
        EmittedFile(SOURCE_FOLDER / source.name, MODELING_HEADER + template_text(source.name))
        for source in plan.preset.sources
        if source.generated
    )
    config = plan.preset.config if model_config is None else model_config
    if not sources or config is None:
        return sources
    text = json.dumps(vacc_config(plan, config), indent=2, ensure_ascii=False) + "\n"
    return (*sources, EmittedFile(SOURCE_FOLDER / VACC_CONFIG_FILE, text))


def vacc_config(plan: Plan, model_config: Mapping[str, Any]) -> dict[str, Any]:
    """Return config_vacc.json: a config.json that loads the modeling file.

    The three additions are those of the vendor's llm/README.md.
    """
    module = f"modeling_{plan.preset.family}_vacc"
    return {
        **model_config,
        "auto_map": {auto: f"{module}.{name}" for auto, name in AUTO_CLASSES.items()},
        "_attn_implementation": "eager",
        "insert_slice": True,
    }
