"""VG18, VG19, VG90: does a recipe fit model, card and pins, and its workspace the recipe?"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from vacc_gen.schema.checkpoint import geometry_of
from vacc_gen.schema.errors import first_few, plural
from vacc_gen.schema.geometry import shape_difference
from vacc_gen.schema.lint.diagnostics import Finding, Fix, Severity, Span, Steps, dotted, plain
from vacc_gen.schema.lint.files import (
    MODEL_FILES,
    WEIGHT_FOLDER_FILES,
    FileFinding,
    RecipeFile,
    Workspace,
    text_hash,
)
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.suggestions import nearest_of_all
from vacc_gen.schema.precision import EMBEDDED_ONLY

_OF_A_SHELL = re.compile(r"~\w*(/|$)|.*\$\w")
"""`~`, `~me` and `$HOME`; `${HOME}` is a placeholder, VG119."""


@rule("VG190", Severity.ERROR, "unknown preset", scope="recipe", fix="safe")
def unknown_preset(file: RecipeFile) -> Iterator[Finding]:
    """No model, card or environment of this name comes with vacc-gen.

    Bad:
        model: {preset: falcon-7b-instrct}
    Good:
        model: {preset: falcon-7b-instruct}
    """
    recipe = file.recipe
    for shelf, noun, steps, name in (
        ("models", "model", ("model", "preset"), recipe.model.preset),
        ("cards", "card", ("target", "card"), recipe.target.card),
        ("environments", "environment", ("environment", "preset"), recipe.environment.preset),
    ):
        known = file.known.names(shelf) if file.known else ()
        if not known or name is None or name.casefold() in (one.casefold() for one in known):
            continue
        near = nearest_of_all(name, known)
        hint = f"did you mean `{near[0]}`?" if near else f"known: {', '.join(known)}"
        fix = Fix(file.at(*steps), near[0]) if len(near) == 1 else None
        yield Finding(file.at(*steps), f"no {noun} is called `{name}`", hint, fix)


@rule("VG192", Severity.WARNING, "longer than the model's positions", scope="recipe")
def recipe_positions(file: RecipeFile) -> Iterator[Finding]:
    """The model was trained on shorter texts than `total`, and has no positions for the rest.

    Bad:
        target: {total: 4096}
    Good:
        target: {total: 2048}
    """
    total, geometry = file.recipe.target.total, file.geometry
    if geometry is not None and total > geometry.max_positions:
        message = f"total {total} is longer than the model's {geometry.max_positions} positions"
        hint = f"set target.total to {geometry.max_positions} or less"
        yield Finding(file.at("target", "total"), message, hint)


@rule("VG193", Severity.ERROR, "quantization group does not divide the widths", scope="recipe")
def group_size(file: RecipeFile) -> Iterator[Finding]:
    """Weights of a group share a scale, so the group's size divides every width of the model.

    Bad:
        model: {preset: falcon-tiny}
        quantization: {group_size: 64}
    Good:
        model: {preset: falcon-7b}
        quantization: {group_size: 64}
    """
    size, geometry = file.recipe.quantization.group_size, file.geometry
    if size is None or geometry is None:
        return
    for key in ("hidden_size", "ffn_hidden_size"):
        width = getattr(geometry, key)
        if width % size:
            message = f"a group of {size} does not divide the model's {key} {width}"
            hint = "leave `group_size` out, and the widest that does is taken"
            yield Finding(file.at("quantization", "group_size"), message, hint)
            return


@rule("VG194", Severity.ERROR, "checkpoint of another model than the preset", scope="recipe")
def checkpoint_against_preset(file: RecipeFile) -> Iterator[Finding]:
    """The checkpoint is there, and its config.json has other sizes than the preset.

    A vocabulary or a number of positions of its own is no fault: fine-tunes have that. Where the
    preset's sizes are not verified this is a warning, and the checkpoint's own count.

    Bad:
        # vacc.yaml
        model: {preset: falcon-7b, checkpoint: weights}
        ---
        # weights/config.json
        {"model_type": "falcon", "hidden_size": 4096, "num_attention_heads": 64,
         "num_hidden_layers": 32, "vocab_size": 65024}
    Good:
        # vacc.yaml
        model: {preset: falcon-7b, checkpoint: ../weights}
    """
    model = file.recipe.model
    expected = file.known.geometry(model.preset) if file.known else None
    found = geometry_of(file.folder / model.checkpoint) if expected else None
    difference = shape_difference(expected, found) if expected and found else None
    preset = file.known.model(model.preset) if difference and file.known else None
    if preset:
        severity = None if preset.geometry_source.verified else Severity.WARNING
        message = f"the checkpoint is not {model.preset}: {difference}"
        hint = "choose the preset of this checkpoint, or the checkpoint of this preset"
        yield Finding(file.at("model", "checkpoint"), message, hint, severity=severity)


@rule("VG195", Severity.WARNING, "weights and cache exceed the card", scope="recipe")
def does_not_fit(file: RecipeFile) -> Iterator[Finding]:
    """Weights and KV cache of a die, by our estimate, need more memory than a die of the card has.

    The estimate counts 16 requests at once, as `vastgenx serve` takes them by default, and no
    activations or code; docs/explanation/memory.md has the formula.

    Bad:
        model: {preset: falcon-40b}
        target: {card: VA1-16G, tp: 2}
    Good:
        model: {preset: falcon-40b}
        target: {card: VA16, tp: 8}
    """
    target, geometry, known = file.recipe.target, file.geometry, file.known
    card = known.card(target.card) if known and target.card else None
    if geometry is None or card is None:
        return
    memory_bytes = card.die_memory_bytes
    from vacc_gen.schema.geometry import footprint, least_tp

    for precision in file.recipe.precisions:
        need_bytes = footprint(geometry, precision, target.tp, target.total).total_bytes
        if precision not in EMBEDDED_ONLY and need_bytes > memory_bytes:
            enough = least_tp(geometry, precision, target.total, memory_bytes)
            need = f"about {need_bytes / 2**30:.1f} GiB of each"
            has = f"{target.card} has {memory_bytes / 2**30:.0f} GiB"
            message = f"{precision.value} on {target.tp} dies needs {need}, {has}"
            hint = f"by our estimate tp {enough} would fit" if enough else None
            key = "tp" if "tp" in target.model_fields_set else "card"
            yield Finding(file.at("target", key), message, hint)
            return


@rule("VG196", Severity.ERROR, "nothing for the compiler", scope="recipe")
def nothing_to_compile(file: RecipeFile) -> Iterator[Finding]:
    """The embedded backend alone makes int4, and a workspace is for the vendor's compiler too.

    Bad:
        precisions: [int4]
    Good:
        precisions: [int8, int4]
    """
    if EMBEDDED_ONLY.issuperset(file.recipe.precisions):
        message = f"the compiler does not make {file.recipe.precisions[0].value}"
        yield Finding(file.at("precisions"), message, "name fp16, int8 or kv8 as well")


@rule("VG197", Severity.ERROR, "path that cannot be used", scope="recipe")
def odd_path(file: RecipeFile) -> Iterator[Finding]:
    """The checkpoint is a folder: the one with config.json, not a file in it.

    `~` and `$HOME` are a warning. They mean something to a shell; a path in a recipe is taken as it
    is written.

    Bad:
        model: {checkpoint: ~/weights/model.safetensors}
    Good:
        model: {checkpoint: ../weights}
    """
    suffix = PurePath(file.recipe.model.checkpoint).suffix.lower()
    if suffix in MODEL_FILES or suffix in WEIGHT_FOLDER_FILES:
        message = "the checkpoint is a file; a recipe names the folder that it is in"
        hint = "write the folder where config.json and the safetensors files are"
        yield Finding(file.at("model", "checkpoint"), message, hint)
    for steps, path in file.paths.items():
        if _OF_A_SHELL.match(path):
            message = f"`{dotted(steps)}` is taken as it is written: no shell expands `~` and `$`"
            hint = "write the path out, or relative to vacc.yaml"
            yield Finding(file.at(*steps), message, hint, None, Severity.WARNING)


@rule("VG186", Severity.ERROR, "pins that cannot be installed or do not run", scope="recipe")
def bad_pins(file: RecipeFile) -> Iterator[Finding]:
    """Pins exclude each other, have no wheel for the Python, or are known to break together.

    A resolver knows nothing of the last: onnxruntime 1.13.1 beside numpy 2 is imported, and kills
    the process in its first session. The pins of the environment preset count too. A package that
    is published as source alone is a warning: no lock can hold it, but it can be built by hand.

    Bad:
        environment: {pins: [transformers>=4.40, transformers<4.38]}
    Good:
        environment: {pins: ["transformers>=4.38,<4.40"]}
    """
    from vacc_gen.schema.packages import PinProblem, effective_pins, parse_pin, pin_problems

    environment = file.recipe.environment
    if file.known is None:
        return
    own = [parse_pin(text) for text in environment.pins]
    preset = file.known.environment(environment.preset)
    pins = effective_pins(map(parse_pin, preset.asked if preset else ()), own)
    problems = pin_problems(pins, environment.python, file.known.pin_facts())
    placed: dict[tuple[Span, str], list[PinProblem]] = {}  # a Python may be wrong for many pins
    for problem in problems:
        steps: Steps = ("python" if problem.kind == "python" else "preset",)
        if named := [own.index(pin) for pin in problem.pins if pin in own]:
            steps = ("pins", named[0])
        place = file.at("environment", *steps)
        placed.setdefault((place, problem.kind), []).append(problem)
    for (place, kind), (problem, *others) in placed.items():
        more = f"; {plural(len(others), 'more pin')} likewise" if others else ""
        severity = Severity.WARNING if kind == "source-only" else None
        yield Finding(place, problem.message + more, problem.hint, severity=severity)


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
            wanted = getattr(workspace.recipe.recipe.target, key)
            if value is None or value == wanted:
                continue
            message = f"{key} is {plain(value)} here and {plain(wanted)} in vacc.yaml"
            hint = f"write {plain(wanted)} here, or {plain(value)} as target.{key} in vacc.yaml"
            yield config, Finding(config.at(*steps), message, hint)


@rule("VG904", Severity.WARNING, "generated files out of date or missing", scope="workspace")
def stale_files(workspace: Workspace) -> Iterator[FileFinding]:
    """vacc.yaml was changed after the files of its workspace were made from it, or one is gone.

    Bad:
        # vacc.yaml
        version: 2
        ---
        # .vacc-gen/manifest.json
        {"version": 1, "made_from": {"vacc.yaml": "9f86d081884c7d65"},
         "files": {"env/requirements.lock": "9f86d081884c7d65"}}
    Good:
        # .vacc-gen/manifest.json
        {"version": 1, "made_from": {}, "files": {}}
    """
    recipe, made = workspace.recipe, workspace.made
    if made is None:
        return
    if made.made_from.get("vacc.yaml") not in (None, text_hash(recipe.document.text)):
        message = "vacc.yaml was changed after the files of this workspace were made"
        hint = "`vacc-gen generate` makes them again; with --diff it only shows what would change"
        yield recipe, Finding(recipe.key_at("version"), message, hint)
    written = sorted(made.files.keys() - made.pending)
    missing = [path for path in written if not os.path.lexists(recipe.folder / path)]
    if missing:
        message = f"made from this recipe, and no longer there: {first_few(missing)}"
        hint = "`vacc-gen generate` makes what is missing"
        yield recipe, Finding(recipe.key_at("version"), message, hint)


@rule("VG907", Severity.INFO, "not ready to run", scope="workspace")
def not_ready(workspace: Workspace) -> Iterator[FileFinding]:
    """What vacc-gen does not make is still to come: weights, texts, or the vendor's code.

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
