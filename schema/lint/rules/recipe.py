"""VG18 and VG19: can the recipe be read, does it fit its model and card, do its pins fit?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vacc_gen.schema.errors import plural
from vacc_gen.schema.lint import fixes
from vacc_gen.schema.lint.diagnostics import Finding, Severity, dotted
from vacc_gen.schema.lint.document import Document, newer_version
from vacc_gen.schema.lint.files import RecipeFile
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.suggestions import nearest_of_all
from vacc_gen.schema.lint.tree import Span

if TYPE_CHECKING:
    from vacc_gen.schema.packages import Pin, PinProblem

_FILES = (".safetensors", ".bin", ".json", ".gguf", ".onnx", ".pt", ".pth", ".torchscript")
_OF_A_SHELL = re.compile(r"~\w*(/|$)|.*\$\w")
"""`~`, `~me` and `$HOME`; `${HOME}` is a placeholder, VG119."""


@rule("VG180", Severity.ERROR, "recipe of a newer version", scope="document")
def newer_recipe(document: Document) -> Iterator[Finding]:
    """The recipe is of a version that this vacc-gen does not know, so nothing else is checked.

    Bad:
        version: 99
    Good:
        version: 2
    """
    newer = newer_version(document)
    if newer is not None:
        from vacc_gen.schema.recipe import RECIPE_VERSION  # its models: for recipes alone

        message = f"version {newer}; this vacc-gen reads recipes up to {RECIPE_VERSION}"
        hint = "upgrade vacc-gen: pip install --upgrade vacc-gen"
        yield Finding(document.value_span("version"), message, hint)


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
        fix = fixes.replace(file.at(*steps), near[0]) if len(near) == 1 else None
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
    from vacc_gen.schema.checkpoint import geometry_of
    from vacc_gen.schema.geometry import shape_difference

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
    target, geometry = file.recipe.target, file.geometry
    card = file.known.card(target.card) if file.known and target.card else None
    if card is None or geometry is None:
        return
    memory_bytes = card.die_memory_bytes
    from vacc_gen.schema.geometry import footprint, least_tp
    from vacc_gen.schema.precision import EMBEDDED_ONLY

    for precision in file.recipe.precisions:
        need_bytes = footprint(geometry, precision, target.tp, target.total).total_bytes
        if precision in EMBEDDED_ONLY or need_bytes <= memory_bytes:
            continue
        enough = least_tp(geometry, precision, target.total, memory_bytes)
        message = (
            f"{precision.value} on {target.tp} dies needs about {need_bytes / 2**30:.1f} GiB of "
            f"each, {target.card} has {memory_bytes / 2**30:.0f} GiB"
        )
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
    from vacc_gen.schema.precision import EMBEDDED_ONLY

    if EMBEDDED_ONLY.issuperset(file.recipe.precisions):
        message = f"the compiler does not make {file.recipe.precisions[0].value}"
        yield Finding(file.at("precisions"), message, "name fp16, int8 or kv8 as well")


@rule("VG197", Severity.WARNING, "path that only a shell understands", scope="recipe")
def shell_path(file: RecipeFile) -> Iterator[Finding]:
    """`~` and `$HOME` mean something to a shell; a path in a recipe is taken as it is written.

    Bad:
        model: {checkpoint: ~/weights/falcon-7b}
    Good:
        model: {checkpoint: ../weights/falcon-7b}
    """
    for steps, path in file.paths.items():
        if _OF_A_SHELL.match(path):
            message = f"`{dotted(steps)}` is taken as it is written: no shell expands `~` and `$`"
            yield Finding(file.at(*steps), message, "write the path out, or relative to vacc.yaml")


@rule("VG199", Severity.ERROR, "file where a folder belongs", scope="recipe")
def file_for_folder(file: RecipeFile) -> Iterator[Finding]:
    """A recipe names the folder of the weights, and this is the name of a file.

    Bad:
        model: {checkpoint: weights/model.safetensors}
    Good:
        model: {checkpoint: weights}
    """
    if file.recipe.model.checkpoint.lower().endswith(_FILES):
        message = "the checkpoint is a file; a recipe names the folder that it is in"
        hint = "write the folder where config.json and the safetensors files are"
        yield Finding(file.at("model", "checkpoint"), message, hint)


@rule("VG186", Severity.ERROR, "pins that cannot be installed", scope="recipe")
def uninstallable_pins(file: RecipeFile) -> Iterator[Finding]:
    """Two pins of a package exclude each other, or a pinned version has no wheel for the Python.

    The pins of its environment preset count too. What is known of wheels ships with vacc-gen. A
    package that is published as source alone is a warning: no lock can hold it.

    Bad:
        environment: {pins: [transformers>=4.40, transformers<4.38]}
    Good:
        environment: {pins: ["transformers>=4.38,<4.40"]}
    """
    yield from _problems(file, ("contradiction", "python", "source-only"))


@rule("VG187", Severity.ERROR, "pins that are known to break together", scope="recipe")
def breaking_pins(file: RecipeFile) -> Iterator[Finding]:
    """Two packages can be installed beside each other and do not run.

    A resolver finds such a set, and an import check passes: onnxruntime 1.13.1 beside numpy 2 is
    imported, and kills the process in its first session.

    Bad:
        environment: {pins: [onnxruntime==1.13.1, numpy==2.2.6]}
    Good:
        environment: {pins: [onnxruntime==1.13.1, numpy==1.26.4]}
    """
    yield from _problems(file, ("companion",))


def _problems(file: RecipeFile, kinds: tuple[str, ...]) -> Iterator[Finding]:
    """Yield what is known of the pins, once for each place: a Python may be wrong for many."""
    from vacc_gen.schema.packages import effective_pins, parse_pin, pin_problems

    environment = file.recipe.environment
    if file.known is None:
        return
    own = [parse_pin(text) for text in environment.pins]
    preset = file.known.environment(environment.preset)
    pins = effective_pins(map(parse_pin, preset.asked if preset else ()), own)
    placed: dict[Span, list[PinProblem]] = {}
    for problem in pin_problems(pins, environment.python, file.known.pin_facts()):
        if problem.kind in kinds:
            placed.setdefault(_place(file, problem, own), []).append(problem)
    for span, (problem, *others) in placed.items():
        more = f"; {plural(len(others), 'more pin')} likewise" if others else ""
        # What has no wheel can still be built by hand.
        severity = Severity.WARNING if problem.kind == "source-only" else None
        yield Finding(span, problem.message + more, problem.hint, severity=severity)


def _place(file: RecipeFile, problem: PinProblem, own: list[Pin]) -> Span:
    """Return where the recipe's pin stands that takes part; else its Python, else its preset."""
    for pin in problem.pins:
        if pin in own:
            return file.at("environment", "pins", own.index(pin))
    return file.at("environment", "python" if problem.kind == "python" else "preset")
