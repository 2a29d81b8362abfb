"""scripts/: the steps for people who have the workspace but not vacc-gen."""

from __future__ import annotations

from pathlib import PurePosixPath

from vacc_gen.generator.calibration.texts import calibration_targets
from vacc_gen.generator.emit.modeling import SOURCE_FOLDER
from vacc_gen.generator.emit.template import EmittedFile, render, template_text
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
    return {
        "repository": plan.preset.huggingface_id,
        "checkpoint": checkpoint,
        "checkpoint_is_absolute": checkpoint.startswith("/"),
        "checkpoint_is_placeholder": is_placeholder(checkpoint),
        "source_folder": SOURCE_FOLDER,
        "files": plan.preset.beside_weights(),
        "is_ours": plan.preset.code_is_ours,
        "jobs": [
            {
                "precision": job.precision.value,
                "config": job.config_path,
                "deployed": job.deploy_path,
                "quantize_first": quantizes_first(plan, job),
            }
            for job in plan.vamc_jobs
        ],
        "tower": plan.tower,
        "max_pixels": max_pixels(plan.preset.vision) if plan.preset.vision else 0,
        "sets": _calibration_files(plan),
        "is_large": needs_large_stack(plan),
        "devices": "[" + ",".join(str(die) for die in range(plan.recipe.target.tp)) + "]",
        "tower_devices": f"[{plan.recipe.target.tp}]",
    }


def _calibration_files(plan: Plan) -> list[dict[str, str]]:
    """The published files that the recipe calibrates on, and where it looks for them."""
    calibration = plan.recipe.calibration
    sources = calibration.sources if calibration is not None else ()
    wanted = [
        source
        for source in sources
        if source.set in CALIBRATION_SETS.names() and not is_placeholder(source.path)
    ]
    presets = [CALIBRATION_SETS.find(source.set) for source in wanted]
    return [
        {"repository": preset.huggingface_id, "file": str(name), "target": str(target)}
        for preset, source in zip(presets, wanted, strict=True)
        for name, target in calibration_targets(preset, source).items()
    ]
