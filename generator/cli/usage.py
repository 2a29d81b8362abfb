"""Help that fits the terminal, and what is said of a command line that Typer refuses."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from vacc_gen.generator.terminal import BOLD, exact, styled
from vacc_gen.schema.errors import UsageError

# Click's, which newer Typers bring along.
HelpFormatter: Any = typer.Context.formatter_class
Refused: Any = typer.BadParameter.__base__


class Formatter(HelpFormatter):  # type: ignore[misc]
    def __init__(self, stream: Any) -> None:
        super().__init__(width=max(30, min(80, shutil.get_terminal_size().columns) - 2))
        self.stream = stream

    def write_heading(self, heading: str) -> None:
        super().write_heading(styled(heading, BOLD, self.stream))

    def write_dl(self, rows: Sequence[tuple[str, str]], *_: int) -> None:
        names_width = 30 if self.width > 60 else 9  # longer ones stand on lines of their own
        rows = [(styled(name, BOLD, self.stream), text) for name, text in rows]
        super().write_dl(rows, names_width)


class Helpful:
    def parse_args(self: Any, ctx: Any, args: Any) -> Any:
        if not args and self.no_args_is_help:
            self.print_help(ctx, sys.stderr, 2)
        return super().parse_args(ctx, args)  # type: ignore[misc]

    def get_help_option(self: Any, ctx: Any) -> Any:
        option = super().get_help_option(ctx)  # type: ignore[misc]
        option.callback = lambda ctx, _, asked: asked and self.print_help(ctx, sys.stdout, 0)
        return option

    def get_short_help_str(self: Any, limit: int = 0) -> Any:
        return super().get_short_help_str(999)  # type: ignore[misc]  # in several lines

    def print_help(self: Any, ctx: Any, stream: Any, code: int) -> None:
        if not ctx.resilient_parsing:  # of the shell's completion
            formatter = Formatter(stream)
            self.format_help(ctx, formatter)
            print(formatter.getvalue(), end="", file=exact(stream), flush=True)
            ctx.exit(code)


class Verb(Helpful, TyperCommand): ...


class VerbGroup(Helpful, TyperGroup): ...


def usage_error(refused: Any) -> UsageError:
    """Return in our words what Typer says of a command line."""
    message, _, near = refused.message.rstrip(".").partition(". Did you mean ")
    near = near.rstrip("?") or " or ".join(getattr(refused, "possibilities", None) or ())
    param = getattr(refused, "param", None)
    if "Input should" in message:  # says pydantic
        must = message.partition(",")[0].replace("Input should", "must")
        message = f"{must}, got {refused.__cause__.errors()[0]['input']!r}"
    if param is not None:
        name = param.opts[0] if param.param_type_name == "option" else param.metavar
        message = message.removeprefix("Value error, ")
        message = f"{name}: {message}" if message else f"{name} is missing"
    path = refused.ctx.command_path if refused.ctx else "vacc-gen"
    return UsageError(message, f"did you mean {near}?" if near else f"see `{path} --help`")
