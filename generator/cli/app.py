"""The Typer app: imports a verb when it is asked for."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from vacc_gen.generator.cli.root_help import ABOUT, EPILOG, MODULES, OPTIONS, VERBS, root_help
from vacc_gen.generator.cli.usage import Refused, Verb, VerbGroup, usage_error
from vacc_gen.generator.terminal import exact

completion: Any = import_module("typer.completion")
Shell = Literal["bash", "zsh", "fish", "powershell", "pwsh"]
NAME = {"prog_name": "vacc-gen", "complete_var": "_VACC_GEN_COMPLETE"}
FIRST_TAB = """
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _vacc_gen_completion "$@"; fi
"""
# zsh runs the script at the first Tab, and Typer's only defines what completes from the second on.


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

    def print_help(self, ctx: Any, stream: Any, code: int) -> None:
        if not ctx.resilient_parsing:  # of the shell's completion
            print(root_help(stream), file=exact(stream), flush=True)
            ctx.exit(code)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args == ["--install-completion"] and not ctx.resilient_parsing:
            args = [*args, str(completion._get_shell_name())]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


app = typer.Typer(
    name="vacc-gen",
    cls=Verbs,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=ABOUT,
    epilog=EPILOG,
)
completion.completion_init()


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help=OPTIONS["--version"])] = False,
    install_completion: Annotated[
        Shell | None, typer.Option(metavar="SHELL", help=OPTIONS["--install-completion [SHELL]"])
    ] = None,
    show_completion: Annotated[
        Shell | None, typer.Option(metavar="SHELL", help=OPTIONS["--show-completion SHELL"])
    ] = None,
) -> None:
    if version:
        from vacc_gen.schema import __version__

        typer.echo(f"vacc-gen {__version__}")
    if install_completion:
        shell, path = completion.install(install_completion, **NAME)
        if shell == "zsh":
            Path(path).write_text(_script(shell))
        typer.echo(f"{shell} completes from the next shell on: {path}")
    if show_completion:
        typer.echo(_script(show_completion))
    if version or install_completion or show_completion:
        raise typer.Exit


def _script(shell: str) -> str:
    script = completion.get_completion_script(shell=shell, **NAME)
    return f"{script}{FIRST_TAB if shell == 'zsh' else ''}"


def run_app() -> int:
    """Run what the command line asks for, and return the exit code."""
    try:
        return app(prog_name="vacc-gen", standalone_mode=False) or 0
    except Refused as refused:
        raise usage_error(refused) from refused
    except SystemExit as left:
        if isinstance(left.__context__, BrokenPipeError):  # Typer would leave with 1
            raise left.__context__ from None
        raise
