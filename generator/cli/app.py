"""The verbs of the command `vacc-gen`: one a file, registered here and nowhere else."""

from __future__ import annotations

from typing import Annotated

import typer

from vacc_gen.generator.cli.build import build
from vacc_gen.generator.cli.doctor import doctor
from vacc_gen.generator.cli.explain import explain
from vacc_gen.generator.cli.export import export
from vacc_gen.generator.cli.fetch import fetch
from vacc_gen.generator.cli.generate import generate
from vacc_gen.generator.cli.lock import lock
from vacc_gen.generator.cli.new import new
from vacc_gen.generator.cli.presets import presets_app
from vacc_gen.generator.cli.run import run
from vacc_gen.generator.cli.schema import schema

app = typer.Typer(
    name="vacc-gen",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Generate, validate and build compile configs for language models on VACC accelerators.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"vacc-gen {version('vacc-gen')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


app.command()(new)
app.command()(generate)
app.command()(fetch)
app.command()(lock)
app.command()(doctor)


@app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def validate(context: typer.Context) -> None:
    """Check recipes, compile YAMLs, workspaces and weight folders."""
    from vacc_gen.generator.cli.validate import run

    raise typer.Exit(run(context.args))


app.command()(explain)
app.command()(schema)
app.command()(build)
app.command()(export)
app.command()(run)
app.add_typer(presets_app, name="presets")
