"""What a workspace lacks: current files, a lock that answers, weights, calibration texts."""

from __future__ import annotations

from collections.abc import Iterator

from vacc_gen.generator.calibration.tokenizer import TOKENIZER_FILES
from vacc_gen.generator.calibration.windows import check_calibration
from vacc_gen.generator.doctor.check import Check, State, problem_of
from vacc_gen.generator.environment.environment import (
    lock_of,
    missing_lock_reason,
    pins_problem,
    read_lock,
)
from vacc_gen.generator.figures import size_text
from vacc_gen.generator.plan import is_placeholder
from vacc_gen.generator.workspace.drift import State as FileState
from vacc_gen.generator.workspace.workspace import Workspace
from vacc_gen.schema.checkpoint import read_weight_folder
from vacc_gen.schema.errors import LockError, UnreadableError, VaccGenError

SECTION = "workspace"
_SHOWN = 3


def material(workspace: Workspace, with_vamc: bool) -> Iterator[Check]:
    """Look at the workspace's files and at what they name."""
    yield _files(workspace)
    yield _lock(workspace)
    yield from _checkpoint(workspace, with_vamc)
    yield from _calibration(workspace)


def _files(workspace: Workspace) -> Check:
    states = workspace.states()
    stale = [s.path for s in states if s.state not in (FileState.CURRENT, FileState.EDITED)]
    if stale:
        return Check(
            SECTION,
            "files",
            State.PROBLEM,
            f"not those of the recipe: {_listed(stale)}",
            f"vacc-gen generate {workspace.root}",
        )
    edited = [s.path for s in states if s.state is FileState.EDITED]
    if edited:
        return Check(SECTION, "files", State.WARNING, f"edited by hand: {_listed(edited)}")
    return Check(SECTION, "files", State.OK, f"{len(states)} files are those of the recipe")


def _lock(workspace: Workspace) -> Check:
    environment = workspace.plan.recipe.environment
    lock = lock_of(environment, workspace.own_lock)
    if lock is None:
        unlockable = pins_problem(environment)
        if unlockable is not None and unlockable.kind == "source-only":
            # Nothing is wrong with the workspace: no tool can pin by hash what is built here.
            return Check(SECTION, "lock", State.WARNING, unlockable.message, unlockable.hint)
        reason, hint = missing_lock_reason(environment), f"vacc-gen lock {workspace.root}"
        if unlockable is not None:
            hint = unlockable.hint
        return Check(SECTION, "lock", State.PROBLEM, f"none for these pins: {reason}", hint)
    try:
        read_lock(workspace.root)
    except (LockError, UnreadableError) as error:
        return Check(SECTION, "lock", State.PROBLEM, error.message, error.hint)
    if lock.trial is not None and lock.trial.failed:
        return Check(
            SECTION, "lock", State.PROBLEM, f"failed its test: {_listed(lock.trial.failed)}"
        )
    if lock.tested or lock.trial:
        return Check(SECTION, "lock", State.OK, f"answers vacc.yaml, tested ({lock.made_by})")
    return Check(
        SECTION,
        "lock",
        State.WARNING,
        f"answers vacc.yaml, and was not tested ({lock.made_by})",
        f"vacc-gen lock {workspace.root} --test",
    )


def _checkpoint(workspace: Workspace, with_vamc: bool) -> Iterator[Check]:
    recipe, path = workspace.plan.recipe, workspace.checkpoint_path
    if is_placeholder(recipe.model.checkpoint):
        yield Check(
            SECTION,
            "checkpoint",
            State.PROBLEM,
            f"still to be filled in: {recipe.model.checkpoint}",
            "set model.checkpoint in vacc.yaml to the weight folder; `vacc-gen fetch` fills it",
        )
        return
    try:
        weights = read_weight_folder(path)
    except VaccGenError as error:
        yield problem_of(SECTION, "checkpoint", error)
        return
    size = f"{size_text(weights.tensor_bytes)} in {len(weights.tensors)} tensors"
    yield Check(SECTION, "checkpoint", State.OK, f"{size} ({path})")
    if not any((path / name).is_file() for name in TOKENIZER_FILES):
        yield Check(
            SECTION,
            "tokenizer",
            State.PROBLEM,
            f"none of {', '.join(TOKENIZER_FILES)} in {path}",
            "download it from the repository that the weights are from",
        )
    absent = [n for n in workspace.plan.preset.beside_weights() if not (path / n).is_file()]
    if absent and with_vamc:
        yield Check(
            SECTION,
            "code beside the weights",
            State.PROBLEM,
            f"{path} lacks {_listed(absent)}",
            f"{workspace.root}/scripts/prepare.sh",
        )


def _calibration(workspace: Workspace) -> Iterator[Check]:
    calibration = workspace.plan.recipe.calibration
    if calibration is None:
        return
    if any(is_placeholder(source.path) for source in calibration.sources):
        yield Check(
            SECTION,
            "calibration",
            State.WARNING,
            "calibration.path is still to be filled in: int8 is rounded to nearest",
            f"vacc-gen fetch {workspace.root} --only calibration",
        )
        return
    try:
        check_calibration(calibration, workspace.plan.geometry.max_positions, workspace.root)
    except VaccGenError as error:
        yield problem_of(SECTION, "calibration", error)
        return
    names = ", ".join(source.set for source in calibration.sources)
    yield Check(SECTION, "calibration", State.OK, f"{calibration.samples} windows of {names}")


def _listed(names: list[str] | tuple[str, ...]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
