"""`vacc-gen presets`: what is known good."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from vacc_gen.generator.cli.completion import complete_preset

presets_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Show known models, cards and data sets."
)


@presets_app.command("list")
def list_presets(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WORD", help="Only those that hold every word, in whatever capitals."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="A list of all that is known of each, for programs.")
    ] = False,
) -> None:
    """List models, cards, calibration sets and environments.

    Example: vacc-gen presets list falcon instruct
    """
    from vacc_gen import presets
    from vacc_gen.schema.errors import UsageError

    found = [
        {"kind": kind, **preset.model_dump(mode="json", exclude_none=True)}
        for kind, shelf in presets.SHELVES.items()
        for preset in shelf.all()
    ]
    found = [values for values in found if _holds(values, words or [])]
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    if not found:
        raise UsageError(f"no preset holds {' and '.join(repr(word) for word in words or [])}")
    width = max(len(values["name"]) for values in found)
    kind = None
    for values in found:
        if values["kind"] != kind:
            kind = values["kind"]
            typer.echo(kind)
        typer.echo(f"  {values['name']:{width}}  {values['summary']}")


@presets_app.command("show")
def show_preset(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A name that `presets list` prints.",
            autocompletion=complete_preset,
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Show a preset as the YAML file that it is.

    Example: vacc-gen presets show falcon-7b
    """
    from vacc_gen import presets

    kind, known = presets.locate(name)
    shelf = presets.SHELVES[kind]
    if as_json:
        values = {"kind": kind, **shelf.find(known).model_dump(mode="json", exclude_none=True)}
        typer.echo(json.dumps(values, indent=2, ensure_ascii=False))
    else:
        typer.echo(shelf.text(known), nl=False)


def _holds(values: dict[str, Any], words: list[str]) -> bool:
    """Whether every word is in the name, the summary, the family or the repository."""
    keys = ("kind", "name", "summary", "family", "huggingface_id")
    text = " ".join(str(values.get(key, "")) for key in keys).casefold()
    return all(word.casefold() in text for word in words)
