"""What would make a build, or the compiler, fail later: in a workspace and on this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from vacc_gen.generator.backends.vamc import EXECUTABLE
from vacc_gen.generator.build.preflight import check_files
from vacc_gen.generator.calibration.windows import check_calibration
from vacc_gen.generator.doctor import machine
from vacc_gen.generator.doctor.machine import Check, State
from vacc_gen.generator.lock import missing_lock_reason, read_lock, requirements_of
from vacc_gen.generator.plan import is_placeholder
from vacc_gen.generator.progress import size_text
from vacc_gen.generator.workspace import Workspace
from vacc_gen.schema.errors import VaccGenError, first_few
from vacc_gen.schema.lint.check import open_weights
from vacc_gen.schema.lint.diagnostics import FindingsError, Severity

SECTION = "workspace"


def compiler_python(workspace: Workspace | None) -> Path | None:
    """Return the interpreter that the compiler runs in, if there is one.

    It is that of `vamc` on the PATH, else that of env/venv in the workspace, where its README puts
    it.
    """
    python = machine.vamc_python()
    if python is None and workspace is not None:
        in_workspace = workspace.root / "env" / "venv" / "bin" / "python"
        return in_workspace if in_workspace.is_file() else None
    return python


def examine(workspace: Workspace | None, python: Path | None) -> Iterator[Check]:
    """Look at the machine, at the compiler's interpreter, and at the workspace."""
    with_vamc = shutil.which(EXECUTABLE) is not None
    plan = wanted = lock = None
    root = Path()
    if workspace is not None:
        plan, lock, root = workspace.plan, workspace.lock, workspace.root
        wanted = requirements_of(plan.recipe.environment)
        yield from workspace_checks(workspace, with_vamc)
    if python is None:
        message = "not named, and not found by vamc: the pins are not checked"
        hint = "vacc-gen doctor --python PATH"
        yield Check(machine.COMPILER, "interpreter", State.UNKNOWN, message, hint)
    else:
        yield from machine.compiler_environment(python, wanted, lock, root)
    yield from machine.own_environment(needed=not with_vamc)
    yield from machine.programs(python, plan)
    yield machine.cards()
    if plan is not None:
        yield from machine.room(root, *machine.needed_bytes(plan, with_vamc))


def workspace_checks(workspace: Workspace, with_vamc: bool) -> Iterator[Check]:
    """Look at the workspace's files and at what they name."""
    for name, looked_at in (
        ("files", _files(workspace)),
        ("lock", _lock(workspace)),
        ("checkpoint", _checkpoint(workspace, with_vamc)),
        ("calibration", _calibration(workspace)),
    ):
        try:
            yield from looked_at
        except VaccGenError as error:  # noqa: PERF203  # each check for itself
            yield Check(SECTION, name, State.PROBLEM, error.message, error.hint)


def _files(workspace: Workspace) -> Iterator[Check]:
    edited = check_files(workspace)
    if edited:
        yield Check(SECTION, "files", State.WARNING, first_few(edited))
    else:
        yield Check(SECTION, "files", State.OK, "as the recipe asks")


def _lock(workspace: Workspace) -> Iterator[Check]:
    environment, lock = workspace.plan.recipe.environment, workspace.lock
    if lock is not None:
        read_lock(workspace.root)
        tested = "tested" if lock.tested else "not tested"
        yield Check(SECTION, "lock", State.OK, f"current, {tested} ({lock.made_by})")
        return
    problem = next(iter(requirements_of(environment).problems()), None)
    if problem is not None and problem.kind == "source-only":
        # Nothing is wrong with the workspace: no tool can pin by hash what is built here.
        yield Check(SECTION, "lock", State.WARNING, problem.message, problem.hint)
        return
    reason = f"none for these pins: {missing_lock_reason(environment)}"
    hint = problem.hint if problem else f"vacc-gen lock {workspace.root}"
    yield Check(SECTION, "lock", State.PROBLEM, reason, hint)


def _checkpoint(workspace: Workspace, with_vamc: bool) -> Iterator[Check]:
    path = workspace.checkpoint_path
    workspace.require_weights()
    yield from _weights(path)
    absent = [n for n in workspace.plan.preset.beside_weights() if not (path / n).is_file()]
    if absent and with_vamc:
        message, hint = f"{path} lacks {first_few(absent)}", f"{workspace.root}/scripts/prepare.sh"
        yield Check(SECTION, "code beside the weights", State.PROBLEM, message, hint)


def _weights(path: Path) -> Iterator[Check]:
    """What `validate` says of a weight folder."""
    try:
        weights, findings = open_weights(path)
    except FindingsError as error:
        findings = list(error.diagnostics)
    else:
        size = f"{size_text(weights.tensor_bytes)} in {len(weights.tensors)} tensors"
        yield Check(SECTION, "checkpoint", State.OK, f"{size} ({path})")
    for found in findings:
        state = State.PROBLEM if found.severity is Severity.ERROR else State.WARNING
        message = f"{found.code} {found.message} ({found.path})"
        yield Check(SECTION, "checkpoint", state, message, found.hint)


def _calibration(workspace: Workspace) -> Iterator[Check]:
    calibration = workspace.plan.recipe.calibration
    if calibration is None:
        return
    if any(is_placeholder(source.path) for source in calibration.sources):
        message = "calibration.path is still to be filled in: int8 is rounded to nearest"
        hint = f"vacc-gen fetch {workspace.root} --only calibration"
        yield Check(SECTION, "calibration", State.WARNING, message, hint)
        return
    check_calibration(calibration, workspace.plan.geometry.max_positions, workspace.root)
    names = ", ".join(source.set for source in calibration.sources)
    yield Check(SECTION, "calibration", State.OK, f"{calibration.samples} windows of {names}")
