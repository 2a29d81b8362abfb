"""`vacc-gen doctor`: what would fail later on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from vacc_gen.generator.doctor.examination import Examination

_SIGNS = {"ok": "[green]ok[/]", "warning": "[yellow]warning[/]", "problem": "[bold red]problem[/]"}


def doctor(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The workspace; without one, the machine alone.")
    ] = Path(),
    python: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="The interpreter that the compiler runs in, or its environment's folder. "
            "[default: vamc's]",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Look for what would fail later.

    That is in packages, disk, memory, cards and weights; exits with 1 where there is something.
    Packages are tried, not only imported, in processes of their own: a segmentation fault there is
    a finding.

    Example: vacc-gen doctor falcon-7b-instruct --python env/venv/bin/python
    """
    import json

    from vacc_gen.generator.doctor.check import has_problems
    from vacc_gen.generator.doctor.examination import examine
    from vacc_gen.generator.workspace.workspace import load_workspace
    from vacc_gen.schema.recipe import RECIPE_FILE

    named = folder != Path()
    workspace = load_workspace(folder) if named or (folder / RECIPE_FILE).exists() else None
    examination = examine(workspace, None if python is None else _interpreter(python))
    if as_json:
        typer.echo(json.dumps(examination.as_dict(), indent=2, ensure_ascii=False))
    else:
        _print(examination)
    if has_problems(examination.checks):
        raise typer.Exit(1)


def _interpreter(named: Path) -> Path:
    """Return the interpreter that is meant: a file, an environment's, or a name on the PATH."""
    import shutil

    of_environment = named / "bin" / "python"
    if of_environment.is_file():
        return of_environment
    if len(named.parts) > 1:
        return named
    on_path = None if named.exists() else shutil.which(named)
    # Without a folder before it, a name would be looked for on the PATH alone.
    return Path(on_path) if on_path else named.absolute()


def _print(examination: Examination) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(max_width=24, overflow="fold")
    table.add_column(overflow="fold")
    section = ""
    for check in examination.checks:
        if check.section != section:
            if section:
                table.add_row()
            table.add_row("", f"[bold]{escape(check.section)}[/]", "")
            section = check.section
        told = escape(check.message)
        if check.hint:
            told += f"\n[dim]hint: {escape(check.hint)}[/]"
        sign = _SIGNS.get(check.state.value, f"[dim]{check.state.value}[/]")
        table.add_row(sign, escape(check.name), told)
    console.print(table)
    problems = examination.as_dict()["problems"]
    console.print()
    console.print(
        "nothing would fail later, as far as can be told"
        if not problems
        else f"[bold red]{problems} {'problem' if problems == 1 else 'problems'}[/]"
    )
