"""`vacc-gen new`: a new workspace."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Literal

import typer

from vacc_gen.generator.cli.options import PrecisionName, Prefill, Total, preset_option
from vacc_gen.generator.terminal import folded, is_terminal
from vacc_gen.schema.errors import shell_command


def new(
    model: Annotated[
        str | None,
        preset_option(
            "models", "A preset, or its Hugging Face id; `vacc-gen presets list` names them."
        ),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="The weight folder; without --model, the model is detected from its config.json. "
            "[default: weights/NAME in the workspace, which `vacc-gen fetch` fills]",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What compiled models are called. [default: as published, or as the "
            "checkpoint's folder]",
        ),
    ] = None,
    out: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder to make. [default: the model's name]")
    ] = None,
    precision: Annotated[
        list[PrecisionName] | None,
        typer.Option(help="May be given several times. [default: the preset's]"),
    ] = None,
    prefill: Prefill = None,
    total: Total = None,
    tp: Annotated[
        int | None, typer.Option(metavar="DIES", help="Tensor parallelism, in dies, 1 to 64.")
    ] = None,
    card: Annotated[
        str | None, preset_option("cards", "A card; `vacc-gen presets list` names them.")
    ] = None,
    calibration: Annotated[
        str | None,
        preset_option(
            "calibration", "What int8 is calibrated on: alpaca, c4 or ceval.", "SET:PATH", ":"
        ),
    ] = None,
    optimize_for: Annotated[
        Literal["throughput", "latency"] | None,
        typer.Option(help="Compile with or without b2s. [default: the preset's]"),
    ] = None,
    align_qkv: Annotated[
        bool, typer.Option("--align-qkv", help="Pad grouped-query heads to split over tp.")
    ] = False,
    environment: Annotated[
        str | None,
        preset_option(
            "environments", "Pins of the compiler's environment. [default: the preset's]"
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write over an existing workspace, hand edits included.")
    ] = False,
) -> None:
    """Make a workspace for a model.

    That is a recipe, compile configs, modeling file, scripts and environment. On a terminal,
    without --model and --checkpoint, it asks.

    Example: vacc-gen new --model falcon-7b-instruct --card VA16
    """
    from vacc_gen.generator import new as make
    from vacc_gen.generator.new.choices import Choices
    from vacc_gen.generator.new.memory import target_lines
    from vacc_gen.generator.next_steps import next_steps

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
    can_ask = is_terminal(sys.stdin) and is_terminal(sys.stdout)
    can_ask = can_ask and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")
    if model is None and checkpoint is None and can_ask:
        from vacc_gen.generator.cli.ask import ask_choices

        choices = ask_choices(choices)
        typer.echo(f"the same in one line:\n  {shell_command(choices.command())}\n")

    workspace = make(**vars(choices), force=force)
    for note in workspace.notes:
        typer.echo(folded(note) + "\n")
    for path in ("vacc.yaml", *workspace.files()):
        typer.echo(workspace.root / path)
    typer.echo("\n" + folded("\n".join(target_lines(workspace.plan))))
    typer.echo("\nnext:")
    for step in next_steps(workspace.root, workspace.plan.recipe):
        typer.echo(f"  {step}")
