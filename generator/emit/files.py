"""Every generated file of a workspace."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Any

from vacc_gen.generator.emit.scripts import script_values, scripts
from vacc_gen.generator.emit.template import SOURCE_FOLDER, EmittedFile, render, template_text
from vacc_gen.generator.emit.yaml_text import RECIPE_SCHEMA_PATH, sections
from vacc_gen.generator.environment.lock import (
    DESCRIPTION_PATH,
    LOCK_PATH,
    Lock,
    description_text,
    lock_of,
    missing_lock_reason,
)
from vacc_gen.generator.plan import CompileJob, Plan, is_placeholder
from vacc_gen.schema.preset import VACC_CONFIG_FILE

MODELING_HEADER = (
    "# Written by `vacc-gen generate`, which keeps and names a copy that was changed.\n"
)
"""A comment, so that what follows stays the module's docstring."""
AUTO_CLASSES = {
    "AutoConfig": "FalconConfig",
    "AutoModel": "FalconModel",
    "AutoModelForCausalLM": "FalconForCausalLM",
}


def emit(
    plan: Plan, model_config: Mapping[str, Any] | None, own_lock: Lock | None = None
) -> tuple[EmittedFile, ...]:
    """Return every generated file of a workspace; vacc.yaml is the user's and not among them.

    `model_config` is the checkpoint's config.json; None stands for the preset's. `own_lock` is
    what `vacc-gen lock` left in the workspace; it stays for as long as it satisfies the recipe.
    """
    environment = plan.recipe.environment
    lock = lock_of(environment, own_lock)
    schema = (files("vacc_gen.schema") / "recipe.schema.json").read_text(encoding="utf-8")
    return (
        *(EmittedFile(job.config_path, compile_config_text(job)) for job in plan.configs),
        *_modeling_files(plan, model_config),
        *scripts(plan),
        *([EmittedFile(LOCK_PATH, lock.text)] if lock else []),
        EmittedFile(DESCRIPTION_PATH, description_text(environment, lock)),
        EmittedFile(PurePosixPath("README.md"), _readme_text(plan, lock)),
        EmittedFile(RECIPE_SCHEMA_PATH, schema),
    )


def compile_config_text(job: CompileJob) -> str:
    """Return a compile config as text; it parses to exactly `job.config`."""
    return (
        f"# vamc compile {job.config_path}    (run it in the workspace: paths are relative to it)\n"
        f"# Made from vacc.yaml by `vacc-gen generate`.\n"
        f"{sections(job.config)}"
    )


def _modeling_files(plan: Plan, model_config: Mapping[str, Any] | None) -> tuple[EmittedFile, ...]:
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
    module = f"modeling_{plan.preset.family}_vacc"
    # The three additions are those of the vendor's llm/README.md.
    vacc_config = {
        **config,
        "auto_map": {auto: f"{module}.{name}" for auto, name in AUTO_CLASSES.items()},
        "_attn_implementation": "eager",
        "insert_slice": True,
    }
    text = json.dumps(vacc_config, indent=2, ensure_ascii=False) + "\n"
    return (*sources, EmittedFile(SOURCE_FOLDER / VACC_CONFIG_FILE, text))


def _readme_text(plan: Plan, lock: Lock | None) -> str:
    """Return the steps in order, with their commands."""
    recipe = plan.recipe
    unknown = is_placeholder(recipe.model.checkpoint)
    return render(
        "README.md.jinja",
        **script_values(plan),
        title=plan.preset.name,
        summary=plan.preset.summary,
        listed_in=plan.preset.listed_in or "",
        runs_embedded=plan.preset.runs_embedded,
        target=recipe.target,
        environment=recipe.environment,
        missing_lock=None if lock else missing_lock_reason(recipe.environment),
        folder=" DIR" if unknown else "",
        checkpoint_word="DIR" if unknown else shlex.quote(recipe.model.checkpoint),
    )
