"""Every generated file of a workspace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vacc_gen.generator.emit.compile_yaml import compile_configs
from vacc_gen.generator.emit.editor import recipe_schema
from vacc_gen.generator.emit.emitted import EmittedFile
from vacc_gen.generator.emit.lockfile import environment_files
from vacc_gen.generator.emit.modeling import modeling_files
from vacc_gen.generator.emit.readme import readme
from vacc_gen.generator.emit.scripts import scripts
from vacc_gen.generator.environment.environment import Lock, lock_of
from vacc_gen.generator.plan import Plan


def emit(
    plan: Plan, model_config: Mapping[str, Any] | None, own_lock: Lock | None = None
) -> tuple[EmittedFile, ...]:
    """Return every generated file of a workspace; vacc.yaml is the user's and not among them.

    `model_config` is the checkpoint's config.json; None stands for the preset's. `own_lock` is
    what `vacc-gen lock` left in the workspace; it stays for as long as it answers the recipe.
    """
    lock = lock_of(plan.recipe.environment, own_lock)
    return (
        *compile_configs(plan),
        *modeling_files(plan, model_config),
        *scripts(plan),
        *environment_files(plan.recipe.environment, lock),
        readme(plan, lock),
        recipe_schema(),
    )
