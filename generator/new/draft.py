"""A workspace that is still being chosen: what it would be, and what `validate` would say."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from vacc_gen import presets
from vacc_gen.generator.emit.files import compile_config_text
from vacc_gen.generator.emit.recipe_yaml import recipe_text
from vacc_gen.generator.new.choices import Choices, Decision
from vacc_gen.generator.plan import Plan, make_plan
from vacc_gen.generator.workspace.workspace import Workspace, read_model_config
from vacc_gen.schema.errors import UsageError
from vacc_gen.schema.lint.check import check_text
from vacc_gen.schema.lint.diagnostics import Diagnostic, Severity
from vacc_gen.schema.recipe import RECIPE_FILE


@dataclass(frozen=True)
class Draft:
    """What choices come to. Nothing of it is on disk."""

    choices: Choices
    decision: Decision
    workspace: Workspace
    warnings: tuple[Diagnostic, ...]
    """What `validate` would warn of, each once."""

    @property
    def plan(self) -> Plan:
        """Everything that would be made."""
        return self.workspace.plan

    @property
    def recipe_text(self) -> str:
        """Return vacc.yaml as it would be written."""
        return recipe_text(self.decision.recipe, self.choices.command())


def make_draft(choices: Choices) -> Draft:
    """Decide, plan and check what was chosen.

    Raises:
        UsageError: a choice is impossible, or `validate` would call it an error.
        CheckpointError: the weight folder does not fit.
    """
    try:
        decision = choices.decide()
    except ValidationError as error:
        raise UsageError(_in_words(error)) from error
    recipe, root = decision.recipe, decision.root
    checkpoint_path = Path(os.path.abspath(root / recipe.model.checkpoint))  # noqa: PTH100
    model_config = read_model_config(checkpoint_path)
    plan = make_plan(recipe, decision.preset, model_config)
    workspace = Workspace(root, plan, checkpoint_path, model_config)
    return Draft(choices, decision, workspace, _warnings(workspace, choices))


def _in_words(error: ValidationError) -> str:
    first = error.errors()[0]
    name = ".".join(str(step) for step in first["loc"])
    bounds = first.get("ctx", {})
    if "le" in bounds or "ge" in bounds:
        limit = f"{bounds['le']} at most" if "le" in bounds else f"{bounds['ge']} at least"
        return f"{name} cannot be {first['input']}: {limit}"
    return f"{name}: {first['msg']}"


def _warnings(workspace: Workspace, choices: Choices) -> tuple[Diagnostic, ...]:
    """Check the texts of recipe and compile configs.

    Raises:
        UsageError: there is an error in them.
    """
    # The folder does not exist, so that a path that is relative to it leads nowhere yet.
    recipe = workspace.plan.recipe
    model = recipe.model.model_copy(update={"checkpoint": str(workspace.checkpoint_path)})
    recipe = recipe.model_copy(update={"model": model})
    plan = make_plan(recipe, workspace.plan.preset, workspace.model_config)
    findings = check_text(recipe_text(recipe, choices.command()), RECIPE_FILE, presets.KNOWN)
    for job in plan.configs:
        findings += check_text(compile_config_text(job), str(job.config_path), presets.KNOWN)
    for finding in findings:
        if finding.severity is Severity.ERROR:
            raise UsageError(finding.message, finding.hint)
    warnings = (finding for finding in findings if finding.severity is Severity.WARNING)
    return tuple({finding.message: finding for finding in warnings}.values())
