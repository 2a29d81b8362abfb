"""`vacc-gen new`: a new workspace."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from typer import Option

from vacc_gen.generator.cli.options import Precisions, Prefill, Total, preset_option
from vacc_gen.generator.terminal import folded, is_terminal
from vacc_gen.schema.errors import shell_command, word_for_shell

if TYPE_CHECKING:
    from vacc_gen.schema.recipe import Recipe


def new(
    model: Annotated[
        str | None,
        preset_option("models", "A preset of `vacc-gen presets list`, or a Hugging Face id."),
    ] = None,
    checkpoint: Annotated[
        str | None,
        Option(
            metavar="DIR",
            help="The weight folder, whose config.json says the model where --model does not. "
            "[default: weights/NAME in the workspace, which `vacc-gen fetch` fills]",
        ),
    ] = None,
    name: Annotated[
        str | None,
        Option(
            metavar="NAME",
            help="Name of the compiled models. [default: as published, or the folder's]",
        ),
    ] = None,
    out: Annotated[
        str | None, Option(metavar="DIR", help="Folder to make. [default: the model's name]")
    ] = None,
    precision: Precisions = None,
    prefill: Prefill = None,
    total: Total = None,
    tp: Annotated[int | None, Option(metavar="DIES", help="Tensor parallelism, 1 to 64.")] = None,
    card: Annotated[str | None, preset_option("cards", "A card of `presets list`.")] = None,
    calibration: Annotated[
        str | None,
        preset_option(
            "calibration", "Calibration texts for int8: alpaca, c4 or ceval.", "SET:PATH", ":"
        ),
    ] = None,
    optimize_for: Annotated[
        Literal["throughput", "latency"] | None,
        Option(help="Compile with or without b2s. [default: the preset's]"),
    ] = None,
    align_qkv: Annotated[
        bool, Option("--align-qkv", help="Pad grouped-query heads to split over tp.")
    ] = False,
    environment: Annotated[
        str | None,
        preset_option("environments", "The compiler's packages. [default: the preset's]"),
    ] = None,
    force: Annotated[
        bool, Option("--force", help="Overwrite a workspace, hand edits included.")
    ] = False,
) -> None:
    """That is a recipe, compile configs, modeling file, scripts and environment.

    On a terminal, without --model and --checkpoint, it asks.

    Example: vacc-gen new --model falcon-7b-instruct --card VA16
    """
    from vacc_gen.generator import new as make
    from vacc_gen.generator.new.choices import Choices
    from vacc_gen.generator.new.memory import target_lines

    choices = Choices(
        model=model,
        checkpoint=checkpoint,
        name=name,
        out=out,
        precision=tuple(name.value for name in precision or ()),
        prefill=prefill,
        total=total,
        tp=tp,
        card=card,
        calibration=calibration,
        optimize_for=optimize_for,
        environment=environment,
        align_qkv=align_qkv,
    )
    if model is None and checkpoint is None and _can_ask():
        from vacc_gen.generator.cli.ask import ask_choices

        choices = ask_choices(choices)
        typer.echo(f"the same in one line:\n  {shell_command(choices.command())}\n")

    workspace = make(**vars(choices), force=force)
    for note in workspace.notes:
        typer.echo(folded(note) + "\n")
    for path in ("vacc.yaml", *workspace.files()):
        typer.echo(workspace.root / path)
    typer.echo("\n" + folded("\n".join(target_lines(workspace.plan))))
    steps = next_steps(workspace.root, workspace.plan.recipe)
    typer.echo("\n  ".join(["\nnext:", *steps]))


def _can_ask() -> bool:
    has_terminal = is_terminal(sys.stdin) and is_terminal(sys.stdout)
    return has_terminal and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")


def next_steps(root: Path, recipe: Recipe) -> list[str]:
    """Return the commands that lead from a valid workspace to text out of a model."""
    from vacc_gen import presets
    from vacc_gen.generator.plan import is_placeholder

    folder, steps = word_for_shell(str(root)), []
    preset, checkpoint = presets.MODELS.find(recipe.model.preset), recipe.model.checkpoint
    # `root` need not exist, so that `..` is resolved in the text alone.
    weights = Path(os.path.normpath(root / checkpoint))
    needed = [weights / "config.json"]
    if preset.huggingface_id is None and not needed.pop().exists():
        steps.append(f"# put the weights into {word_for_shell(str(weights))}")
    if recipe.calibration is not None and not is_placeholder(recipe.calibration.path):
        needed.append(Path(os.path.normpath(root / recipe.calibration.path)))
    if not all(path.exists() for path in needed):
        steps.append(f"vacc-gen fetch {folder}    # weights and texts that you lack")
    if not preset.runs_embedded:
        return [*steps, f"vacc-gen build {folder}    # where the vendor's vamc is"]
    run = f'vacc-gen run {folder} --prompt "In the beginning"'
    return [*steps, f"vacc-gen build {folder}", run]
