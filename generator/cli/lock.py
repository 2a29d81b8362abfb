"""`vacc-gen lock`: resolve the pins again, or check the lock."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vacc_gen.generator.cli.options import WorkspaceFolder
from vacc_gen.schema.errors import LockError, UnreadableError, UsageError, shell_command

if TYPE_CHECKING:
    from vacc_gen.generator.workspace import Workspace


def lock(
    folder: WorkspaceFolder = Path(),
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 if the lock is stale.")
    ] = False,
    upgrade: Annotated[
        bool, typer.Option("--upgrade", help="Take newer versions where the old still fit.")
    ] = False,
    allow_source: Annotated[
        bool, typer.Option("--allow-source", help="Take packages without wheels; pip builds them.")
    ] = False,
) -> None:
    """Resolve the pins of vacc.yaml again; needs uv.

    Writes env/requirements.lock. Pins, Python and platform are those of `environment` in vacc.yaml,
    with the bounds that are known to be needed. uv's own settings and variables name the index,
    such as UV_DEFAULT_INDEX.

    Example: vacc-gen lock falcon-7b-instruct
    """
    from vacc_gen.generator.workspace import load_workspace

    if check and (upgrade or allow_source):
        raise UsageError("--check writes nothing: leave out the other options")
    workspace = load_workspace(folder)
    if check:
        _check(workspace)
    else:
        _resolve(workspace, upgrade, allow_source)


def _check(workspace: Workspace) -> None:
    """Say whether the lock satisfies the recipe; without network and without uv."""
    from vacc_gen.generator import lock as locks

    path, found = workspace.root / locks.LOCK_PATH, locks.read_lock(workspace.root)
    reasons = found.shortcomings(locks.requirements_of(workspace.plan.recipe.environment))
    if reasons:
        hint = shell_command(["vacc-gen", "lock", str(workspace.root)])
        raise LockError(f"{path} is stale: {'; '.join(reasons)}", hint)
    count = len(locks.locked_packages(found.text, str(path)))
    typer.echo(f"{path} is current: {count} packages for Python {found.python} on {found.platform}")


def _resolve(workspace: Workspace, upgrade: bool, allow_source: bool) -> None:
    from dataclasses import replace

    from vacc_gen.generator import lock as locks
    from vacc_gen.generator.workspace import update

    environment = workspace.plan.recipe.environment
    wanted, shipped = locks.requirements_of(environment), locks.preset_lock(environment.preset)
    try:
        previous = locks.read_lock(workspace.root).text
    except (LockError, UnreadableError):
        previous = shipped.text if shipped else ""
    typer.echo(
        f"resolving {len(wanted.pins)} pins for Python {wanted.python} on {wanted.platform}",
        err=True,
    )
    kept = "" if upgrade else previous
    made = locks.resolve(wanted, environment.preset, previous=kept, allow_source=allow_source)
    paths = (str(locks.LOCK_PATH), str(locks.DESCRIPTION_PATH))
    done = update(replace(workspace, own_lock=made), over=paths)
    for name, before, after in locks.version_changes(previous, made.text):
        typer.echo(f"  {name} {before or '(new)'} -> {after or '(gone)'}")
    for path in done.written:
        typer.echo(f"wrote {workspace.root / path}")
    if not done.written:
        typer.echo("nothing to write: the lock is current")
