"""scripts/: the steps for people who have the workspace but not vacc-gen."""

from __future__ import annotations

from pathlib import PurePosixPath

from vacc_gen.generator.emit.emitted import EmittedFile
from vacc_gen.generator.emit.modeling import CONFIG_FILE, SOURCE_FOLDER
from vacc_gen.generator.emit.template import render, template_text
from vacc_gen.generator.plan import (
    DEPLOY_PATH,
    Plan,
    is_placeholder,
    needs_large_stack,
    quantizes_first,
)

SCRIPTS_FOLDER = PurePosixPath("scripts")


def scripts(plan: Plan) -> tuple[EmittedFile, ...]:
    """Return the scripts; download.sh only where the preset knows a source of the weights."""
    names = ["prepare.sh", "compile.sh", "serve.sh"]
    if plan.preset.huggingface_id is not None:
        names.insert(0, "download.sh")
    values = script_values(plan)
    rendered = tuple(
        EmittedFile(SCRIPTS_FOLDER / name, render(f"{name}.jinja", **values), executable=True)
        for name in names
    )
    export = EmittedFile(SCRIPTS_FOLDER / "export.py", template_text("export.py"), executable=True)
    return (*rendered, export)


def script_values(plan: Plan) -> dict[str, object]:
    """Return what the templates of the scripts may name."""
    checkpoint = plan.recipe.model.checkpoint
    sources = plan.preset.sources
    return {
        "repository": plan.preset.huggingface_id,
        "checkpoint": checkpoint,
        "checkpoint_is_absolute": checkpoint.startswith("/"),
        "checkpoint_is_placeholder": is_placeholder(checkpoint),
        "source_folder": SOURCE_FOLDER,
        "placed_files": [*(source.name for source in sources if source.generated), CONFIG_FILE],
        "brought_files": [source.name for source in sources if not source.generated],
        "deploy_path": PurePosixPath(DEPLOY_PATH),
        "jobs": [
            {
                "precision": job.precision.value,
                "config": job.config_path,
                "name": job.name,
                "quantize_first": quantizes_first(plan, job),
            }
            for job in plan.jobs
        ],
        "is_large": needs_large_stack(plan),
        "devices": "[" + ",".join(str(die) for die in range(plan.recipe.target.tp)) + "]",
    }
