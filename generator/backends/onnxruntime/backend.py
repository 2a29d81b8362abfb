"""The embedded backend: our own export, compiled and verified on ONNX Runtime."""

from __future__ import annotations

import json
from hashlib import sha256
from importlib.metadata import version
from typing import Any

from vacc_gen.generator.backends.base import Build, Outcome, Skip, Stage, Step
from vacc_gen.generator.backends.onnxruntime.export import (
    DTYPES,
    EXPORTED_FILES,
    Export,
    overflow_warnings,
    plan_job,
)
from vacc_gen.generator.backends.onnxruntime.runtime import OnnxRuntimeModel
from vacc_gen.generator.backends.onnxruntime.weights.quantize import Quantizer
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


class OnnxRuntimeBackend:
    """Exports graphs, tries them, publishes them in deploy/, and verifies them."""

    name = "onnxruntime"
    precisions = frozenset(DTYPES)
    falcon_only = True

    def check(self, build: Build) -> tuple[str, ...]:
        """Refuse packages, texts and a device that will not do; exports are checked with steps."""
        load("building with ONNX Runtime", *PACKAGES)
        from vacc_gen.generator.backends.onnxruntime.verify import cut_text
        from vacc_gen.generator.backends.onnxruntime.weights.gptq import device_of

        cut_text(build)
        texts = _texts(build)
        if texts is not None and any(job.precision in QUANTIZED for job in build.jobs):
            check_calibration(texts, build.plan.geometry.max_positions, build.root)
            device_of(build.plan.recipe.quantization.device)
        return ()

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
        from vacc_gen.generator.backends.onnxruntime.verify import verify_step

        return verify_step(build, job, [package_version(package) for package in PACKAGES])


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


def _export(build: Build, job: CompileJob) -> Step:
    recipe, texts, is_quantized = build.plan.recipe, _texts(build), job.precision in QUANTIZED
    export = plan_job(build, job)
    inputs: dict[str, object] = {
        "checkpoint": build.checkpoint_key,
        "files": {name: sha256(content).hexdigest() for name, content in export.files.items()},
    }
    hidden_states_bytes = 0
    if is_quantized:
        inputs["onnxruntime"] = package_version("onnxruntime")
        inputs["quantization"] = recipe.quantization.model_dump(mode="json")
        if texts is not None:
            inputs["modeling"] = sha256_of(build.modeling_file)
            # The file that GPTQ keeps while it works: fp32, (windows, tokens, hidden size).
            hidden = build.plan.geometry.hidden_size
            hidden_states_bytes = 4 * texts.samples * texts.seqlen * hidden
    return Step(
        inputs,
        lambda progress: _run_export(build, job, export, progress),
        writes_bytes=export.total_bytes,
        temporary_bytes=hidden_states_bytes,
        moved_to=build.deploy_dir(job),
    )


def _run_export(build: Build, job: CompileJob, export: Export, progress: Progress) -> Outcome:
    recipe, geometry, layout = build.plan.recipe, build.plan.geometry, export.layout
    folder, texts, quantizer = build.work_dir(job), _texts(build), Quantizer(export.checkpoint)
    if texts is not None and job.precision in QUANTIZED:
        import torch

        from vacc_gen.generator.backends.onnxruntime.weights.gptq import GptqQuantizer

        quantizer = GptqQuantizer(
            build.modeling_file,
            export.checkpoint,
            torch.from_numpy(read_windows(windows_file(texts, build.root))),
            recipe.quantization,
            folder.parent,
            progress,
        )
    overflowed = export.write(folder, quantizer=quantizer, progress=progress, force=True)
    cache_width = 2 if layout.dtype == "fp16" else 4
    cached_values = 2 * geometry.layers * geometry.kv_heads * geometry.head_size
    cache_bytes = cache_width * cached_values * recipe.target.total
    details: dict[str, Any] = {
        "checkpoint_bytes": build.weights.tensor_bytes,
        "weights_bytes": layout.total_bytes,
        "kv_cache": {"dtype": f"fp{8 * cache_width}", "bytes": cache_bytes},
        "overflowed": overflowed,
    }
    if overflowed:
        details["notes"] = [f"{text}; int8 holds them" for text in overflow_warnings(overflowed)]
    if layout.grid is not None:
        details["quantization"] = {
            "bits": layout.grid.bits,
            "group_size": layout.grid.group_size,
            "activations": recipe.quantization.activations,
            **quantizer.settings(),
        }
    return Outcome(tuple(sorted(folder.iterdir())), details)


def _publish(build: Build, job: CompileJob, progress: Progress) -> Outcome:
    """Try the exported folder of `job`, and move it with its manifest to deploy/."""
    target = build.deploy_dir(job)
    # A build that was stopped just after the move has left the folder there.
    folder = next(place for place in (build.work_dir(job), target) if place.is_dir())
    progress.start("load the graph, run a step")
    (folder / MANIFEST_FILE).unlink(missing_ok=True)
    remove_leftovers(folder / MANIFEST_FILE)
    model = OnnxRuntimeModel(folder)
    model.prefill([0])
    model.decode(0)
    progress.start("publish")
    manifest = {
        "version": 1,
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
    write_atomically(folder / MANIFEST_FILE, json.dumps(manifest, indent=2) + "\n")
    if folder != target:
        remove_leftovers(target)
        replace_folder(folder, target)
    return Outcome(tuple(sorted(target.iterdir())))
