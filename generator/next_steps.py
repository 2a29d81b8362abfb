"""What to type next in a workspace; the verbs end with it."""

from __future__ import annotations

import os
from pathlib import Path

from vacc_gen import presets
from vacc_gen.generator.plan import is_placeholder
from vacc_gen.schema.errors import word_for_shell
from vacc_gen.schema.recipe import Recipe


def next_steps(root: Path, recipe: Recipe) -> list[str]:
    """Return the commands that lead from a valid workspace to text out of a model."""
    folder, steps = word_for_shell(str(root)), []
    preset, checkpoint = presets.MODELS.find(recipe.model.preset), recipe.model.checkpoint
    if preset.huggingface_id is None and not _is_there(root, f"{checkpoint}/config.json"):
        weights = word_for_shell(os.path.normpath(root / checkpoint))
        steps.append(f"# put the weights into {weights}")
    paths = [f"{checkpoint}/config.json"] if preset.huggingface_id else []
    if recipe.calibration is not None and not is_placeholder(recipe.calibration.path):
        paths.append(recipe.calibration.path)
    if not all(_is_there(root, path) for path in paths):
        steps.append(f"vacc-gen fetch {folder}    # weights and texts that you lack")
    if not preset.runs_embedded:
        return [*steps, f"vacc-gen build {folder}    # where the vendor's vamc is"]
    run = f'vacc-gen run {folder} --prompt "In the beginning"'
    return [*steps, f"vacc-gen build {folder}", run]


def _is_there(root: Path, path: str) -> bool:
    # `root` need not exist, so that `..` is resolved in the text alone.
    return Path(os.path.normpath(root / path)).exists()
