"""`vacc-gen fetch`: bring the checkpoint and the calibration set that the recipe names."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from vacc_gen.generator.cli.options import WorkspaceFolder
from vacc_gen.schema.errors import UsageError, plural

if TYPE_CHECKING:
    from vacc_gen.generator.fetch import FetchedFile
    from vacc_gen.generator.progress import Progress
    from vacc_gen.generator.workspace import Workspace


def fetch(
    folder: WorkspaceFolder = Path(),
    revision: Annotated[str, Option(metavar="NAME", help="Branch, tag or commit.")] = "main",
    force: Annotated[bool, Option("--force", help="Replace files that differ.")] = False,
) -> None:
    """The files go where vacc.yaml expects them.

    Only safetensors, config and tokenizer files; each is checked against the hub's digest. Skips
    complete files; resumes partial ones. HF_ENDPOINT names a mirror, HF_TOKEN opens private
    repositories.

    Example: vacc-gen fetch falcon-7b-instruct
    """
    from vacc_gen.generator.cli.display import terminal_progress
    from vacc_gen.generator.cli.new import next_steps
    from vacc_gen.generator.progress import size_text
    from vacc_gen.generator.workspace import load_workspace, update

    workspace = load_workspace(folder)
    was_current = not workspace.stale()
    done: list[FetchedFile] = []
    with terminal_progress() as progress:
        for file in _fetched(workspace, revision, force, progress):
            done.append(file)
            doubt = "" if file.verified else "  (the hub states no checksum)"
            size = size_text(file.path.stat().st_size)
            print(f"{file.state:8} {file.path.name}  {size}{doubt}")  # echo prints into the bar
    if done:
        size = size_text(sum(file.path.stat().st_size for file in done))
        places = " and ".join(dict.fromkeys(str(file.path.parent) for file in done))
        counts = ", ".join(f"{n} {state}" for state, n in Counter(f.state for f in done).items())
        typer.echo(f"\n{plural(len(done), 'file')}, {size} in {places}: {counts}")
    workspace = load_workspace(folder)
    if was_current:  # the checkpoint's config.json may say more than the preset
        for path in update(workspace).written:
            typer.echo(f"wrote {folder / path}")
    typer.echo(f"\nnext: {next_steps(folder, workspace.plan.recipe)[0]}")


def _fetched(
    workspace: Workspace, revision: str, force: bool, progress: Progress
) -> Iterator[FetchedFile]:
    """Bring what is asked for; yield each file once it is there."""
    from vacc_gen.generator.fetch import fetch_calibration_set, fetch_checkpoint
    from vacc_gen.generator.plan import is_placeholder
    from vacc_gen.presets import CALIBRATION_SETS

    recipe, preset = workspace.plan.recipe, workspace.plan.preset
    sources = recipe.calibration.sources if recipe.calibration else ()
    paths = [("model.checkpoint", recipe.model.checkpoint)] if preset.huggingface_id else []
    for key, path in (*paths, *(("calibration.path", source.path) for source in sources)):
        if is_placeholder(path):
            hint = f"set {key} in vacc.yaml"
            raise UsageError(f"{key} is still to be filled in: {path}", hint)
    if preset.huggingface_id is not None:
        weights = Path(os.path.normpath(workspace.root / recipe.model.checkpoint))
        yield from fetch_checkpoint(preset.huggingface_id, weights, progress, revision, force)
    elif not sources:
        raise UsageError(
            f"the preset {preset.name} names no repository to fetch from",
            f"put the weights into {workspace.checkpoint_path}",
        )
    for source in sources:
        if source.set not in CALIBRATION_SETS.names():
            typer.echo(f"{source.set} is a set of your own: nothing to fetch", err=True)
            continue
        texts = CALIBRATION_SETS.find(source.set)
        yield from fetch_calibration_set(texts, source, workspace.root, progress, force)
