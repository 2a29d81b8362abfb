"""VG90: do the compile configs of a workspace say what its recipe says?"""

from __future__ import annotations

from collections.abc import Iterator

from vacc_gen.schema.lint.diagnostics import Severity
from vacc_gen.schema.lint.group import GroupFinding, Workspace
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.rules._facts import basename, lengths_of
from vacc_gen.schema.lint.rules._wording import plain
from vacc_gen.schema.lint.subject import Finding, Subject

_AGAIN = "`vacc-gen generate` writes it again; or change the recipe"
STACK_SIZE_PARAMETERS = 32_000_000_000
"""Above this many parameters the compiler wants VACC_STACK_SIZE=256 (vendor's llm/README.md)."""


def _of_the_recipe(workspace: Workspace) -> Iterator[Subject]:
    """Yield the configs that are of the recipe's checkpoint; others are none of its business."""
    checkpoint = workspace.recipe.get("model", "checkpoint")
    for config in workspace.configs:
        theirs = config.get("frontend", "checkpoint")
        if not isinstance(checkpoint, str) or not isinstance(theirs, str):
            continue
        if basename(theirs) == basename(checkpoint) and lengths_of(config) is not None:
            yield config


@rule("VG901", Severity.ERROR, "config contradicts the recipe", scope="workspace")
def config_against_recipe(workspace: Workspace) -> Iterator[GroupFinding]:
    """A compile config of the workspace has another tp, other lengths or options than vacc.yaml.

    Bad:
        # vacc.yaml
        version: 2
        model: {preset: falcon-7b, checkpoint: /path/to/falcon-7b}
        precisions: [fp16]
        target: {tp: 4, prefill: 1024, total: 2048}
        ---
        # build/hf_falcon_fp16.yaml
        name: falcon-7b-fp16
        frontend:
          checkpoint: /path/to/falcon-7b
          shape: {input_ids: [[512], [2048]]}
          model_kwargs: {tp: 4, model_arch: vacc}
    Good:
        # vacc.yaml
        version: 2
        model: {preset: falcon-7b, checkpoint: /path/to/falcon-7b}
        precisions: [fp16]
        target: {tp: 4, prefill: 1024, total: 2048}
        ---
        # build/hf_falcon_fp16.yaml
        name: falcon-7b-fp16
        frontend:
          checkpoint: /path/to/falcon-7b
          shape: {input_ids: [[1024], [2048]]}
          model_kwargs: {tp: 4, model_arch: vacc}
    """
    recipe = workspace.recipe
    for config in _of_the_recipe(workspace):
        lengths = lengths_of(config)
        if lengths is None or lengths.total is None:
            continue
        places = {
            "tp": (
                ("frontend", "model_kwargs", "tp"),
                config.get("frontend", "model_kwargs", "tp"),
            ),
            "prefill": (("frontend", "shape", "input_ids", 0, 0), lengths.prefill.value),
            "total": (("frontend", "shape", "input_ids", 1, 0), lengths.total.value),
            "align_qkv": (
                ("frontend", "model_kwargs", "align_qkv"),
                config.get("frontend", "model_kwargs", "align_qkv"),
            ),
            "workers": (("workspace", "workers"), config.get("workspace", "workers")),
        }
        for key, (steps, value) in places.items():
            wanted = recipe.get("target", key)
            if wanted is not None and value is not None and wanted != value:
                line = recipe.span("target", key).line
                yield (
                    config,
                    Finding(
                        config.span(*steps),
                        f"{key} is {plain(value)} here and {plain(wanted)} in vacc.yaml",
                        f"vacc.yaml, line {line}. {_AGAIN}",
                    ),
                )


@rule("VG902", Severity.WARNING, "precision without a config", scope="workspace")
def precision_without_config(workspace: Workspace) -> Iterator[GroupFinding]:
    """The recipe names a precision, and `build` has no config that compiles it.

    Bad:
        # vacc.yaml
        version: 2
        model: {preset: falcon-7b, checkpoint: /path/to/falcon-7b}
        precisions: [fp16, int8]
        ---
        # build/hf_falcon_fp16.yaml
        name: falcon-7b-fp16
        frontend: {checkpoint: /path/to/falcon-7b}
    Good:
        # vacc.yaml
        version: 2
        model: {preset: falcon-7b, checkpoint: /path/to/falcon-7b}
        precisions: [fp16]
        ---
        # build/hf_falcon_fp16.yaml
        name: falcon-7b-fp16
        frontend: {checkpoint: /path/to/falcon-7b}
    """
    from vacc_gen.schema.precision import EMBEDDED_ONLY

    recipe = workspace.recipe
    made = {_precision(config) for config in _of_the_recipe(workspace)}
    if not made or None in made:
        return
    if any(path.startswith("build/") for path in workspace.missing()):
        return  # VG905
    for index, precision in enumerate(recipe.get("precisions") or ()):
        if precision not in made and precision not in EMBEDDED_ONLY:
            yield (
                recipe,
                Finding(
                    recipe.span("precisions", index),
                    f"no config in `build` compiles {precision}",
                    "`vacc-gen generate` writes it",
                ),
            )


def _precision(config: Subject) -> str | None:
    dtype: str | None = config.get("backend", "dtype")
    return "kv8" if config.get("frontend", "quantize", "type") == "w16kv8" else dtype


@rule("VG903", Severity.INFO, "large model without a larger stack", scope="workspace")
def stack_size(workspace: Workspace) -> Iterator[GroupFinding]:
    """Above 32 billion parameters the compiler wants `VACC_STACK_SIZE=256` in its environment
    (vendor's llm/README.md), and the script that runs it does not set that.

    Bad:
        # vacc.yaml
        version: 2
        model: {preset: falcon-40b, checkpoint: /path/to/falcon-40b}
        ---
        # build/hf_falcon_fp16.yaml
        name: falcon-40b-fp16
        frontend: {checkpoint: /path/to/falcon-40b}
        ---
        # scripts/compile.sh
        vamc compile build/hf_falcon_fp16.yaml
    Good:
        # vacc.yaml
        version: 2
        model: {preset: falcon-40b, checkpoint: /path/to/falcon-40b}
        ---
        # build/hf_falcon_fp16.yaml
        name: falcon-40b-fp16
        frontend: {checkpoint: /path/to/falcon-40b}
        ---
        # scripts/compile.sh
        export VACC_STACK_SIZE=256
        vamc compile build/hf_falcon_fp16.yaml
    """
    geometry = workspace.recipe.geometry or {}
    if (geometry.get("parameters") or 0) <= STACK_SIZE_PARAMETERS:
        return
    script = workspace.root / "scripts" / "compile.sh"
    try:
        text = script.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    if "VACC_STACK_SIZE" not in text:
        recipe = workspace.recipe
        yield (
            recipe,
            Finding(
                recipe.span("model", "preset"),
                "scripts/compile.sh does not set VACC_STACK_SIZE",
                "above 32 billion parameters: export VACC_STACK_SIZE=256",
            ),
        )
