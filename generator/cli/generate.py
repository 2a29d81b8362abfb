"""`vacc-gen generate`: the recipe changed, write again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from vacc_gen.generator.cli.options import Check, WorkspaceFolder


def generate(
    folder: WorkspaceFolder = Path(),
    check: Check = False,
    diff: Annotated[bool, Option("--diff", help="As --check, and show what would change.")] = False,
    force: Annotated[bool, Option("--force", help="Overwrite files edited by hand, too.")] = False,
) -> None:
    """Files that were edited by hand are kept.

    Example: vacc-gen generate falcon-7b-instruct --diff
    """
    from vacc_gen.generator.files import unified_diff
    from vacc_gen.generator.terminal import print_data
    from vacc_gen.generator.workspace import State, load_workspace, update

    workspace = load_workspace(folder)
    if check or diff:
        states = [state for state in workspace.states() if state.state is not State.CURRENT]
        for state in states:
            typer.echo(f"{folder / state.path}: {state.state.value}", err=diff)
            if diff:
                found, wanted = state.found or "", state.wanted or ""
                old = "/dev/null" if state.found is None else f"a/{state.path}"
                new = "/dev/null" if state.wanted is None else f"b/{state.path}"
                print_data(unified_diff(found, wanted, old, new))
        if states:
            raise typer.Exit(1)
        typer.echo("all files are current", err=True)
        return

    done = update(workspace, force=force)
    for path in done.written:
        typer.echo(f"wrote {folder / path}")
    for path in done.removed:
        typer.echo(f"removed {folder / path}")
    for path in done.kept:
        typer.echo(f"warning: kept {folder / path}, which was edited by hand", err=True)
    if done.kept:
        typer.echo("hint: --diff shows the edits, --force overwrites them", err=True)
    if not (done.written or done.removed):
        typer.echo("nothing to write")
