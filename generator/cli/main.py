"""The command `vacc-gen`: one verb a file, registered here and nowhere else."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from vacc_gen.generator.cli.build import build
from vacc_gen.generator.cli.explain import explain
from vacc_gen.generator.cli.fetch import fetch
from vacc_gen.generator.cli.generate import generate
from vacc_gen.generator.cli.new import new
from vacc_gen.generator.cli.presets import presets_app
from vacc_gen.generator.cli.schema import schema
from vacc_gen.generator.cli.validate import validate
from vacc_gen.schema.errors import FindingsError, VaccGenError

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
app.command()(validate)
app.command()(explain)
app.command()(schema)
app.command()(build)
app.add_typer(presets_app, name="presets")


def report(error: VaccGenError) -> None:
    """Print an error the way every verb does: what is wrong, then on its own line what to do."""
    if isinstance(error, FindingsError):
        from vacc_gen.schema.render import excerpts

        typer.echo(excerpts(error.diagnostics, sys.stderr.isatty()), err=True)
    typer.echo(f"error: {error.message}", err=True)
    if error.hint:
        typer.echo(f"hint: {error.hint}", err=True)


def main() -> None:
    """Run the command line and leave with its exit code."""
    try:
        app()
    except VaccGenError as error:
        report(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)


if __name__ == "__main__":
    main()
