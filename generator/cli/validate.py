"""`vacc-gen validate`, and what goes with it: `explain`, `schema` and `lsp`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer


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
            metavar="CODE", help="Run only these rules: codes or their beginnings (VG1), or ALL."
        ),
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option(metavar="CODE", help="Do not run these rules.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
) -> None:
    """Exits with 0 without errors, 1 with, 2 when something could not be read.

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


def explain(
    code: Annotated[
        str | None,
        typer.Argument(metavar="CODE", help="VG101, or unknown-key, or `convert`; none: all."),
    ] = None,
) -> None:
    """Example: vacc-gen explain VG101"""
    from vacc_gen.presets import OLDER_KEYS
    from vacc_gen.schema.lint.rule import all_rules, as_page, as_table, unknown_code

    rules = {name: rule for rule in all_rules() for name in (rule.code.lower(), rule.name)}
    if code is None:
        typer.echo(as_table(all_rules()), nl=False)
    elif code == "convert":
        typer.echo(OLDER_KEYS.read_text(encoding="utf-8"), nl=False)
    elif code.lower() in rules:
        typer.echo(as_page(rules[code.lower()]), nl=False)
    else:
        raise unknown_code(code)


def schema(
    name: Annotated[
        Literal["recipe", "vamc"], typer.Argument(help="recipe: vacc.yaml; vamc: the compile YAML.")
    ],
) -> None:
    """Example: vacc-gen schema recipe > recipe.schema.json"""
    from vacc_gen.schema.json_schema import packaged

    typer.echo(packaged(name), nl=False)


def lsp() -> None:
    """Findings while typing, what keys and rules mean, quick fixes, completion.

    Which rules run is read at the start, from the nearest pyproject.toml.

    Example: vacc-gen lsp
    """
    from vacc_gen.generator.cli.findings import selection_for
    from vacc_gen.schema.errors import MissingExtraError

    try:
        from vacc_gen.generator.lsp import server
    except ImportError as error:
        problem = f"does not load: {error}"
        raise MissingExtraError("pygls", "`vacc-gen lsp`", "lsp", problem) from error
    server.selection = selection_for(".", (), ())
    server.start_io()
