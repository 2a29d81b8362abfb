"""`vacc-gen validate`: find every mistake before a compile run starts."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from vacc_gen.generator.cli.options import complete_code


def validate(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH",
            help="Files, folders, or - for the standard input; the current folder by default.",
        ),
    ] = None,
    form: Annotated[
        Literal["text", "json", "github", "sarif"],
        typer.Option("--format", help="How findings are written."),
    ] = "text",
    fix: Annotated[bool, typer.Option("--fix", help="Apply the safe fixes.")] = False,
    unsafe_fixes: Annotated[
        bool,
        typer.Option("--unsafe-fixes", help="With --fix: also those that change the output."),
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="With --fix: show the changes, write nothing.")
    ] = False,
    select: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CODE",
            help="Run only these rules: codes or their beginnings (VG1), or ALL.",
            autocompletion=complete_code,
        ),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(metavar="CODE", help="Do not run these rules.", autocompletion=complete_code),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
) -> None:
    """Check recipes, compile YAMLs, workspaces and weight folders.

    Exits with 0 without errors, 1 with, 2 when something could not be read.

    Example: vacc-gen validate falcon-7b-instruct --fix
    """
    from vacc_gen.generator.cli.findings import check_and_report, selection_for

    paths = paths or ["."]
    raise typer.Exit(
        check_and_report(
            paths,
            form,
            selection_for(paths[0], select or (), ignore or ()),
            fix=fix,
            unsafe=unsafe_fixes,
            only_show=diff,
            strict=strict,
        )
    )
