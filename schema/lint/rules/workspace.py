"""VG90: do the files of a workspace say what its recipe says, and is anything missing?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vacc_gen.schema.lint.diagnostics import Finding, Severity, plain, plural
from vacc_gen.schema.lint.files import ConfigFile
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.tree import Steps
from vacc_gen.schema.lint.workspace import FileFinding, Workspace, text_hash

STACK_SIZE_PARAMETERS = 32_000_000_000
"""Above this many parameters the compiler needs VACC_STACK_SIZE=256 (vendor's llm/README.md)."""

_MOST_NAMED = 3


@rule("VG901", Severity.ERROR, "config contradicts the recipe", scope="workspace")
def config_against_recipe(workspace: Workspace) -> Iterator[FileFinding]:
    """A compile config of the workspace has another tp, other lengths or options than vacc.yaml.

    Bad:
        # vacc.yaml
        version: 2
        precisions: [fp16]
        target: {prefill: 512}
        ---
        # build/hf_falcon_fp16.yaml
        name: falcon-7b-fp16
    Good:
        # vacc.yaml
        version: 2
        precisions: [fp16]
        target: {prefill: 1024}
        ---
        # build/hf_falcon_fp16.yaml
        name: falcon-7b-fp16
    """
    recipe = workspace.recipe
    for config in workspace.own_configs:
        lengths, options = config.lengths, config.options
        values: tuple[tuple[str, Any, Steps], ...] = (
            ("tp", options.tp, ("frontend", "model_kwargs", "tp")),
            ("prefill", lengths and lengths.prefill, ("frontend", "shape", "input_ids", 0, 0)),
            ("total", lengths and lengths.total, ("frontend", "shape", "input_ids", 1, 0)),
            ("align_qkv", options.align_qkv, ("frontend", "model_kwargs", "align_qkv")),
            ("workers", config.config.workspace.workers, ("workspace", "workers")),
        )
        for key, value, steps in values:
            wanted = getattr(recipe.recipe.target, key)
            if value is None or value == wanted:
                continue
            place = f"set target.{key} in vacc.yaml"
            if recipe.document.node("target", key) is not None:
                place = f"change line {recipe.at('target', key).line} of vacc.yaml"
            message = f"{key} is {plain(value)} here and {plain(wanted)} in vacc.yaml"
            hint = f"write {plain(wanted)} here, or {place}"
            yield config, Finding(config.at(*steps), message, hint)


@rule("VG902", Severity.WARNING, "precision without a config", scope="workspace")
def precision_without_config(workspace: Workspace) -> Iterator[FileFinding]:
    """The recipe names a precision, and `build` has no config that compiles it, and never had.

    Bad:
        # vacc.yaml
        version: 2
        precisions: [fp16, int8]
        ---
        # build/hf_falcon_fp16.yaml
        name: falcon-7b-fp16
    Good:
        # vacc.yaml
        version: 2
        precisions: [fp16]
        ---
        # build/hf_falcon_fp16.yaml
        name: falcon-7b-fp16
    """
    from vacc_gen.schema.precision import EMBEDDED_ONLY

    made = {_precision(config) for config in workspace.own_configs}
    if not made or any(path.startswith("build/") for path in workspace.missing()):
        return
    recipe = workspace.recipe
    for index, precision in enumerate(recipe.recipe.precisions):
        if precision.value not in made and precision not in EMBEDDED_ONLY:
            message = f"no config in `build` compiles {precision.value}"
            span = recipe.at("precisions", index)
            yield recipe, Finding(span, message, "`vacc-gen generate` writes it")


def _precision(config: ConfigFile) -> str:
    quantize = config.config.frontend.quantize
    is_kv8 = quantize is not None and quantize.type == "w16kv8"
    return "kv8" if is_kv8 else config.config.backend.dtype


@rule("VG903", Severity.INFO, "large model without a larger stack", scope="workspace")
def stack_size(workspace: Workspace) -> Iterator[FileFinding]:
    """Above 32 billion parameters, `vamc` needs `VACC_STACK_SIZE=256` (vendor's llm/README.md).

    Bad:
        # vacc.yaml
        version: 2
        model: {preset: falcon-40b, checkpoint: /path/to/falcon-40b}
        ---
        # scripts/compile.sh
        vamc compile build/hf_falcon_fp16.yaml
    Good:
        # vacc.yaml
        version: 2
        model: {preset: falcon-40b, checkpoint: /path/to/falcon-40b}
        ---
        # scripts/compile.sh
        export VACC_STACK_SIZE=256
        vamc compile build/hf_falcon_fp16.yaml
    """
    from vacc_gen.schema.footprint import parameter_count

    recipe, script = workspace.recipe, workspace.script("compile.sh")
    if script is None or "VACC_STACK_SIZE" in script or recipe.geometry is None:
        return
    if parameter_count(recipe.geometry) > STACK_SIZE_PARAMETERS:
        message = "scripts/compile.sh does not set VACC_STACK_SIZE"
        hint = "above 32 billion parameters: export VACC_STACK_SIZE=256"
        yield recipe, Finding(recipe.at("model", "preset"), message, hint)


@rule("VG904", Severity.WARNING, "files made from an older recipe", scope="workspace")
def stale_files(workspace: Workspace) -> Iterator[FileFinding]:
    """vacc.yaml was changed after the files of its workspace were made from it.

    Bad:
        # vacc.yaml
        version: 2
        ---
        # .vacc-gen/manifest.json
        {"version": 1, "made_from": {"vacc.yaml": "9f86d081884c7d65"}, "files": {}}
    Good:
        # vacc.yaml
        version: 2
        ---
        # .vacc-gen/manifest.json
        {"version": 1, "made_from": {}, "files": {}}
    """
    made, recipe = workspace.made, workspace.recipe
    if made is not None and made.recipe and made.recipe != text_hash(recipe.document.text):
        message = "vacc.yaml was changed after the files of this workspace were made"
        hint = "`vacc-gen generate` makes them again; with --diff it only shows what would change"
        yield recipe, Finding(recipe.key_at("version"), message, hint)


@rule("VG905", Severity.WARNING, "generated file missing", scope="workspace")
def missing_file(workspace: Workspace) -> Iterator[FileFinding]:
    """A file that was made from vacc.yaml is no longer there.

    Code that config_vacc.json names is VG921.

    Bad:
        # vacc.yaml
        version: 2
        ---
        # .vacc-gen/manifest.json
        {"version": 1, "made_from": {}, "files": {"env/requirements.lock": "9f86d081884c7d65"}}
    Good:
        # vacc.yaml
        version: 2
        ---
        # .vacc-gen/manifest.json
        {"version": 1, "made_from": {}, "files": {}}
    """
    missing = workspace.missing()
    if (workspace.root / "source_code" / "config_vacc.json").is_file():
        missing = [path for path in missing if not path.endswith("_vacc.py")]
    if missing:
        more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
        named = ", ".join(missing[:_MOST_NAMED]) + more
        message = f"made from this recipe, and no longer there: {named}"
        hint = "`vacc-gen generate` makes what is missing"
        yield workspace.recipe, Finding(workspace.recipe.key_at("version"), message, hint)


@rule("VG907", Severity.INFO, "not ready to run", scope="workspace")
def not_ready(workspace: Workspace) -> Iterator[FileFinding]:
    """Something that vacc-gen does not make is still missing: weights, texts, the vendor's code.

    Nothing is wrong with the workspace; it cannot run before this is there.

    Bad:
        # vacc.yaml
        version: 2
        precisions: [fp16]
        ---
        # .vacc-gen/manifest.json
        {"version": 1, "made_from": {}, "files": {}}
        ---
        # build/hf_falcon_fp16.yaml
        name: falcon-7b-fp16
    Good:
        # vacc.yaml
        version: 2
        precisions: [fp16]
        model: {preset: falcon-7b, checkpoint: weights}
        ---
        # weights/config.json
        {"model_type": "falcon"}
        ---
        # .vacc-gen/manifest.json
        {"version": 1, "made_from": {}, "files": {}}
        ---
        # build/hf_falcon_fp16.yaml
        name: falcon-7b-fp16
    """
    lacks = workspace.lacks() if workspace.made and workspace.configs else []
    for number, (steps, message, hint) in enumerate(lacks, start=1):
        if number == len(lacks):
            message = f"{message} (not ready: {plural(number, 'thing')} missing)"
        yield workspace.recipe, Finding(workspace.recipe.at(*steps), message, hint)
