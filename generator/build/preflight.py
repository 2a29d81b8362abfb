"""What is checked before anything heavy, so that a build that starts can succeed; what it takes."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from vacc_gen import presets
from vacc_gen.generator.backends.base import Backend, Stage
from vacc_gen.generator.backends.onnxruntime.backend import OnnxRuntimeBackend
from vacc_gen.generator.backends.vamc import EXECUTABLE, Vamc
from vacc_gen.generator.calibration.tokenizer import check_tokenizer
from vacc_gen.generator.plan import CompileJob, Plan
from vacc_gen.generator.workspace import State, Workspace
from vacc_gen.schema.checkpoint import WeightFolder
from vacc_gen.schema.errors import StageError, UsageError
from vacc_gen.schema.geometry import footprint, geometry_from_config, parameter_count
from vacc_gen.schema.lint.check import check_paths, open_weights
from vacc_gen.schema.lint.diagnostics import FindingsError, has_errors
from vacc_gen.schema.precision import Precision

LIBRARIES_BYTES = 1_000_000_000
"""What any stage may take: torch, transformers and ONNX Runtime, 0.6 to 0.9 GB, and buffers."""

BACKENDS: dict[str, type[Backend]] = {b.name: b for b in (OnnxRuntimeBackend, Vamc)}


def select_backend(name: str) -> Backend:
    """Return the backend called `name`; `auto` is vamc where that is on the PATH."""
    if name == "auto":
        name = Vamc.name if shutil.which(EXECUTABLE) else OnnxRuntimeBackend.name
    return BACKENDS[name]()


def select_jobs(
    jobs: Sequence[CompileJob], wanted: Sequence[Precision], backend: Backend
) -> tuple[tuple[CompileJob, ...], list[str]]:
    """Return the wanted jobs (all if none is named) that `backend` can build, and notes on others.

    fp16 comes first: others are compared with it.

    Raises:
        UsageError: the recipe has no job of a wanted precision.
        StageError: the backend can build none of them.
    """
    known = [job.precision for job in jobs]
    for precision in wanted:
        if precision not in known:
            raise UsageError(
                f"the recipe has no {precision.value} job",
                f"it has {', '.join(other.value for other in known)}; add it to `precisions` in "
                "vacc.yaml and run `vacc-gen generate`",
            )
    selected = tuple(job for job in jobs if not wanted or job.precision in wanted)
    can_build = [job for job in selected if job.precision in backend.precisions]
    can_build.sort(key=lambda job: job.precision is not Precision.FP16)
    notes = []
    for precision in (job.precision for job in selected if job not in can_build):
        problem = f"{precision.value} is not built: the {backend.name} backend does not support it"
        others = [f"--backend {b.name}" for b in BACKENDS.values() if precision in b.precisions]
        hint = f"use {' or '.join(others)}"
        if not can_build:
            raise StageError(problem, hint)
        notes.append(f"{problem}; {hint}")
    return tuple(can_build), notes


def check_files(workspace: Workspace) -> list[str]:
    """Check that files are what the recipe would generate; return notes on those edited by hand.

    Raises:
        StageError: some are not, nor edited.
    """
    stale = [f"{file.path} ({file.state.value})" for file in workspace.stale()]
    if stale:
        raise StageError(
            f"generated files are not those of the recipe: {', '.join(stale)}",
            "run `vacc-gen generate` (`--diff` shows what it would change)",
        )
    return [f"{s.path} was edited by hand" for s in workspace.states() if s.state is State.EDITED]


def check_weights(workspace: Workspace, backend: Backend) -> tuple[WeightFolder, list[str]]:
    """Inspect the weight folder, and return it with the warnings about it.

    That it is the recipe's model is a rule of the recipe, and was checked when that was read.

    Raises:
        FindingsError: it has errors.
        CheckpointError: it is not there.
        StageError: the lengths are beyond the model's.
    """
    workspace.require_weights()
    weights, warnings = open_weights(workspace.checkpoint_path, falcon_only=backend.falcon_only)
    check_tokenizer(workspace.checkpoint_path)
    total = workspace.plan.recipe.target.total
    longest = geometry_from_config(weights.config).max_positions
    if total > longest:
        raise StageError(
            f"target.total is {total} tokens, the model was made for {longest}",
            f"set target.total in vacc.yaml to {longest} or less and run `vacc-gen generate`",
        )
    return weights, [f"{found.path}: {found.message}" for found in warnings]


def check_configs(workspace: Workspace, jobs: Sequence[CompileJob]) -> None:
    """Check compile configs, which may have been edited; raise FindingsError if one has errors."""
    configs = [str(workspace.root / job.config_path) for job in jobs if job.is_for_vamc]
    diagnostics = check_paths(configs, presets.KNOWN).diagnostics
    if has_errors(diagnostics):
        raise FindingsError("a compile config has errors", diagnostics)


def stage_bytes(stage: Stage, plan: Plan, precisions: Sequence[Precision], backend: str) -> int:
    """Estimate the peak memory of a stage over the jobs of `precisions`, or over all.

    Rough, and rather too much: what a runtime, or the closed compiler, keeps is known once it runs.
    """
    g, wanted = plan.geometry, precisions or [job.precision for job in plan.jobs]
    layer, embedding = 4 * parameter_count(g) // g.layers, 4 * g.vocab_size * g.hidden_size  # fp32
    # The runtime, and perhaps the compiler, has fp16 weights in fp32; others packed in a copy.
    copies = [footprint(g, p, 1, 1).weights_bytes * (1 + (p is Precision.FP16)) for p in wanted]
    if backend == Vamc.name:
        whole = 2 * footprint(g, Precision.FP16, 1, 1).weights_bytes
        heavy = {Stage.QUANTIZE: whole, Stage.COMPILE: whole}
    else:
        # GPTQ has a layer before and after, and a Hessian of its widest inputs and half of that.
        gptq = 2 * layer + 6 * g.ffn_hidden_size**2
        # The reference goes through the checkpoint layer by layer.
        heavy = {
            Stage.QUANTIZE: gptq if set(wanted) - {Precision.FP16} else 0,
            Stage.COMPILE: max(copies),
            Stage.VERIFY: max(copies) + layer + embedding,
        }
    return LIBRARIES_BYTES + heavy.get(stage, 0)
