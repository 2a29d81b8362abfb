"""`vacc-gen validate`, and what goes with it: `explain`, `schema` and `lsp`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer
from typer import Argument, Option


def validate(
    paths: Annotated[
        list[str] | None,
        Argument(metavar="PATH", help="Files, folders, or - for standard input. [default: .]"),
    ] = None,
    form: Annotated[
        Literal["text", "json", "github", "sarif"],
        Option("--format", help="How findings are written."),
    ] = "text",
    fix: Annotated[bool, Option("--fix", help="Apply the safe fixes.")] = False,
    unsafe_fixes: Annotated[
        bool, Option("--unsafe-fixes", help="With --fix: also those that change the output.")
    ] = False,
    diff: Annotated[bool, Option("--diff", help="With --fix: show changes, write none.")] = False,
    select: Annotated[
        list[str] | None,
        Option(metavar="CODE", help="Run only these: codes or their beginnings (VG1), or ALL."),
    ] = None,
    ignore: Annotated[list[str] | None, Option(metavar="CODE", help="Skip these rules.")] = None,
    strict: Annotated[bool, Option("--strict", help="Warnings count as errors.")] = False,
) -> None:
    """Exits with 0 if there are no errors, 1 if there are, 2 if something could not be read.

    Example: vacc-gen validate falcon-7b-instruct --fix
    """
    from vacc_gen.generator.cli import findings
    from vacc_gen.schema.errors import UsageError
    from vacc_gen.schema.lint.diagnostics import has_errors

    paths = paths or ["."]
    if (diff or unsafe_fixes) and not fix:
        raise UsageError("--diff and --unsafe-fixes belong to --fix", "add --fix")
    if "-" in paths and len(paths) > 1:
        raise UsageError("- (the standard input) is checked by itself", "drop the other paths")
    selection = findings.selection_for(paths[0], select or (), ignore or ())
    if fix and paths == ["-"]:
        left = findings.fix_stdin(selection, unsafe_fixes, diff)
        raise typer.Exit(int(has_errors(left, strict)))
    result = findings.check(paths, selection)
    if fix:
        findings.fix_files(result, selection, unsafe_fixes, diff)
        result = result if diff else findings.check(paths, selection)
    raise typer.Exit(findings.report(paths, result, None if diff else form, strict))


def explain(
    code: Annotated[
        str | None, Argument(metavar="CODE", help="VG101, or unknown-key, or `convert`; none: all.")
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
        Literal["recipe", "vamc"],
        Argument(metavar="NAME", help="recipe: vacc.yaml; vamc: the compile YAML."),
    ],
) -> None:
    """Example: vacc-gen schema recipe > recipe.schema.json"""
    from vacc_gen.schema.json_schema import packaged

    typer.echo(packaged(name), nl=False)


def lsp() -> None:
    """Findings while typing, pages of rules on hover, quick fixes, completion.

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
