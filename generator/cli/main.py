"""The command `vacc-gen`: finds a verb's file, runs it, and says what went wrong."""

from __future__ import annotations

import os
import re
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from vacc_gen.generator.terminal import ended_by_signals, open_closed_streams, shown_streams
from vacc_gen.schema.errors import VaccGenError, on_one_line

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


class Verbs(TyperGroup):
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
            verb.command(cmd_name)(function)
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


def _print_error(message: str, hint: str | None = None) -> None:
    # The end of a log keeps its lines, which are indented.
    message = re.sub(r"\n(?!  )", r"\\n", message)
    print(f"error: {message}", file=sys.stderr)
    if hint:
        print(f"hint: {on_one_line(hint)}", file=sys.stderr)


def main() -> None:
    """Run the command line and leave with its exit code."""
    # Looking for plugins of pydantic reads the metadata of every package that is installed.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    open_closed_streams()
    with shown_streams(), ended_by_signals():
        try:
            app(prog_name="vacc-gen")
        except VaccGenError as error:
            if diagnostics := getattr(error, "diagnostics", None):
                from vacc_gen.generator.cli.findings import print_findings

                print_findings(diagnostics)
            _print_error(error.message, error.hint)
            sys.exit(error.exit_code)
        except ImportError as error:
            hint = "pip install --force-reinstall 'vacc-gen[export]'"
            _print_error(f"cannot load {error.name or 'a package'}: {error}", hint)
            sys.exit(2)
        except BrokenPipeError:
            sys.stderr.close()
            sys.exit(141)
        except OSError as error:  # a full disk behind the standard output, a name beyond all limits
            _print_error(f"{error.filename or 'cannot write'}: {error.strerror or error}")
            sys.exit(2)


if __name__ == "__main__":
    main()
