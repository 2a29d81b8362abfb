"""The command `vacc-gen`: finds a verb's file, runs it, and says what went wrong."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Annotated, Any

import typer

from vacc_gen.generator.cli.usage import Refused, Verb, VerbGroup, usage_error
from vacc_gen.generator.terminal import (
    ended_by_signals,
    open_closed_streams,
    print_error,
    shown_streams,
)
from vacc_gen.schema.errors import VaccGenError

MODULES = {"explain": "validate", "schema": "validate"}
"""Where a verb is not in the module of this folder that has its name."""

VERBS = (
    "new",
    "validate",
    "explain",
    "generate",
    "fetch",
    "convert",
    "lock",
    "doctor",
    "export",
    "build",
    "run",
    "presets",
    "schema",
    "lsp",
)
"""Each is a function, or a Typer app, in its module."""


class Verbs(VerbGroup):
    """Imports only the verbs that are asked for."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"commands": dict.fromkeys(VERBS)})

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in VERBS:
            return None
        module = MODULES.get(cmd_name, cmd_name)
        verb = getattr(import_module(f"vacc_gen.generator.cli.{module}"), cmd_name)
        if not isinstance(verb, typer.Typer):
            function, verb = verb, typer.Typer(add_completion=False, rich_markup_mode=None)
            verb.command(cmd_name, cls=Verb)(function)
        return typer.main.get_command(verb)


app = typer.Typer(
    name="vacc-gen",
    cls=Verbs,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Generate, validate and build compile configs for language models on VACC accelerators.",
    epilog="Exit codes: 0 fine; 1 findings or a failed stage; 2 wrong usage or an unreadable file; "
    "130 interrupted.",
)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as version_of

        typer.echo(f"vacc-gen {version_of('vacc-gen')}")
        raise typer.Exit


def main() -> None:
    """Run the command line and leave with its exit code."""
    # Looking for plugins of pydantic reads the metadata of every package that is installed.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    open_closed_streams()
    with shown_streams(), ended_by_signals():
        try:
            sys.exit(app(prog_name="vacc-gen", standalone_mode=False) or 0)
        except (VaccGenError, Refused) as raised:
            error = raised if isinstance(raised, VaccGenError) else usage_error(raised)
            if diagnostics := getattr(error, "diagnostics", None):
                from vacc_gen.generator.cli.findings import print_findings

                print_findings(diagnostics)
            print_error(error.message, error.hint)
            sys.exit(error.exit_code)
        except ImportError as error:
            hint = "pip install --force-reinstall 'vacc-gen[export]'"
            print_error(f"cannot load {error.name or 'a package'}: {error}", hint)
            sys.exit(2)
        except BrokenPipeError:
            sys.stderr.close()
            sys.exit(141)
        except OSError as error:  # a full disk behind the standard output, a name beyond all limits
            print_error(f"{error.filename or 'cannot write'}: {error.strerror or error}")
            sys.exit(2)


if __name__ == "__main__":
    main()
