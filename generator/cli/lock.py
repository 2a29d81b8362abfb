"""`vacc-gen lock`: resolve the pins again, check the lock, try it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from vacc_gen.generator.environment.environment import Lock
    from vacc_gen.generator.workspace.workspace import Workspace


def lock(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The workspace.")] = Path(),
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 where the lock is no answer.")
    ] = False,
    test: Annotated[
        bool, typer.Option("--test", help="Install the lock and run it; gigabytes, minutes.")
    ] = False,
    venv: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Where --test makes the environment. [default: DIR/env/venv]"
        ),
    ] = None,
    upgrade: Annotated[
        bool, typer.Option("--upgrade", help="Take newer versions where the old still answer.")
    ] = False,
    allow_source: Annotated[
        bool, typer.Option("--allow-source", help="Take packages without wheels; pip builds them.")
    ] = False,
    pylock: Annotated[
        bool,
        typer.Option("--pylock", help="Write env/pylock.toml (PEP 751), which names the index."),
    ] = False,
) -> None:
    """Resolve the pins of vacc.yaml again; needs uv.

    Writes env/requirements.lock. Pins, Python and platform are those of `environment` in vacc.yaml,
    with the bounds that are known to be needed. uv's own settings and variables name the index,
    such as UV_DEFAULT_INDEX.

    Example: vacc-gen lock falcon-7b-instruct --test
    """
    from vacc_gen.generator.workspace.workspace import load_workspace
    from vacc_gen.schema.errors import UsageError

    if check and (test or upgrade or allow_source or pylock):
        raise UsageError("--check writes nothing and stands alone")
    if test and (upgrade or allow_source or pylock):
        raise UsageError(
            "--test tries the lock that is there",
            hint="resolve first, then test: two commands",
        )
    if venv is not None and not test:
        raise UsageError("--venv belongs to --test")
    workspace = load_workspace(folder)
    if check:
        _check(workspace)
    elif test:
        _test(workspace, venv or folder / "env" / "venv")
    else:
        _resolve(workspace, upgrade=upgrade, allow_source=allow_source, pylock=pylock)


def _answering_lock(workspace: Workspace) -> Lock:
    """Return the workspace's lock.

    Raises:
        LockError: there is none, it was changed by hand, or it is no answer to the recipe.
    """
    from vacc_gen.generator.environment.environment import LOCK_PATH, read_lock
    from vacc_gen.generator.environment.requirements import requirements_of
    from vacc_gen.schema.errors import LockError

    found = read_lock(workspace.root)
    reasons = found.shortcomings(requirements_of(workspace.plan.recipe.environment))
    if reasons:
        raise LockError(
            f"{workspace.root / LOCK_PATH} is no answer to vacc.yaml: {'; '.join(reasons)}",
            shlex.join(["vacc-gen", "lock", str(workspace.root)]),
        )
    return found


def _check(workspace: Workspace) -> None:
    """Say whether the lock answers the recipe; without network and without uv."""
    from vacc_gen.generator.environment.environment import LOCK_PATH
    from vacc_gen.generator.environment.requirements import locked_packages

    found = _answering_lock(workspace)
    count = len(locked_packages(found.text, str(LOCK_PATH)))
    typer.echo(
        f"{workspace.root / LOCK_PATH} answers vacc.yaml: {count} packages for Python "
        f"{found.python} on {found.platform}"
    )


def _resolve(workspace: Workspace, *, upgrade: bool, allow_source: bool, pylock: bool) -> None:
    from dataclasses import replace

    from vacc_gen.generator.environment.environment import DESCRIPTION_PATH, LOCK_PATH, preset_lock
    from vacc_gen.generator.environment.lock import (
        PYLOCK_NAME,
        changes,
        or_shipped,
        resolve,
        resolve_pylock,
        write_pylock,
    )
    from vacc_gen.generator.environment.requirements import requirements_of
    from vacc_gen.generator.workspace.workspace import update

    environment = workspace.plan.recipe.environment
    wanted = requirements_of(environment)
    shipped = preset_lock(environment.preset)
    found = _found_lock(workspace)
    known = found or shipped
    previous = known.text if known else ""
    typer.echo(
        f"resolving {len(wanted.asked)} pins for Python {wanted.python} on {wanted.platform}",
        err=True,
    )
    made = resolve(
        wanted,
        environment.preset,
        previous="" if upgrade else previous,
        allow_source=allow_source,
    )
    made = or_shipped(made, shipped)
    if found is not None and found.text == made.text:
        made = replace(made, trial=found.trial)
    done = update(replace(workspace, own_lock=made), over=(str(LOCK_PATH), str(DESCRIPTION_PATH)))
    for change in changes(previous, made.text):
        typer.echo(f"  {change.name} {change.before or '(new)'} -> {change.after or '(gone)'}")
    for path in done.written:
        typer.echo(f"wrote {workspace.root / path}")
    if pylock:
        beside = workspace.root / LOCK_PATH.with_name(PYLOCK_NAME)
        write_pylock(beside, resolve_pylock(wanted, made, environment.preset))
        typer.echo(f"wrote {beside}: it names the index that this machine uses; do not commit it")
    if not done.written:
        typer.echo("nothing to write: the lock is current")
    if not (made.tested or made.trial):
        again = shlex.join(["vacc-gen", "lock", str(workspace.root), "--test"])
        typer.echo(f"not tested yet: `{again}` installs it and runs it", err=True)


def _found_lock(workspace: Workspace) -> Lock | None:
    from vacc_gen.generator.environment.environment import read_lock
    from vacc_gen.schema.errors import LockError, UnreadableError

    try:
        return read_lock(workspace.root)
    except (LockError, UnreadableError):
        return None


def _test(workspace: Workspace, venv: Path) -> None:
    from dataclasses import replace

    from vacc_gen.generator.cli.display import terminal_progress
    from vacc_gen.generator.environment.environment import DESCRIPTION_PATH, LOCK_PATH
    from vacc_gen.generator.environment.trial import try_lock
    from vacc_gen.generator.workspace.workspace import update

    found = _answering_lock(workspace)
    with terminal_progress() as progress:
        trial = try_lock(found, venv, progress)
    update(
        replace(workspace, own_lock=replace(found, trial=trial)),
        over=(str(LOCK_PATH), str(DESCRIPTION_PATH)),
    )
    for passed in trial.passed:
        typer.echo(f"passed: {passed}")
    for failed in trial.failed:
        typer.echo(f"failed: {failed}")
    typer.echo(f"the environment is {venv}; {workspace.root / DESCRIPTION_PATH} has the record")
    if trial.failed:
        raise typer.Exit(1)
