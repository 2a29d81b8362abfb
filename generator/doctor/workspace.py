"""What a workspace lacks: current files, a lock for its pins, weights, calibration texts."""

from __future__ import annotations

from collections.abc import Iterator

from vacc_gen.generator.calibration.tokenizer import TOKENIZER_FILES
from vacc_gen.generator.calibration.windows import check_calibration
from vacc_gen.generator.doctor.check import Check, State, first_few
from vacc_gen.generator.environment.lock import lock_of, missing_lock_reason, read_lock
from vacc_gen.generator.environment.requirements import requirements_of
from vacc_gen.generator.plan import is_placeholder
from vacc_gen.generator.progress import size_text
from vacc_gen.generator.workspace.drift import State as FileState
from vacc_gen.generator.workspace.workspace import Workspace
from vacc_gen.schema.checkpoint import read_weight_folder
from vacc_gen.schema.errors import LockError, UnreadableError, VaccGenError

SECTION = "workspace"


def workspace_checks(workspace: Workspace, with_vamc: bool) -> Iterator[Check]:
    """Look at the workspace's files and at what they name."""
    yield _files(workspace)
    yield _lock(workspace)
    yield from _checkpoint(workspace, with_vamc)
    yield from _calibration(workspace)


def _files(workspace: Workspace) -> Check:
    states = workspace.states()
    edited = [file.path for file in states if file.state is FileState.EDITED]
    current = [file.path for file in states if file.state is FileState.CURRENT]
    stale = [file.path for file in states if file.path not in (*edited, *current)]
    if stale:
        message = f"do not match the recipe: {first_few(stale)}"
        hint = f"vacc-gen generate {workspace.root}"
        return Check(SECTION, "files", State.PROBLEM, message, hint)
    if edited:
        return Check(SECTION, "files", State.WARNING, f"edited by hand: {first_few(edited)}")
    return Check(SECTION, "files", State.OK, f"{len(states)} files match the recipe")


def _lock(workspace: Workspace) -> Check:
    environment = workspace.plan.recipe.environment
    lock = lock_of(environment, workspace.own_lock)
    if lock is None:
        problem = next(iter(requirements_of(environment).problems()), None)
        if problem is not None and problem.kind == "source-only":
            # Nothing is wrong with the workspace: no tool can pin by hash what is built here.
            return Check(SECTION, "lock", State.WARNING, problem.message, problem.hint)
        reason = f"none for these pins: {missing_lock_reason(environment)}"
        hint = problem.hint if problem else f"vacc-gen lock {workspace.root}"
        return Check(SECTION, "lock", State.PROBLEM, reason, hint)
    try:
        read_lock(workspace.root)
    except (LockError, UnreadableError) as error:
        return Check.failed(SECTION, "lock", error)
    tested = "tested" if lock.tested else "not tested"
    return Check(SECTION, "lock", State.OK, f"current, {tested} ({lock.made_by})")


def _checkpoint(workspace: Workspace, with_vamc: bool) -> Iterator[Check]:
    recipe, path = workspace.plan.recipe, workspace.checkpoint_path
    if is_placeholder(recipe.model.checkpoint):
        message = f"still to be filled in: {recipe.model.checkpoint}"
        hint = "set model.checkpoint in vacc.yaml to the weight folder; `vacc-gen fetch` fills it"
        yield Check(SECTION, "checkpoint", State.PROBLEM, message, hint)
        return
    try:
        weights = read_weight_folder(path)
    except VaccGenError as error:
        yield Check.failed(SECTION, "checkpoint", error)
        return
    size = f"{size_text(weights.tensor_bytes)} in {len(weights.tensors)} tensors"
    yield Check(SECTION, "checkpoint", State.OK, f"{size} ({path})")
    if not any((path / name).is_file() for name in TOKENIZER_FILES):
        message = f"none of {', '.join(TOKENIZER_FILES)} in {path}"
        hint = "download it from the repository that the weights are from"
        yield Check(SECTION, "tokenizer", State.PROBLEM, message, hint)
    absent = [n for n in workspace.plan.preset.beside_weights() if not (path / n).is_file()]
    if absent and with_vamc:
        message, hint = f"{path} lacks {first_few(absent)}", f"{workspace.root}/scripts/prepare.sh"
        yield Check(SECTION, "code beside the weights", State.PROBLEM, message, hint)


def _calibration(workspace: Workspace) -> Iterator[Check]:
    calibration = workspace.plan.recipe.calibration
    if calibration is None:
        return
    if any(is_placeholder(source.path) for source in calibration.sources):
        message = "calibration.path is still to be filled in: int8 is rounded to nearest"
        hint = f"vacc-gen fetch {workspace.root} --only calibration"
        yield Check(SECTION, "calibration", State.WARNING, message, hint)
        return
    try:
        check_calibration(calibration, workspace.plan.geometry.max_positions, workspace.root)
    except VaccGenError as error:
        yield Check.failed(SECTION, "calibration", error)
        return
    names = ", ".join(source.set for source in calibration.sources)
    yield Check(SECTION, "calibration", State.OK, f"{calibration.samples} windows of {names}")
