"""Every generated file of a workspace, and the templates that some are made from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined, select_autoescape

from vacc_gen.generator.calibration.texts import calibration_targets
from vacc_gen.generator.emit.yaml_text import RECIPE_SCHEMA_PATH, sections
from vacc_gen.generator.environment.lock import (
    DESCRIPTION_PATH,
    LOCK_PATH,
    Lock,
    description_text,
    lock_of,
    missing_lock_reason,
)
from vacc_gen.generator.plan import (
    CompileJob,
    Plan,
    is_placeholder,
    needs_large_stack,
    quantizes_first,
)
from vacc_gen.generator.vision import PATCH_PIXELS
from vacc_gen.presets import CALIBRATION_SETS
from vacc_gen.schema.errors import word_for_shell
from vacc_gen.schema.preset import VACC_CONFIG_FILE

SOURCE_FOLDER = PurePosixPath("source_code")
"""Where code and its config stand until scripts/prepare.sh puts them beside the weights."""
SCRIPTS_FOLDER = PurePosixPath("scripts")
MODELING_HEADER = (
    "# Written by `vacc-gen generate`, which keeps and names a copy that was changed.\n"
)
"""A comment, so that what follows stays the module's docstring."""
AUTO_CLASSES = {
    "AutoConfig": "FalconConfig",
    "AutoModel": "FalconModel",
    "AutoModelForCausalLM": "FalconForCausalLM",
}


@dataclass(frozen=True)
class EmittedFile:
    """Text that is to stand at `path`, relative to the workspace."""

    path: PurePosixPath
    text: str
    executable: bool = False


def emit(
    plan: Plan, model_config: Mapping[str, Any] | None, own_lock: Lock | None = None
) -> tuple[EmittedFile, ...]:
    """Return every generated file of a workspace; vacc.yaml is the user's and not among them.

    `model_config` is the checkpoint's config.json; None stands for the preset's. `own_lock` is
    what `vacc-gen lock` left in the workspace; it stays for as long as it satisfies the recipe.
    """
    environment = plan.recipe.environment
    lock = lock_of(environment, own_lock)
    values = _template_values(plan, lock)
    schema = (files("vacc_gen.schema") / "recipe.schema.json").read_text(encoding="utf-8")
    return (
        *(EmittedFile(job.config_path, compile_config_text(job)) for job in plan.configs),
        *_modeling_files(plan, model_config),
        *_scripts(plan, values),
        *([EmittedFile(LOCK_PATH, lock.text)] if lock else []),
        EmittedFile(DESCRIPTION_PATH, description_text(environment, lock)),
        EmittedFile(PurePosixPath("README.md"), render("README.md.jinja", **values)),
        EmittedFile(RECIPE_SCHEMA_PATH, schema),
    )


def compile_config_text(job: CompileJob) -> str:
    """Return a compile config as text; it parses to exactly `job.config`."""
    return (
        f"# vamc compile {job.config_path}    (run it in the workspace: paths are relative to it)\n"
        f"# Made from vacc.yaml by `vacc-gen generate`.\n"
        f"{sections(job.config)}"
    )


def _modeling_files(plan: Plan, model_config: Mapping[str, Any] | None) -> tuple[EmittedFile, ...]:
    """Return the code that the weight folder needs, where it is ours, and the config for it."""
    sources = tuple(
        EmittedFile(SOURCE_FOLDER / source.name, MODELING_HEADER + template_text(source.name))
        for source in plan.preset.sources
        if source.generated
    )
    config = plan.preset.config if model_config is None else model_config
    if not sources or config is None:
        return sources
    module = f"modeling_{plan.preset.family}_vacc"
    # The three additions are those of the vendor's llm/README.md.
    vacc_config = {
        **config,
        "auto_map": {auto: f"{module}.{name}" for auto, name in AUTO_CLASSES.items()},
        "_attn_implementation": "eager",
        "insert_slice": True,
    }
    text = json.dumps(vacc_config, indent=2) + "\n"
    return (*sources, EmittedFile(SOURCE_FOLDER / VACC_CONFIG_FILE, text))


def _scripts(plan: Plan, values: Mapping[str, object]) -> tuple[EmittedFile, ...]:
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
    emitted = [
        EmittedFile(SCRIPTS_FOLDER / name, render(f"{name}.jinja", **values), executable=True)
        for name, wanted in names.items()
        if wanted
    ]
    if preset.code_is_ours:
        text = template_text("export.py")
        emitted.append(EmittedFile(SCRIPTS_FOLDER / "export.py", text, executable=True))
    return tuple(emitted)


def _template_values(plan: Plan, lock: Lock | None) -> dict[str, object]:
    """Return what the templates of README and scripts may name."""
    recipe, tp, tower = plan.recipe, plan.recipe.target.tp, plan.preset.vision
    return {
        "preset": plan.preset,
        "target": recipe.target,
        "environment": recipe.environment,
        "missing_lock": None if lock else missing_lock_reason(recipe.environment),
        "checkpoint": recipe.model.checkpoint,
        "checkpoint_is_placeholder": is_placeholder(recipe.model.checkpoint),
        "source_folder": SOURCE_FOLDER,
        "files": plan.preset.beside_weights(),
        "jobs": plan.vamc_jobs,
        "quantized_first": [job for job in plan.vamc_jobs if quantizes_first(plan, job)],
        "tower": plan.tower,
        "max_pixels": tower.patches * PATCH_PIXELS if tower else 0,
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


def template_text(name: str) -> str:
    """Return a file of generator/templates as it is."""
    return (files("vacc_gen.generator") / "templates" / name).read_text(encoding="utf-8")


def render(name: str, **values: object) -> str:
    """Return a template with `values` filled in; an unknown name in it is an error.

    In pages no value becomes markup; in scripts `{{ value | q }}` is `value` quoted for the shell.
    """
    return TEMPLATES.get_template(name).render(values)


TEMPLATES = Environment(
    loader=FunctionLoader(template_text),
    autoescape=select_autoescape(["html.jinja"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
TEMPLATES.filters["q"] = lambda value: word_for_shell(str(value))
