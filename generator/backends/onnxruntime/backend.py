"""The embedded backend: our own export, compiled and verified on ONNX Runtime."""

from __future__ import annotations

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from vacc_gen.generator.backends.base import Build, Outcome, Skip, Stage, Step
from vacc_gen.generator.backends.onnxruntime.export import (
    DTYPES,
    SIDE_FILES,
    Lengths,
    export_graphs,
    required_bytes,
)
from vacc_gen.generator.backends.onnxruntime.quantizing import quantization_details, quantizer_of
from vacc_gen.generator.backends.onnxruntime.sample import modeling_file_of, sample_text, text_of
from vacc_gen.generator.backends.onnxruntime.weights.source import open_checkpoint
from vacc_gen.generator.calibration.texts import files_of
from vacc_gen.generator.calibration.tokenizer import TOKENIZER_FILE, Tokenizer
from vacc_gen.generator.calibration.windows import (
    calibrate,
    check_calibration,
    read_windows,
    windows_file,
)
from vacc_gen.generator.files import package_version, remove_leftovers, sha256_of
from vacc_gen.generator.plan import CompileJob, is_placeholder
from vacc_gen.generator.progress import Progress
from vacc_gen.schema.calibration import Calibration
from vacc_gen.schema.errors import MissingExtraError
from vacc_gen.schema.precision import Precision

if TYPE_CHECKING:
    from vacc_gen.generator.backends.onnxruntime.graph.kv_calibration import CacheWindows

PACKAGES = ("torch", "transformers", "tokenizers", "onnx", "onnxruntime")
"""Of the extra `export`; the first that is missing is named."""

QUANTIZED = (Precision.INT8, Precision.INT4)
"""Those whose weights are, by GPTQ where there are calibration texts."""

CALIBRATION_FOLDER = "calibration"
NO_TEXTS = "the recipe names no calibration set"

WITHOUT_TEXT = {
    Precision.INT8: "int8 is rounded to nearest",
    Precision.INT4: "int4 is rounded to nearest",
    Precision.KV8: "the KV cache is calibrated on the verification text",
}
"""What becomes of a precision that wants calibration texts where the recipe has none."""


class OnnxRuntimeBackend:
    """Exports graphs, loads them, publishes them in deploy/, and measures how near they are."""

    name = "onnxruntime"

    def check(self, build: Build) -> tuple[str, ...]:
        """Refuse what cannot end well.

        Raises:
            MissingExtraError: a package of the extra `export` is not installed.
            StageError: lengths without room for the verification; no such GPU as the recipe's.
            CheckpointError: the checkpoint is not complete, or no group size divides its widths.
            CalibrationError, UnreadableError: the calibration set is damaged, too small, or not
                there.
        """
        for package in PACKAGES:
            if find_spec(package) is None:
                raise MissingExtraError(package, "building with ONNX Runtime")
        for job in build.jobs:
            _disk_bytes(build, job)
        sample_text(build)
        if any(job.precision in WITHOUT_TEXT for job in build.jobs):
            _check_calibration(build)
        if any(job.precision in QUANTIZED for job in build.jobs):
            _check_device(build)
        return ()

    def step(self, stage: Stage, job: CompileJob, build: Build) -> Step | Skip:
        """fp16 is made by export, others by quantize, each straight from the checkpoint."""
        is_fp16 = job.precision is Precision.FP16
        if stage is Stage.CALIBRATE:
            return Skip("fp16 needs none") if is_fp16 else _calibrate(build, job)
        if stage is Stage.EXPORT:
            return _export(build, job) if is_fp16 else Skip("quantize reads the checkpoint")
        if stage is Stage.QUANTIZE:
            return Skip("fp16 is not quantized") if is_fp16 else _export(build, job)
        return _compile(build, job) if stage is Stage.COMPILE else _verify(build, job)


def _check_calibration(build: Build) -> None:
    calibration = build.plan.recipe.calibration
    if calibration is not None and _texts(build) is not None:
        check_calibration(calibration, build.plan.geometry.max_positions, build.root)


def _check_device(build: Build) -> None:
    """Refuse a GPU that is not there, where GPTQ is to run on one."""
    device = build.plan.recipe.quantization.device
    if device not in (None, "cpu") and _texts(build) is not None:
        from vacc_gen.generator.backends.onnxruntime.weights.gptq.layerwise import device_of

        device_of(device)


def _texts(build: Build) -> Calibration | None:
    """The recipe's calibration texts, where it says which and they are no longer a placeholder."""
    calibration = build.plan.recipe.calibration
    if calibration is None or any(is_placeholder(one.path) for one in calibration.sources):
        return None
    return calibration


def _calibrate(build: Build, job: CompileJob) -> Step | Skip:
    """Windows of text, where the recipe says what to draw them from."""
    calibration = _texts(build)
    if calibration is None:
        named = build.plan.recipe.calibration is not None
        lacks = "calibration.path is still to be filled in" if named else NO_TEXTS
        return Skip(f"{lacks}: {WITHOUT_TEXT[job.precision]}")
    tokenizer = build.weights.path / TOKENIZER_FILE
    files = [file for source in calibration.sources for file in files_of(source, build.root)]

    def run(progress: Progress) -> Outcome:
        positions = build.plan.geometry.max_positions
        made = calibrate(
            calibration, tokenizer, build.root / CALIBRATION_FOLDER, positions, progress, build.root
        )
        details = {
            "windows": calibration.samples,
            "seqlen": calibration.seqlen,
            "reused": made.reused,
        }
        return Outcome((made.path, made.manifest_path), details)

    inputs = {
        "calibration": calibration.model_dump(mode="json"),
        "files": [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files],
        "tokenizer": sha256_of(tokenizer),
    }
    return Step(inputs, run)


def _export(build: Build, job: CompileJob) -> Step:
    recipe = build.plan.recipe
    side_files = [build.weights.path / name for name in SIDE_FILES]
    inputs: dict[str, object] = {
        "checkpoint": build.checkpoint_key,
        "side_files": [(file.name, sha256_of(file)) for file in side_files if file.is_file()],
        "lengths": [recipe.target.prefill, recipe.target.total],
        "onnx": package_version("onnx"),
    }
    if job.precision in QUANTIZED:
        inputs["quantization"] = recipe.quantization.model_dump(mode="json")
        if _texts(build) is not None:
            inputs["modeling"] = sha256_of(modeling_file_of(build))
    if job.precision is Precision.KV8:
        inputs["onnxruntime"] = package_version("onnxruntime")  # scales are measured with it
        if _texts(build) is None:
            inputs["text"] = hashlib.sha256(text_of(recipe, build.root)).hexdigest()
    return Step(
        inputs,
        lambda progress: _run_export(build, job, progress),
        writes_bytes=_disk_bytes(build, job),
        moved_to=build.deploy_dir(job),
    )


def _compile(build: Build, job: CompileJob) -> Step:
    def run(progress: Progress) -> Outcome:
        from vacc_gen.generator.backends.onnxruntime.compile import compile_job

        return compile_job(build, job, progress)

    return Step({"onnxruntime": package_version("onnxruntime")}, run)


def _verify(build: Build, job: CompileJob) -> Step:
    """fp16 is compared with torch, int8 with fp16 where that is built too."""
    fp16 = next((one for one in build.jobs if one.precision is Precision.FP16), None)
    against = None if fp16 is job else fp16

    def run(progress: Progress) -> Outcome:
        from vacc_gen.generator.backends.onnxruntime.verify import verify_job

        return verify_job(build, job, against, progress)

    recipe = build.plan.recipe
    inputs = {
        "verification": recipe.verification.model_dump(mode="json"),
        "text": hashlib.sha256(text_of(recipe, build.root)).hexdigest(),
        "modeling": sha256_of(modeling_file_of(build)),
        "packages": [package_version(package) for package in PACKAGES],
    }
    after = ((Stage.VERIFY, against.precision),) if against else ()
    return Step(inputs, run, after=after)


def _disk_bytes(build: Build, job: CompileJob) -> int:
    checkpoint = open_checkpoint(build.weights.path)
    return required_bytes(checkpoint, DTYPES[job.precision], build.plan.recipe.quantization)


def _run_export(build: Build, job: CompileJob, progress: Progress) -> Outcome:
    recipe = build.plan.recipe
    folder = build.work_dir(job)
    remove_leftovers(folder)
    checkpoint = open_checkpoint(build.weights.path)
    windows_file = _windows_file(build) if job.precision in QUANTIZED else None
    quantizer = quantizer_of(build, checkpoint, windows_file, progress)
    result = export_graphs(
        checkpoint,
        folder,
        dtype=DTYPES[job.precision],
        lengths=Lengths(recipe.target.prefill, recipe.target.total),
        quantization=recipe.quantization,
        quantizer=quantizer,
        cache_windows=_cache_windows(build) if job.precision is Precision.KV8 else None,
        metadata={
            "vacc_gen.name": job.name,
            "vacc_gen.recipe": json.dumps(recipe.model_dump(mode="json")),
        },
        progress=progress,
        force=True,
    )
    details: dict[str, object] = {
        "checkpoint_bytes": result.source_bytes,
        "weights_bytes": result.weights_bytes,
        "group_size": None,
        "overflowed": result.overflowed,
        "kv_cache": result.kv_cache,
    }
    if result.layout.grid is not None:
        details |= quantization_details(quantizer, result.layout.grid, recipe.quantization)
    return Outcome(tuple(sorted(folder.iterdir())), details)


def _windows_file(build: Build) -> Path | None:
    """Where the stage calibrate leaves its windows; None where it has no texts."""
    calibration = _texts(build)
    if calibration is None:
        return None
    return windows_file(calibration, build.root / CALIBRATION_FOLDER)


def _cache_windows(build: Build) -> CacheWindows:
    """What an int8 cache is calibrated on: calibration windows, else the verification text."""
    import numpy as np

    from vacc_gen.generator.backends.onnxruntime.graph.kv_calibration import cut_windows

    recipe, file = build.plan.recipe, _windows_file(build)
    if file is None:
        tokenizer = Tokenizer(build.weights.path / TOKENIZER_FILE)
        ids = np.array(tokenizer.encode(text_of(recipe, build.root)))
        return cut_windows(ids, recipe.target.prefill, "verification text")
    source = f"calibration/{file.name}"
    return cut_windows(read_windows(file), recipe.target.prefill, source)
