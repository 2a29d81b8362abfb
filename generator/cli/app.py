"""The Typer app: imports a verb when it is asked for."""

from __future__ import annotations

import sys
from importlib import import_module
from inspect import getdoc
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from vacc_gen.generator.cli.help import ABOUT, MODULES, OPTIONS, VERBS, help_text, root_help
from vacc_gen.generator.terminal import exact
from vacc_gen.schema.errors import UsageError

completion: Any = import_module("typer.completion")  # which exports nothing in so many words
Refused: Any = typer.BadParameter.__base__  # Click's, which newer Typers bring along
Shell = Literal["bash", "zsh", "fish", "powershell", "pwsh"]
NAME = {"prog_name": "vacc-gen", "complete_var": "_VACC_GEN_COMPLETE"}
FIRST_TAB = """
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _vacc_gen_completion "$@"; fi
"""
# zsh runs the script at the first Tab, and Typer's only defines what completes from the second on.


class Helpful:
    """Prints its own help, as `help_text` lays it out, where Typer asks for the text of it."""

    def get_help(self: Any, ctx: Any) -> NoReturn:
        tables: dict[str, dict[str, str]] = {"Arguments": {}, "Options": {}}
        for param in self.get_params(ctx):
            name, text = param.get_help_record(ctx)
            tables[f"{param.param_type_name.capitalize()}s"][name] = text
        if isinstance(self, TyperGroup):
            tables["Commands"] = {
                name: verb.get_short_help_str() for name, verb in self.commands.items()
            }
        usage = " ".join([ctx.command_path, *self.collect_usage_pieces(ctx)])
        _print_and_exit(help_text(usage, self.help, tables, sys.stdout))

    def get_short_help_str(self: Any, limit: int = 0) -> Any:
        return super().get_short_help_str(999)  # type: ignore[misc]  # in several lines


def _print_and_exit(text: str) -> NoReturn:
    print(text, file=exact(sys.stdout), flush=True)
    raise typer.Exit


class Verb(Helpful, TyperCommand): ...


class VerbGroup(Helpful, TyperGroup): ...


class Root(VerbGroup):
    """Imports only the verbs that are asked for."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"commands": dict.fromkeys(VERBS)})

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in VERBS:
            return None
        module = import_module(f"vacc_gen.generator.cli.{MODULES.get(cmd_name, cmd_name)}")
        verb = getattr(module, cmd_name)
        if not isinstance(verb, typer.Typer):
            function, verb = verb, typer.Typer(add_completion=False, rich_markup_mode=None)
            about = f"{VERBS[cmd_name]}\n\n{getdoc(function)}"
            verb.command(cmd_name, cls=Verb, help=about)(function)
        return typer.main.get_command(verb)

    def get_help(self, ctx: Any) -> NoReturn:
        _print_and_exit(root_help(sys.stdout))


app = typer.Typer(
    name="vacc-gen",
    cls=Root,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=ABOUT,
)
completion.completion_init()


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help=OPTIONS["--version"])] = False,
    install_completion: Annotated[
        Shell | None, typer.Option(metavar="SHELL", help=OPTIONS["--install-completion SHELL"])
    ] = None,
) -> None:
    if version:
        from vacc_gen.schema import __version__

        typer.echo(f"vacc-gen {__version__}")
    if install_completion:
        shell, path = completion.install(install_completion, **NAME)
        if shell == "zsh":
            script = completion.get_completion_script(shell=shell, **NAME)
            Path(path).write_text(f"{script}{FIRST_TAB}")
        typer.echo(f"{shell} completes from the next shell on: {path}")
    if version or install_completion:
        raise typer.Exit


def run_app() -> int:
    """Run what the command line asks for, and return the exit code."""
    try:
        return app(prog_name="vacc-gen", standalone_mode=False) or 0
    except Refused as refused:
        raise _usage_error(refused) from refused
    except SystemExit as left:
        if isinstance(left.__context__, BrokenPipeError):  # Typer would leave with 1
            raise left.__context__ from None
        raise


def _usage_error(refused: Any) -> UsageError:
    """Return in our words what Typer says of a command line."""
    message, _, near = refused.message.rstrip(".").partition(". Did you mean ")
    near = near.rstrip("?") or " or ".join(getattr(refused, "possibilities", None) or ())
    if "Input should" in message:  # says pydantic
        must = message.partition(",")[0].replace("Input should", "must")
        message = f"{must}, got {refused.__cause__.errors()[0]['input']!r}"
    if param := getattr(refused, "param", None):
        name = param.opts[0] if param.param_type_name == "option" else param.metavar
        message = message.removeprefix("Value error, ")
        message = f"{name}: {message}" if message else f"{name} is missing"
    path = refused.ctx.command_path if refused.ctx else "vacc-gen"
    return UsageError(message, f"did you mean {near}?" if near else f"see `{path} --help`")
