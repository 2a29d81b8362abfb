"""README.md of the workspace: the steps in order, with their commands."""

from __future__ import annotations

import shlex
from pathlib import PurePosixPath

from vacc_gen import presets
from vacc_gen.generator.emit.emitted import EmittedFile
from vacc_gen.generator.emit.scripts import script_values
from vacc_gen.generator.emit.template import render
from vacc_gen.generator.plan import Plan, is_placeholder


def readme(plan: Plan) -> EmittedFile:
    """Return the workspace's README."""
    recipe = plan.recipe
    unknown = is_placeholder(recipe.model.checkpoint)
    lock = presets.ENVIRONMENTS.find(recipe.environment.preset)
    stale = [f"it lacks {pin}" for pin in recipe.environment.pins]
    if lock.python != recipe.environment.python:
        stale.append(f"it was resolved for Python {lock.python}")
    text = render(
        "README.md.jinja",
        **script_values(plan),
        title=plan.preset.name,
        summary=plan.preset.summary,
        target=recipe.target,
        environment=recipe.environment,
        lock=lock,
        stale_lock="; ".join(stale),
        folder=" DIR" if unknown else "",
        checkpoint_word="DIR" if unknown else shlex.quote(recipe.model.checkpoint),
    )
    return EmittedFile(PurePosixPath("README.md"), text)
