"""The embedded backend: our own export, compiled and verified on ONNX Runtime."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from vacc_gen.generator.backends.base import STATE_FOLDER, Build, Outcome, Skip, Stage, Step
from vacc_gen.generator.backends.onnxruntime.export import (
    DTYPES,
    EXPORTED_FILES,
    SIDE_FILES,
    Deployment,
    ExportPlan,
    export_graphs,
    plan_export,
)
from vacc_gen.generator.backends.onnxruntime.runtime import OnnxRuntimeModel
from vacc_gen.generator.backends.onnxruntime.session import cuts_sums_off
from vacc_gen.generator.backends.onnxruntime.weights.quantize import Quantizer
from vacc_gen.generator.backends.onnxruntime.weights.source import Checkpoint, checkpoint_of
from vacc_gen.generator.calibration.texts import files_of
from vacc_gen.generator.calibration.tokenizer import TOKENIZER_FILE
from vacc_gen.generator.calibration.windows import (
    calibrate,
    check_calibration,
    read_windows,
    windows_file,
)
from vacc_gen.generator.extras import load, package_version
from vacc_gen.generator.files import remove_leftovers, replace_folder, write_atomically
from vacc_gen.generator.plan import CompileJob, is_placeholder
from vacc_gen.generator.progress import Progress
from vacc_gen.schema.json_files import MANIFEST_FILE, sha256_of
from vacc_gen.schema.precision import Precision
from vacc_gen.schema.recipe import Calibration

PACKAGES = ("numpy", "tokenizers", "onnx", "onnxruntime", "torch", "transformers")
"""Of the extra `export`, the slow ones last; the first that cannot be used is named."""

QUANTIZED = (Precision.INT8, Precision.INT4)
"""Those whose weights are, by GPTQ where there are calibration texts."""

INEXACT = (
    "this processor has no VNNI, so some sums of int8 products are cut off, here and when int8 "
    "runs; perplexity may rise by some tenths of a percent (quantization.activations: float has "
    "none of this)"
)

MANIFEST_VERSION = 1
TRIAL_TOKEN = 0


class OnnxRuntimeBackend:
    """Exports graphs, tries them, publishes them in deploy/, and verifies them."""

    name = "onnxruntime"
    precisions = frozenset(DTYPES)
    falcon_only = True

    def check(self, build: Build) -> tuple[str, ...]:
        """Refuse a build that cannot succeed.

        Raises:
            MissingExtraError: a package of the extra `export` cannot be used.
            VaccGenError: the checkpoint, the texts, the lengths or the device will not do.
        """
        load("building with ONNX Runtime", *PACKAGES)
        from vacc_gen.generator.backends.onnxruntime.verify import cut_text

        for job in build.jobs:
            _plan_export(build, job)
        cut_text(build)
        calibration = _texts(build)
        if calibration is not None and any(job.precision in QUANTIZED for job in build.jobs):
            check_calibration(calibration, build.plan.geometry.max_positions, build.root)
            from vacc_gen.generator.backends.onnxruntime.weights.gptq_layers import device_of

            device_of(build.plan.recipe.quantization.device)
        is_integer = build.plan.recipe.quantization.activations == "int8"
        has_int8 = any(job.precision is Precision.INT8 for job in build.jobs)
        return (INEXACT,) if has_int8 and is_integer and cuts_sums_off() else ()

    def step(self, stage: Stage, job: CompileJob, build: Build) -> Step | Skip:
        """fp16 is made by export, others by quantize, each straight from the checkpoint."""
        is_quantized = job.precision in QUANTIZED
        if stage is Stage.CALIBRATE:
            return _calibrate(build, job) if is_quantized else Skip("fp16 needs none")
        if stage is Stage.EXPORT:
            return Skip("quantize reads the checkpoint") if is_quantized else _export(build, job)
        if stage is Stage.QUANTIZE:
            return _export(build, job) if is_quantized else Skip("fp16 is not quantized")
        if stage is Stage.COMPILE:
            inputs = {"onnxruntime": package_version("onnxruntime")}
            return Step(inputs, lambda progress: _publish(build, job, progress))
        return _verify(build, job)


def _export_options(build: Build, job: CompileJob) -> dict[str, Any]:
    recipe = build.plan.recipe
    return {
        "dtype": DTYPES[job.precision],
        "lengths": Deployment(recipe.target.total),
        "quantization": recipe.quantization,
    }


def _plan_export(build: Build, job: CompileJob) -> ExportPlan:
    return plan_export(checkpoint_of(build.weights), **_export_options(build, job))


def _texts(build: Build) -> Calibration | None:
    """The recipe's calibration texts; None where it names none, or a placeholder."""
    calibration = build.plan.recipe.calibration
    if calibration is None or any(is_placeholder(source.path) for source in calibration.sources):
        return None
    return calibration


def _calibrate(build: Build, job: CompileJob) -> Step | Skip:
    """Windows of text, where the recipe names some to draw them from."""
    calibration = _texts(build)
    if calibration is None:
        lacks = "the recipe names no calibration set"
        if build.plan.recipe.calibration is not None:
            lacks = "calibration.path is still to be filled in"
        return Skip(f"{lacks}: {job.precision.value} is rounded to nearest")
    files = [file for source in calibration.sources for file in files_of(source, build.root)]

    def run(progress: Progress) -> Outcome:
        calibrate(calibration, build.weights, build.root, progress)
        path = windows_file(calibration, build.root)
        return Outcome((path, path.with_suffix(".json")))

    inputs = {
        "calibration": calibration.model_dump(mode="json"),
        "files": [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files],
        "tokenizer": sha256_of(build.weights.path / TOKENIZER_FILE),
    }
    return Step(inputs, run)


# --- export and quantize --------------------------------------------------------------------


def _export(build: Build, job: CompileJob) -> Step:
    recipe = build.plan.recipe
    side_files = [build.weights.path / name for name in SIDE_FILES]
    inputs: dict[str, object] = {
        "checkpoint": build.checkpoint_key,
        "side_files": [(file.name, sha256_of(file)) for file in side_files if file.is_file()],
        "total": recipe.target.total,
        "onnx": package_version("onnx"),
    }
    if job.precision in QUANTIZED:
        inputs["onnxruntime"] = package_version("onnxruntime")
        inputs["quantization"] = recipe.quantization.model_dump(mode="json")
        if _texts(build) is not None:
            inputs["modeling"] = sha256_of(build.modeling_file)
    return Step(
        inputs,
        lambda progress: _run_export(build, job, progress),
        writes_bytes=_plan_export(build, job).total_bytes,
        temporary_bytes=_hidden_states_bytes(build) if job.precision in QUANTIZED else 0,
        moved_to=build.deploy_dir(job),
    )


def _run_export(build: Build, job: CompileJob, progress: Progress) -> Outcome:
    recipe = build.plan.recipe
    folder = build.work_dir(job)
    checkpoint = checkpoint_of(build.weights)
    quantizer = _quantizer(build, job, checkpoint, progress)
    options = _export_options(build, job)
    result = export_graphs(
        checkpoint, folder, **options, quantizer=quantizer, progress=progress, force=True
    )
    layout, geometry = result.layout, build.plan.geometry
    cache_width = 2 if layout.dtype == "fp16" else 4
    cached_values = 2 * geometry.layers * geometry.kv_heads * geometry.head_size
    details: dict[str, Any] = {
        "checkpoint_bytes": build.weights.tensor_bytes,
        "weights_bytes": layout.total_bytes,
        "kv_cache": {
            "dtype": f"fp{8 * cache_width}",
            "bytes": cache_width * cached_values * recipe.target.total,
        },
        "overflowed": result.overflowed,
    }
    if result.warnings:
        details["notes"] = [f"{warning}; int8 holds them" for warning in result.warnings]
    if layout.grid is not None:
        details["quantization"] = {
            "bits": layout.grid.bits,
            "group_size": layout.grid.group_size,
            "activations": recipe.quantization.activations,
            **quantizer.settings(),
        }
        details["linear_errors"] = quantizer.errors
    return Outcome(tuple(sorted(folder.iterdir())), details)


def _hidden_states_bytes(build: Build) -> int:
    """Of the file that GPTQ keeps while it works: fp32, (windows, tokens, hidden size)."""
    texts = _texts(build)
    if texts is None:
        return 0
    return 4 * texts.samples * texts.seqlen * build.plan.geometry.hidden_size


def _quantizer(
    build: Build, job: CompileJob, checkpoint: Checkpoint, progress: Progress
) -> Quantizer:
    """GPTQ on the windows that calibrate left; rounding to nearest where there are none."""
    texts = _texts(build)
    if texts is None or job.precision not in QUANTIZED:
        return Quantizer(checkpoint)
    import torch

    from vacc_gen.generator.backends.onnxruntime.weights.gptq_layers import GptqQuantizer

    return GptqQuantizer(
        build.modeling_file,
        checkpoint,
        torch.from_numpy(read_windows(windows_file(texts, build.root))),
        build.plan.recipe.quantization,
        build.root / STATE_FOLDER / "work",
        progress,
    )


# --- compile and verify ---------------------------------------------------------------------


def _publish(build: Build, job: CompileJob, progress: Progress) -> Outcome:
    """Try the exported folder of `job`, and move it with its manifest to deploy/."""
    target = build.deploy_dir(job)
    # A build that was stopped just after the move has left the folder there.
    folder = next(place for place in (build.work_dir(job), target) if place.is_dir())
    progress.start("load the graph, run a step")
    (folder / MANIFEST_FILE).unlink(missing_ok=True)
    remove_leftovers(folder / MANIFEST_FILE)
    model = OnnxRuntimeModel(folder)
    model.prefill([TRIAL_TOKEN])
    model.decode(TRIAL_TOKEN)
    progress.start("publish")
    write_atomically(folder / MANIFEST_FILE, _manifest(build, job, folder))
    if folder != target:
        remove_leftovers(target)
        replace_folder(folder, target)
    return Outcome(tuple(sorted(target.iterdir())))


def _manifest(build: Build, job: CompileJob, folder: Path) -> str:
    content = {
        "version": MANIFEST_VERSION,
        "name": job.name,
        "precision": job.precision.value,
        "tool": f"vacc-gen {version('vacc-gen')}",
        "checkpoint": build.weights.fingerprint(),
        "recipe": build.plan.recipe.model_dump(mode="json"),
        "artifacts": [
            {"path": file.name, "bytes": file.stat().st_size, "sha256": build.digest(file)}
            for file in sorted(folder.iterdir())
            if file.name in EXPORTED_FILES
        ],
    }
    return json.dumps(content, indent=2) + "\n"


def _verify(build: Build, job: CompileJob) -> Step:
    """All are compared with torch; the perplexity of others with that of fp16 where it is built."""
    from vacc_gen.generator.backends.onnxruntime.verify import read_text, verify_job

    fp16 = next((other for other in build.jobs if other.precision is Precision.FP16), None)
    verification = build.plan.recipe.verification.model_dump(mode="json")
    thresholds = verification.pop("max_abs_diff")
    facts = {
        "verification": verification,
        "text": hashlib.sha256(read_text(build)).hexdigest(),
        "modeling": sha256_of(build.modeling_file),
        "packages": [package_version(package) for package in PACKAGES],
    }
    inputs = {**facts, "thresholds": thresholds, "against": fp16.name if fp16 else None}
    return Step(inputs, lambda progress: verify_job(build, job, fp16, facts, progress))
