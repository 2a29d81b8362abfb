"""What is checked before anything heavy, so that a build that starts can succeed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from vacc_gen import presets
from vacc_gen.generator.backends.base import Backend, Build
from vacc_gen.generator.backends.select import backends_for
from vacc_gen.generator.calibration.tokenizer import TOKENIZER_FILE, TOKENIZER_FILES
from vacc_gen.generator.plan import CompileJob
from vacc_gen.generator.workspace.workspace import State, Workspace
from vacc_gen.schema.checkpoint import read_weight_folder
from vacc_gen.schema.errors import CheckpointError, StageError, UsageError
from vacc_gen.schema.geometry import geometry_from_config
from vacc_gen.schema.lint.check import check_paths
from vacc_gen.schema.lint.diagnostics import FindingsError, has_errors
from vacc_gen.schema.precision import Precision

SHOWN_FILES = 3


def select_jobs(jobs: Sequence[CompileJob], wanted: Sequence[Precision]) -> tuple[CompileJob, ...]:
    """Return the jobs of the wanted precisions, in the recipe's order; all where none is named.

    Raises:
        UsageError: the recipe has no job of that precision.
    """
    known = [job.precision for job in jobs]
    for precision in wanted:
        if precision not in known:
            raise UsageError(
                f"the recipe has no {precision.value} job",
                f"it has {', '.join(other.value for other in known)}; add it to `precisions` in "
                "vacc.yaml and run `vacc-gen generate`",
            )
    return tuple(job for job in jobs if not wanted or job.precision in wanted)


def split_jobs(
    jobs: Sequence[CompileJob], backend: Backend
) -> tuple[tuple[CompileJob, ...], list[str]]:
    """Return the jobs that `backend` can build, and a note on each that it cannot.

    Raises:
        StageError: it can build none of them.
    """
    can_build = tuple(job for job in jobs if job.precision in backend.precisions)
    notes = [
        f"{job.precision.value} is not built: the {backend.name} backend does not support it; "
        f"use {' or '.join(backends_for(job.precision))}"
        for job in jobs
        if job not in can_build
    ]
    if not can_build:
        message, _, hint = notes[0].partition("; ")
        raise StageError(message, hint)
    return can_build, notes


def check_build(
    workspace: Workspace, jobs: tuple[CompileJob, ...], digest: Callable[[Path], str]
) -> Build:
    """Check the workspace's files and its weight folder against the recipe.

    Raises:
        StageError: generated files are not what the recipe would generate; lengths are beyond
            the model's.
        FindingsError: a compile config has errors.
        CheckpointError: the weight folder is damaged. That it is the recipe's model is a rule of
            the recipe, and was checked when that was read.
    """
    _refuse_drift(workspace)
    _refuse_findings([workspace.root / job.config_path for job in jobs if job.is_for_vamc])
    weights = read_weight_folder(workspace.checkpoint_path)
    if not any((weights.path / name).is_file() for name in TOKENIZER_FILES):
        raise CheckpointError(
            f"{weights.path} has no {TOKENIZER_FILE}",
            "download it from the repository that the weights are from",
        )
    geometry = geometry_from_config(weights.config)
    target = workspace.plan.recipe.target
    if target.total > geometry.max_positions:
        raise StageError(
            f"target.total is {target.total} tokens, the model was made for "
            f"{geometry.max_positions}",
            f"set target.total in vacc.yaml to {geometry.max_positions} or less and run "
            "`vacc-gen generate`",
        )
    return Build(workspace.root, workspace.plan, jobs, weights, digest)


def workspace_notes(workspace: Workspace) -> tuple[str, ...]:
    """Facts about the workspace that the user should know: which files were edited by hand."""
    states = workspace.states()
    return tuple(f"{s.path} was edited by hand" for s in states if s.state is State.EDITED)


def _refuse_drift(workspace: Workspace) -> None:
    stale = [
        f"{state.path} ({state.state.value})"
        for state in workspace.states()
        if state.state not in (State.CURRENT, State.EDITED)
    ]
    if stale:
        more = f" and {len(stale) - SHOWN_FILES} more" if len(stale) > SHOWN_FILES else ""
        raise StageError(
            f"generated files are not those of the recipe: {', '.join(stale[:SHOWN_FILES])}{more}",
            "run `vacc-gen generate` (`--diff` shows what it would change)",
        )


def _refuse_findings(configs: Sequence[Path]) -> None:
    """Compile configs may have been edited by hand; then they are checked as anyone's."""
    diagnostics = check_paths([str(config) for config in configs], presets.KNOWN).diagnostics
    if has_errors(diagnostics):
        raise FindingsError("a compile config has errors", diagnostics)
