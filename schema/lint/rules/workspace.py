"""VG90, VG94: are the files of a workspace, generated or built, those of its recipe?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from vacc_gen.schema.errors import CheckpointError, first_few, plural
from vacc_gen.schema.json_files import changed_files
from vacc_gen.schema.lint.diagnostics import Finding, Severity, plain
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.tree import Steps
from vacc_gen.schema.lint.weight_files import WeightFiles
from vacc_gen.schema.lint.workspace import FileFinding, Workspace, text_hash


@rule("VG901", Severity.ERROR, "config contradicts the recipe", scope="workspace")
def config_against_recipe(workspace: Workspace) -> Iterator[FileFinding]:
    """A compile config was edited, and has another tp, other lengths or options than vacc.yaml.

    A config that is as it was made follows an older recipe: VG904.

    Bad:
        # vacc.yaml
        target: {prefill: 512}
        ---
        # build/hf_falcon_fp16.yaml
        name: falcon-7b-fp16
    Good:
        # vacc.yaml
        target: {prefill: 1024}
    """
    recipe = workspace.recipe
    for config in workspace.edited_configs:
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
        # .vacc-gen/manifest.json
        {"version": 1, "made_from": {}, "files": {}}
    """
    made_from = workspace.made.made_from.get("vacc.yaml") if workspace.made else None
    if made_from not in (None, text_hash(workspace.recipe.document.text)):
        message = "vacc.yaml was changed after the files of this workspace were made"
        hint = "`vacc-gen generate` makes them again; with --diff it only shows what would change"
        yield workspace.recipe, Finding(workspace.recipe.key_at("version"), message, hint)


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
        # .vacc-gen/manifest.json
        {"version": 1, "made_from": {}, "files": {}}
    """
    made, folder = workspace.made, workspace.recipe.folder
    paths = sorted(made.files.keys() - made.pending) if made else ()
    missing = [path for path in paths if not os.path.lexists(folder / path)]
    if (folder / "source_code" / "config_vacc.json").is_file():
        missing = [path for path in missing if not path.endswith("_vacc.py")]
    if missing:
        message = f"made from this recipe, and no longer there: {first_few(missing)}"
        hint = "`vacc-gen generate` makes what is missing"
        yield workspace.recipe, Finding(workspace.recipe.key_at("version"), message, hint)


@rule("VG907", Severity.INFO, "not ready to run", scope="workspace")
def not_ready(workspace: Workspace) -> Iterator[FileFinding]:
    """Something that vacc-gen does not make is still missing: weights, texts, the vendor's code.

    Nothing is wrong with the workspace; it cannot run before this is there.

    Bad:
        # vacc.yaml
        version: 2
        ---
        # .vacc-gen/manifest.json
        {"version": 1, "made_from": {}, "files": {}}
    Good:
        # vacc.yaml
        model: {checkpoint: weights}
        ---
        # weights/config.json
        {"model_type": "falcon"}
    """
    lacks = list(workspace.lacks()) if workspace.made else []
    if lacks:
        count = f"(not ready: {plural(len(lacks), 'thing')} missing)"
        lacks[-1] = lacks[-1]._replace(message=f"{lacks[-1].message} {count}")
    yield from ((workspace.recipe, lack) for lack in lacks)


@rule("VG940", Severity.ERROR, "compiled model unlike its manifest", scope="compiled")
def changed_artifacts(files: WeightFiles) -> Iterator[CheckpointError]:
    """A file of `deploy/<name>` is missing, or not the one that `build` made.

    Every file is read whole, so only folders that are named are checked.

    Bad:
        # manifest.json
        {"artifacts": [{"path": "decode.onnx", "bytes": 2, "sha256": "ab01"}]}
        ---
        # decode.onnx
        1
    Good:
        # manifest.json
        {"artifacts": []}
        ---
        # decode.onnx
        1
    """
    for name, change in changed_files(files.folder, read_content=True):
        yield CheckpointError(f"{name} {change}", "`vacc-gen build` makes it again", file=name)
