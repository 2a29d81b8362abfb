"""`vacc-gen validate`: find every mistake before a compile run starts."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from vacc_gen.generator.cli.completion import complete_code


class Format(str, Enum):
    """How findings are written."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"
    SARIF = "sarif"


def _codes(help_text: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(
        metavar="CODE", help=help_text, autocompletion=complete_code
    )
    return option


def validate(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH",
            help="Files, folders, or - for the standard input; the current folder by default.",
        ),
    ] = None,
    form: Annotated[
        Format, typer.Option("--format", help="How findings are written.")
    ] = Format.TEXT,
    fix: Annotated[bool, typer.Option("--fix", help="Apply the safe fixes.")] = False,
    unsafe_fixes: Annotated[
        bool,
        typer.Option("--unsafe-fixes", help="With --fix: also those that change the output."),
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="With --fix: show the changes, write nothing.")
    ] = False,
    select: Annotated[
        list[str] | None, _codes("Run only these rules: codes or their beginnings (VG1), or ALL.")
    ] = None,
    ignore: Annotated[list[str] | None, _codes("Do not run these rules.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
) -> None:
    """Check recipes, compile YAMLs, workspaces and weight folders.

    Exits with 0 without errors, 1 with, 2 when something could not be read.

    Example: vacc-gen validate falcon-7b-instruct --fix
    """
    from vacc_gen.generator.cli.findings import check_and_report  # keeps `--help` light

    raise typer.Exit(
        check_and_report(
            paths or ["."],
            form,
            fix=fix,
            unsafe=unsafe_fixes,
            only_show=diff,
            select=select,
            ignore=ignore,
            strict=strict,
        )
    )
