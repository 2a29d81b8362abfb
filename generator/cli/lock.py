"""`vacc-gen lock`: resolve the pins again, or check the lock."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from vacc_gen.generator.cli.options import Check, WorkspaceFolder
from vacc_gen.schema.errors import LockError, UnreadableError, UsageError, shell_command


def lock(
    folder: WorkspaceFolder = Path(),
    check: Check = False,
    upgrade: Annotated[bool, Option("--upgrade", help="Take newer versions that fit.")] = False,
    allow_source: Annotated[
        bool, Option("--allow-source", help="Take packages without wheels; pip builds them.")
    ] = False,
) -> None:
    """Writes env/requirements.lock.

    Pins, Python and platform are those of `environment` in vacc.yaml, with the bounds that are
    known to be needed. uv's own settings and variables name the index, such as UV_DEFAULT_INDEX.

    Example: vacc-gen lock falcon-7b-instruct
    """
    from vacc_gen.generator import lock as locks
    from vacc_gen.generator.workspace import load_workspace, update

    if check and (upgrade or allow_source):
        raise UsageError("--check writes nothing: leave out the other options")
    workspace = load_workspace(folder)
    environment = workspace.plan.recipe.environment
    wanted, path = locks.requirements_of(environment), workspace.root / locks.LOCK_PATH
    if check:
        found = locks.read_lock(workspace.root)
        if reasons := found.shortcomings(wanted):
            hint = shell_command(["vacc-gen", "lock", str(workspace.root)])
            raise LockError(f"{path} is stale: {'; '.join(reasons)}", hint)
        count = len(locks.locked_packages(found.text, str(path)))
        where = f"for Python {found.python} on {found.platform}"
        typer.echo(f"{path} is current: {count} packages {where}")
        return

    shipped = locks.preset_lock(environment.preset)
    try:
        previous = locks.read_lock(workspace.root).text
    except (LockError, UnreadableError):
        previous = shipped.text if shipped else ""
    where = f"for Python {wanted.python} on {wanted.platform}"
    typer.echo(f"resolving {len(wanted.pins)} pins {where}", err=True)
    kept = "" if upgrade else previous
    made = locks.resolve(wanted, environment.preset, previous=kept, allow_source=allow_source)
    paths = (str(locks.LOCK_PATH), str(locks.DESCRIPTION_PATH))
    done = update(replace(workspace, own_lock=made), over=paths)
    for name, before, after in locks.version_changes(previous, made.text):
        typer.echo(f"  {name} {before or '(new)'} -> {after or '(gone)'}")
    for written in done.written:
        typer.echo(f"wrote {workspace.root / written}")
    if not done.written:
        typer.echo("nothing to write: the lock is current")
