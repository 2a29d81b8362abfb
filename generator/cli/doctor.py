"""`vacc-gen doctor`: what would fail later on this machine."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

if TYPE_CHECKING:
    from vacc_gen.generator.doctor import Check

STYLES = {"ok": "green", "warning": "magenta", "problem": "bold red"}


def doctor(
    folder: Annotated[
        Path, Argument(metavar="DIR", help="The workspace; without one, the machine alone.")
    ] = Path(),
    python: Annotated[
        str | None,
        Option(metavar="PATH", help="The interpreter that the compiler runs in. [default: vamc's]"),
    ] = None,
    as_json: Annotated[bool, Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Looks at packages, disk, memory, cards and weights.

    Exits with 1 if something would fail later. Packages are tried, not only imported, in processes
    of their own: a segmentation fault there is a finding.

    Example: vacc-gen doctor falcon-7b-instruct --python env/venv/bin/python
    """
    from vacc_gen.generator.doctor import compiler_python, examine
    from vacc_gen.generator.workspace import load_workspace
    from vacc_gen.schema.errors import plural
    from vacc_gen.schema.recipe import RECIPE_FILE

    is_named = folder != Path()
    workspace = load_workspace(folder) if is_named or (folder / RECIPE_FILE).exists() else None
    used = compiler_python(workspace)
    if python is not None:
        used = Path(shutil.which(python) or python).absolute()
    checks = list(examine(workspace, used))
    problems = sum(check.state.value == "problem" for check in checks)
    if as_json:
        examination = {
            "version": 1,
            "problems": problems,
            "workspace": str(workspace.root) if workspace else None,
            "python": str(used) if used else None,
            "checks": list(map(asdict, checks)),
        }
        typer.echo(json.dumps(examination, indent=2))
    else:
        _print(checks)
        typer.echo(plural(problems, "problem") if problems else "No problems found")
    if problems:
        raise typer.Exit(1)


def _print(checks: list[Check]) -> None:
    from rich.table import Table
    from rich.text import Text

    from vacc_gen.generator.cli.display import ShownConsole

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(max_width=24, overflow="fold")
    table.add_column(overflow="fold")
    for section, found in groupby(checks, lambda check: check.section):
        table.add_row("", Text(section, "bold"), "")
        for check in found:
            state = check.state.value
            message = Text(check.message)
            if check.hint:
                message.append("\nhint:", "bold").append(f" {check.hint}")
            table.add_row(Text(state, STYLES.get(state, "dim")), Text(check.name), message)
        table.add_row()
    ShownConsole(sys.stdout).print(table)
