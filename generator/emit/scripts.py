"""scripts/: the steps for people who have the workspace but not vacc-gen."""

from __future__ import annotations

from pathlib import PurePosixPath

from vacc_gen.generator.calibration.published import calibration_targets
from vacc_gen.generator.emit.template import SOURCE_FOLDER, EmittedFile, render, template_text
from vacc_gen.generator.plan import Plan, is_placeholder, needs_large_stack, quantizes_first
from vacc_gen.generator.vision import max_pixels
from vacc_gen.presets import CALIBRATION_SETS

SCRIPTS_FOLDER = PurePosixPath("scripts")


def scripts(plan: Plan) -> tuple[EmittedFile, ...]:
    """Return the scripts that make sense for the model.

    download.sh where the preset knows a source of the weights, prepare.sh where code must stand
    beside them, export.py where that code is ours.
    """
    preset = plan.preset
    names = {
        "download.sh": preset.huggingface_id is not None,
        "prepare.sh": bool(preset.sources),
        "compile.sh": True,
        "serve.sh": True,
    }
    values = script_values(plan)
    emitted = [
        EmittedFile(SCRIPTS_FOLDER / name, render(f"{name}.jinja", **values), executable=True)
        for name, wanted in names.items()
        if wanted
    ]
    if preset.code_is_ours:
        text = template_text("export.py")
        emitted.append(EmittedFile(SCRIPTS_FOLDER / "export.py", text, executable=True))
    return tuple(emitted)


def script_values(plan: Plan) -> dict[str, object]:
    """Return what the templates of the scripts may name."""
    checkpoint = plan.recipe.model.checkpoint
    tp = plan.recipe.target.tp
    return {
        "repository": plan.preset.huggingface_id,
        "checkpoint": checkpoint,
        "checkpoint_is_placeholder": is_placeholder(checkpoint),
        "source_folder": SOURCE_FOLDER,
        "files": plan.preset.beside_weights(),
        "is_ours": plan.preset.code_is_ours,
        "jobs": plan.vamc_jobs,
        "quantized_first": [job for job in plan.vamc_jobs if quantizes_first(plan, job)],
        "tower": plan.tower,
        "max_pixels": max_pixels(plan.preset.vision) if plan.preset.vision else 0,
        "texts": _calibration_files(plan),
        "is_large": needs_large_stack(plan),
        "devices": "[" + ",".join(map(str, range(tp))) + "]",
        "tower_devices": f"[{tp}]",
    }


def _calibration_files(plan: Plan) -> list[tuple[str, PurePosixPath, PurePosixPath]]:
    """Return repository and name of the published files to calibrate on, and where each goes."""
    calibration = plan.recipe.calibration
    return [
        (CALIBRATION_SETS.find(source.set).huggingface_id, name, target)
        for source in (calibration.sources if calibration else ())
        if source.set in CALIBRATION_SETS.names() and not is_placeholder(source.path)
        for name, target in calibration_targets(CALIBRATION_SETS.find(source.set), source).items()
    ]
