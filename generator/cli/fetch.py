"""`vacc-gen fetch`: bring the checkpoint and the calibration set that the recipe names."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vacc_gen.generator.cli.options import WorkspaceFolder
from vacc_gen.schema.errors import UsageError, plural

if TYPE_CHECKING:
    from vacc_gen.generator.fetch import FetchedFile
    from vacc_gen.generator.progress import Progress
    from vacc_gen.generator.workspace import Workspace


def fetch(
    folder: WorkspaceFolder = Path(),
    only: Annotated[
        Literal["checkpoint", "calibration"] | None, typer.Option(help="Bring only this.")
    ] = None,
    revision: Annotated[
        str,
        typer.Option(metavar="NAME", help="Branch, tag or commit of the checkpoint's repository."),
    ] = "main",
    force: Annotated[
        bool, typer.Option("--force", help="Replace files that are not the published ones.")
    ] = False,
) -> None:
    """Bring the weights and the calibration set.

    They go where vacc.yaml expects them. Only safetensors, config and tokenizer files; each is
    checked against the hub's digest. Skips complete files; resumes partial ones. HF_ENDPOINT names
    a mirror, HF_TOKEN opens private repositories.

    Example: vacc-gen fetch falcon-7b-instruct
    """
    from vacc_gen.generator.cli.display import terminal_progress
    from vacc_gen.generator.next_steps import next_steps
    from vacc_gen.generator.progress import size_text
    from vacc_gen.generator.workspace import load_workspace, update

    workspace = load_workspace(folder)
    was_current = not workspace.stale()
    done: list[FetchedFile] = []
    with terminal_progress() as progress:
        for file in _fetched(workspace, only, revision, force, progress):
            done.append(file)
            doubt = "" if file.verified else "  (the hub states no checksum)"
            size = size_text(file.path.stat().st_size)
            print(f"{file.state:8} {file.path.name}  {size}{doubt}")  # echo prints into the bar
    size = size_text(sum(file.path.stat().st_size for file in done))
    places = " and ".join(dict.fromkeys(str(file.path.parent) for file in done))
    counts = ", ".join(f"{n} {state}" for state, n in Counter(f.state for f in done).items())
    if done:
        typer.echo(f"\n{plural(len(done), 'file')}, {size} in {places}: {counts}")
    workspace = load_workspace(folder)
    if was_current:  # the checkpoint's config.json may say more than the preset
        for path in update(workspace).written:
            typer.echo(f"wrote {folder / path}")
    typer.echo(f"\nnext: {next_steps(folder, workspace.plan.recipe)[0]}")


def _fetched(
    workspace: Workspace, only: str | None, revision: str, force: bool, progress: Progress
) -> Iterator[FetchedFile]:
    """Bring what is asked for; yield each file once it is there."""
    from vacc_gen.generator.fetch import fetch_calibration_set, fetch_checkpoint
    from vacc_gen.presets import CALIBRATION_SETS

    recipe, preset = workspace.plan.recipe, workspace.plan.preset
    if only != "calibration":
        if preset.huggingface_id is None:
            raise UsageError(
                f"the preset {preset.name} names no repository to fetch from",
                f"put the weights into {workspace.checkpoint_path}",
            )
        _refuse_placeholder("model.checkpoint", recipe.model.checkpoint)
        weights = Path(os.path.normpath(workspace.root / recipe.model.checkpoint))
        yield from fetch_checkpoint(preset.huggingface_id, weights, progress, revision, force)
    calibration = None if only == "checkpoint" else recipe.calibration
    if only == "calibration" and calibration is None:
        raise UsageError(
            "vacc.yaml names no calibration set", "add `calibration` with set and path"
        )
    for source in calibration.sources if calibration else ():
        if source.set not in CALIBRATION_SETS.names():
            typer.echo(f"{source.set} is a set of your own: nothing to fetch", err=True)
            continue
        _refuse_placeholder("calibration.path", source.path)
        texts = CALIBRATION_SETS.find(source.set)
        yield from fetch_calibration_set(texts, source, workspace.root, progress, force)


def _refuse_placeholder(key: str, path: str) -> None:
    from vacc_gen.generator.plan import is_placeholder

    if is_placeholder(path):
        raise UsageError(f"{key} is still to be filled in: {path}", f"set {key} in vacc.yaml")
