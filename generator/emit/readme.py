"""README.md of the workspace: the steps in order, with their commands."""

from __future__ import annotations

import shlex
from pathlib import PurePosixPath

from vacc_gen.generator.emit.emitted import EmittedFile
from vacc_gen.generator.emit.scripts import script_values
from vacc_gen.generator.emit.template import render
from vacc_gen.generator.environment.environment import Lock, missing_lock_reason
from vacc_gen.generator.plan import Plan, is_placeholder


def readme(plan: Plan, lock: Lock | None) -> EmittedFile:
    """Return the workspace's README; `lock` is the environment's, None where there is none."""
    recipe = plan.recipe
    unknown = is_placeholder(recipe.model.checkpoint)
    text = render(
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
    return EmittedFile(PurePosixPath("README.md"), text)
