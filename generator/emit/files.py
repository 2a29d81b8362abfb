"""Every file of a workspace as text: from templates, and as YAML laid out as published."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Any

import yaml
from jinja2 import Environment, FunctionLoader, StrictUndefined, select_autoescape

from vacc_gen.generator.calibration.texts import calibration_targets
from vacc_gen.generator.lock import (
    DESCRIPTION_PATH,
    LOCK_PATH,
    Lock,
    description_text,
    lock_of,
    missing_lock_reason,
)
from vacc_gen.generator.plan import (
    PATCH_PIXELS,
    CompileJob,
    Plan,
    is_placeholder,
    needs_large_stack,
    quantizes_first,
)
from vacc_gen.presets import CALIBRATION_SETS
from vacc_gen.schema.errors import shell_command, word_for_shell
from vacc_gen.schema.preset import VACC_CONFIG_FILE, ModelPreset
from vacc_gen.schema.recipe import Recipe

SOURCE_FOLDER = PurePosixPath("source_code")
"""Where code and its config stand until scripts/prepare.sh puts them beside the weights."""
SCRIPTS_FOLDER = PurePosixPath("scripts")
RECIPE_SCHEMA_PATH = PurePosixPath(".vacc-gen", "recipe.schema.json")
"""Where editors find the JSON Schema that the first lines of vacc.yaml name."""
MODELING_HEADER = (
    "# Written by `vacc-gen generate`, which keeps and names a copy that was changed.\n"
)
"""A comment, so that what follows stays the module's docstring."""
AUTO_CLASSES = {
    "AutoConfig": "FalconConfig",
    "AutoModel": "FalconModel",
    "AutoModelForCausalLM": "FalconForCausalLM",
}


def emit(
    plan: Plan, model_config: Mapping[str, Any] | None, own_lock: Lock | None = None
) -> dict[str, str]:
    """Return the text of every generated file of a workspace by its path; vacc.yaml is the user's.

    `model_config` is the checkpoint's config.json; None stands for the preset's. `own_lock` is
    what `vacc-gen lock` left in the workspace; it stays for as long as it satisfies the recipe.
    """
    preset, environment = plan.preset, plan.recipe.environment
    lock = lock_of(environment, own_lock)
    values = _template_values(plan, lock)
    made = {str(job.config_path): compile_config_text(job) for job in plan.configs}
    for source in preset.sources:
        if source.generated:
            made[f"{SOURCE_FOLDER}/{source.name}"] = MODELING_HEADER + template_text(source.name)
    config = preset.config if model_config is None else model_config
    if preset.code_is_ours and config is not None:
        made[f"{SOURCE_FOLDER}/{VACC_CONFIG_FILE}"] = _vacc_config_text(preset, config)
    scripts = {
        "download.sh": preset.huggingface_id is not None,
        "prepare.sh": bool(preset.sources),
        "compile.sh": True,
        "serve.sh": True,
    }
    for name, is_wanted in scripts.items():
        if is_wanted:
            made[f"{SCRIPTS_FOLDER}/{name}"] = render(f"{name}.jinja", **values)
    if preset.code_is_ours:
        made[f"{SCRIPTS_FOLDER}/export.py"] = template_text("export.py")
    if lock:
        made[str(LOCK_PATH)] = lock.text
    made[str(DESCRIPTION_PATH)] = description_text(environment, lock)
    made["README.md"] = render("README.md.jinja", **values)
    schema = files("vacc_gen.schema") / "recipe.schema.json"
    made[str(RECIPE_SCHEMA_PATH)] = schema.read_text(encoding="utf-8")
    return made


def compile_config_text(job: CompileJob) -> str:
    """Return a compile config as text; it parses to exactly `job.config`."""
    return (
        f"# vamc compile {job.config_path}    (run it in the workspace: paths are relative to it)\n"
        f"# Made from vacc.yaml by `vacc-gen generate`.\n"
        f"{sections(job.config)}"
    )


def _vacc_config_text(preset: ModelPreset, config: Mapping[str, Any]) -> str:
    """Return config.json with the three additions of the vendor's llm/README.md."""
    module = f"modeling_{preset.family}_vacc"
    additions = {
        "auto_map": {auto: f"{module}.{name}" for auto, name in AUTO_CLASSES.items()},
        "_attn_implementation": "eager",
        "insert_slice": True,
    }
    return json.dumps({**config, **additions}, indent=2) + "\n"


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
        "texts": list(_calibration_files(plan)),
        "is_large": needs_large_stack(plan),
        "devices": "[" + ",".join(map(str, range(tp))) + "]",
        "tower_devices": f"[{tp}]",
    }


def _calibration_files(plan: Plan) -> Iterator[tuple[str, PurePosixPath, PurePosixPath]]:
    """Yield repository and name of the published files to calibrate on, and where each goes."""
    calibration = plan.recipe.calibration
    for source in calibration.sources if calibration else ():
        texts = CALIBRATION_SETS.get(source.set)
        if texts and not is_placeholder(source.path):
            for name, target in calibration_targets(texts, source).items():
                yield texts.huggingface_id, name, target


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


# --- YAML --------------------------------------------------------------------------------------

_WHOLE = ("version", "model", "precisions", "target", "environment")
"""Sections of a recipe that are written with their defaults; of others, only what differs is."""


class _Dumper(yaml.SafeDumper):
    """Writes lists in flow style unless of mappings; repeats a value rather than refer to it."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _flow_list(dumper: yaml.SafeDumper, values: Any) -> yaml.Node:
    is_flat = not any(isinstance(value, Mapping) for value in values)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=is_flat)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = None if text.isprintable() else '"'  # which alone knows escapes
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(list, _flow_list)
_Dumper.add_representer(tuple, _flow_list)


def sections(values: Mapping[str, object]) -> str:
    """Return `values` as YAML, mappings of the top level set apart by blank lines."""
    text = ""
    previous_is_block = False
    for key, value in values.items():
        is_block = isinstance(value, Mapping)
        if text and (is_block or previous_is_block):
            text += "\n"
        block = yaml.dump(
            {key: value},
            Dumper=_Dumper,
            default_flow_style=False,
            sort_keys=False,
            allow_unicode=True,
            width=1 << 30,  # one value, one line, whatever its length
        )
        text += "".join(
            mark if mark.isprintable() or mark == "\n" else f"\\U{ord(mark):08x}" for mark in block
        )
        previous_is_block = is_block
    return text


def recipe_text(recipe: Recipe, command: Sequence[str]) -> str:
    """Return vacc.yaml as `new` writes it: what was chosen, and the defaults likely to change.

    It reads back as the same recipe. `command`, the command line that made it, becomes a comment.
    """
    every = recipe.model_dump(mode="json", exclude_none=True)
    chosen = recipe.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    shown = {**chosen, **{key: every[key] for key in _WHOLE}}
    values = {key: shown[key] for key in every if key in shown}
    if not recipe.environment.pins:
        del values["environment"]["pins"]
    if recipe.calibration is not None:
        keys = {*chosen["calibration"], "samples"}
        values["calibration"] = {
            key: value for key, value in every["calibration"].items() if key in keys
        }
    return (
        f"# {shell_command(command)}\n"
        f"# yaml-language-server: $schema={RECIPE_SCHEMA_PATH}\n"
        f"{sections(values)}"
    )
