"""env/: the packages of the compiler's Python, pinned by hash, and what is known about them."""

from __future__ import annotations

import json
from pathlib import PurePosixPath

from vacc_gen import presets
from vacc_gen.generator.emit.emitted import EmittedFile
from vacc_gen.generator.plan import Plan

ENVIRONMENT_FOLDER = PurePosixPath("env")


def environment_files(plan: Plan) -> tuple[EmittedFile, ...]:
    """Return the lock, what it was resolved from, and environment.json, which tells of both.

    The lock is the preset's, as tried. Pins of the recipe's own go to requirements.in alone, and
    environment.json lists them as `not_in_lock`: resolving needs an index.
    """
    wanted = plan.recipe.environment
    preset = presets.ENVIRONMENTS.find(wanted.preset)
    requirements = presets.environment_requirements(preset.name)
    description = {
        "preset": preset.name,
        "python": wanted.python,
        "lock": {
            "python": preset.python,
            "platform": preset.platform,
            "resolver": preset.resolver,
        },
        "asked": {"requirements": list(preset.asked), "source": preset.asked_source},
        "bounds": [bound.model_dump() for bound in preset.bounds],
        "tested": list(preset.tested),
        "not_in_lock": list(wanted.pins),
    }
    return (
        EmittedFile(
            ENVIRONMENT_FOLDER / "requirements.lock", presets.environment_lock(preset.name)
        ),
        EmittedFile(
            ENVIRONMENT_FOLDER / "requirements.in",
            requirements + "".join(f"{pin}\n" for pin in wanted.pins),
        ),
        EmittedFile(
            ENVIRONMENT_FOLDER / "environment.json",
            json.dumps(description, indent=2, ensure_ascii=False) + "\n",
        ),
    )
