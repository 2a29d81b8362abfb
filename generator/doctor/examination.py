"""Everything that `doctor` looks at, in the order in which it tells of it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vacc_gen.generator.backends.onnxruntime.backend import PACKAGES
from vacc_gen.generator.backends.vamc import EXECUTABLE
from vacc_gen.generator.doctor import machine
from vacc_gen.generator.doctor.check import Check, State, problem_of
from vacc_gen.generator.doctor.material import material
from vacc_gen.generator.doctor.need import need_of
from vacc_gen.generator.doctor.packages import compiler_environment, runs
from vacc_gen.generator.environment.environment import lock_of
from vacc_gen.generator.environment.interpreter import ask
from vacc_gen.generator.environment.requirements import requirements_of
from vacc_gen.generator.workspace.workspace import Workspace
from vacc_gen.schema.errors import MissingExtraError

OWN = "vacc-gen's environment"


@dataclass(frozen=True)
class Examination:
    """What was looked at, and for whom."""

    root: Path | None
    """The workspace, if there is one."""
    python: Path | None
    """The interpreter of the compiler's environment, if one was named or found."""
    checks: tuple[Check, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return what `doctor --json` prints."""
        return {
            "version": 1,
            "workspace": None if self.root is None else str(self.root),
            "python": None if self.python is None else str(self.python),
            "problems": sum(check.state is State.PROBLEM for check in self.checks),
            "checks": [check.as_dict() for check in self.checks],
        }


def examine(workspace: Workspace | None, python: Path | None) -> Examination:
    """Look at the machine, at the interpreter, and at the workspace.

    Without `python` the compiler's interpreter is that of `vamc` on the PATH, else the one that
    `vacc-gen lock --test` made in the workspace.
    """
    python = python or machine.vamc_python() or _tried_python(workspace)
    root = None if workspace is None else workspace.root
    return Examination(root, python, tuple(_checks(workspace, python)))


def _checks(workspace: Workspace | None, python: Path | None) -> Iterator[Check]:
    with_vamc = shutil.which(EXECUTABLE) is not None
    plan = None if workspace is None else workspace.plan
    if workspace is not None:
        yield from material(workspace, with_vamc)
    yield from _compiler(workspace, python)
    yield from _own(needed=not with_vamc)
    yield from machine.programs(python, plan)
    yield machine.cards()
    if workspace is not None and plan is not None:
        yield from machine.room(workspace.root, need_of(plan, with_vamc))
        yield from machine.gpu(python, plan)


def _compiler(workspace: Workspace | None, python: Path | None) -> Iterator[Check]:
    if python is None:
        yield Check(
            "compiler's environment",
            "interpreter",
            State.UNKNOWN,
            "none named, and no vamc to tell it by: the pins are not looked at",
            "vacc-gen doctor --python PATH",
        )
        return
    if workspace is None:
        yield from compiler_environment(python, None, None)
        return
    environment = workspace.plan.recipe.environment
    lock = lock_of(environment, workspace.own_lock)
    wanted = requirements_of(environment)
    yield from compiler_environment(python, wanted, lock, workspace.root)


def _own(*, needed: bool) -> Iterator[Check]:
    """Look at what the embedded backend takes, in our own interpreter."""
    installed = ask(sys.executable, "versions").values["packages"]
    missing = [package for package in PACKAGES if package not in installed]
    if missing and not needed:
        yield Check(OWN, "extra `export`", State.OK, "not installed; vamc does the work")
        return
    for package in missing:
        error = MissingExtraError(package, "building with ONNX Runtime")
        yield problem_of(OWN, package, error)
    present = ", ".join(f"{name} {installed[name]}" for name in PACKAGES if name in installed)
    if present:
        yield Check(OWN, "packages", State.OK, present)
    yield from runs(OWN, Path(sys.executable), installed)


def _tried_python(workspace: Workspace | None) -> Path | None:
    if workspace is None:
        return None
    python = workspace.root / "env" / "venv" / "bin" / "python"
    return python if python.is_file() else None
