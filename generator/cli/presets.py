"""`vacc-gen presets`: what is known good."""

from __future__ import annotations

import json
from typing import Annotated

import typer

presets_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Show known models, cards and data sets."
)


@presets_app.command("list")
def list_presets(
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
) -> None:
    """List models, cards, calibration sets and environments."""
    from vacc_gen import presets

    if as_json:
        values = {
            kind: [preset.model_dump(mode="json") for preset in shelf.all()]
            for kind, shelf in presets.SHELVES.items()
        }
        typer.echo(json.dumps({"version": 1, **values}, indent=2, ensure_ascii=False))
        return
    for kind, shelf in presets.SHELVES.items():
        typer.echo(kind)
        for preset in shelf.all():
            typer.echo(f"  {preset.name:21}  {preset.summary}")


@presets_app.command("show")
def show_preset(
    name: Annotated[str, typer.Argument(help="A name that `presets list` prints.")],
) -> None:
    """Show a preset as the YAML file that it is."""
    from vacc_gen import presets

    typer.echo(presets.show(name), nl=False)
