"""The verbs of the command `vacc-gen`: one a file, registered here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Annotated

import typer

VERBS = (
    "new",
    "validate",
    "explain",
    "generate",
    "fetch",
    "lock",
    "doctor",
    "export",
    "build",
    "run",
    "presets",
    "schema",
)
"""Each is a module of this folder with a function, or a Typer app, of the same name."""


def app_of(verbs: Iterable[str] = VERBS) -> typer.Typer:
    """Return the program with these verbs; only their modules are imported."""
    app = typer.Typer(
        name="vacc-gen",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Generate, validate and build compile configs for language models on VACC "
        "accelerators.",
    )
    app.callback()(_root)
    for verb in verbs:
        member = getattr(import_module(f"vacc_gen.generator.cli.{verb}"), verb)
        if isinstance(member, typer.Typer):
            app.add_typer(member, name=verb)
        else:
            app.command()(member)
    return app


def chosen_verbs(arguments: list[str]) -> Iterable[str]:
    """Return the one verb that a command line runs; all where it names none, or asks for help."""
    first = arguments[0] if arguments else ""
    return (first,) if first in VERBS else VERBS


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"vacc-gen {version('vacc-gen')}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
