"""What would make a build, or the compiler, fail later on this machine."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from vacc_gen import presets
from vacc_gen.generator.backends.onnxruntime.backend import PACKAGES
from vacc_gen.generator.backends.vamc import EXECUTABLE
from vacc_gen.generator.doctor import machine
from vacc_gen.generator.doctor.check import Check, State, first_few
from vacc_gen.generator.doctor.workspace import workspace_checks
from vacc_gen.generator.environment.interpreter import run_check
from vacc_gen.generator.environment.lock import LOCK_PATH, Lock, lock_of
from vacc_gen.generator.environment.requirements import (
    Requirements,
    locked_packages,
    requirements_of,
)
from vacc_gen.generator.files import package_version
from vacc_gen.generator.workspace.workspace import Workspace
from vacc_gen.schema.errors import MissingExtraError
from vacc_gen.schema.packages import Pin, parse_pin, parse_versions, pin_problems

OWN = "vacc-gen's environment"
COMPILER = "compiler's environment"
_FIRST_ANSWER_S = 60
"""The first check imports nothing: what does not answer it by then is not an interpreter."""
_FROM_A_LOCK = (
    f"make the environment from a workspace's lock: pip install --require-hashes -r {LOCK_PATH}"
)

Installed = Mapping[str, str]
"""Versions by normalized name."""


@dataclass(frozen=True)
class Examination:
    """What was looked at, and for whom."""

    workspace: str | None
    """The folder, if there is one."""
    python: str | None
    """The interpreter of the compiler's environment, if one was named or found."""
    checks: tuple[Check, ...]

    @property
    def problems(self) -> int:
        """How many things would fail later."""
        return sum(check.state is State.PROBLEM for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """Return what `doctor --json` prints."""
        return {"version": 1, "problems": self.problems, **asdict(self)}


def examine(workspace: Workspace | None, python: Path | None) -> Examination:
    """Look at the machine, at the interpreter, and at the workspace.

    Without `python` the compiler's interpreter is that of `vamc` on the PATH, else that of env/venv
    in the workspace, where its README puts it.
    """
    python = python or machine.vamc_python()
    if python is None and workspace is not None:
        in_workspace = workspace.root / "env" / "venv" / "bin" / "python"
        python = in_workspace if in_workspace.is_file() else None
    return Examination(
        workspace=None if workspace is None else str(workspace.root),
        python=None if python is None else str(python),
        checks=tuple(_checks(workspace, python)),
    )


def _checks(workspace: Workspace | None, python: Path | None) -> Iterator[Check]:
    with_vamc = shutil.which(EXECUTABLE) is not None
    if workspace is not None:
        yield from workspace_checks(workspace, with_vamc)
    if python is None:
        message = "not named, and not found by vamc: the pins are not checked"
        hint = "vacc-gen doctor --python PATH"
        yield Check(COMPILER, "interpreter", State.UNKNOWN, message, hint)
    elif workspace is None:
        yield from compiler_environment(python, None, None)
    else:
        environment = workspace.plan.recipe.environment
        lock = lock_of(environment, workspace.own_lock)
        yield from compiler_environment(python, requirements_of(environment), lock, workspace.root)
    yield from _own_environment(needed=not with_vamc)
    plan = None if workspace is None else workspace.plan
    yield from machine.programs(python, plan)
    yield machine.cards()
    if workspace is not None:
        yield from machine.room(workspace.root, machine.need_of(workspace.plan, with_vamc))
        yield from machine.gpu(python, workspace.plan)


def _own_environment(*, needed: bool) -> Iterator[Check]:
    """Look at what the embedded backend takes, in our own interpreter."""
    versions = {package: package_version(package) for package in (*PACKAGES, "numpy")}
    installed = {package: version for package, version in versions.items() if version is not None}
    missing = [package for package in PACKAGES if package not in installed]
    if missing and not needed:
        yield Check(OWN, "extra `export`", State.OK, "not installed; vamc does the work")
        return
    for package in missing:
        error = MissingExtraError(package, "building with ONNX Runtime")
        yield Check.failed(OWN, package, error)
    present = ", ".join(f"{name} {installed[name]}" for name in PACKAGES if name in installed)
    if present:
        yield Check(OWN, "packages", State.OK, present)
    yield from _runs(OWN, Path(sys.executable), installed, None)


def compiler_environment(
    python: Path, wanted: Requirements | None, lock: Lock | None, root: Path = Path()
) -> Iterator[Check]:
    """Look at the interpreter that the compiler runs in, against what the workspace at root asks.

    With a lock, its check alone hints how to install: all at once, as it was locked.
    """
    answer = run_check(python, "versions", timeout_s=_FIRST_ANSWER_S)
    if answer.failure:
        hint = "name the interpreter of an environment, of Python 3.8 or newer"
        message = f"{python} {answer.failure}"
        yield Check(COMPILER, "interpreter", State.PROBLEM, message, hint)
        return
    version, installed = str(answer.values["python"]), answer.values["packages"]
    if wanted is None:
        yield Check(COMPILER, "Python", State.OK, f"{version} ({python})")
    else:
        yield _python(python, version, wanted.python)
        yield from _pins(wanted, installed, with_hint=lock is None)
    if lock is not None:
        yield _against_lock(lock, installed, root / LOCK_PATH)
    yield from _breaking_companions(installed, version)
    yield from _runs(COMPILER, python, installed, None if lock else _FROM_A_LOCK)


def _python(python: Path, version: str, wanted: str) -> Check:
    ok = version in parse_versions(f"=={wanted}.*")
    message = f"{version} ({python}){'' if ok else f', and the recipe wants {wanted}'}"
    hint = f"make the environment with python{wanted}, or change environment.python"
    return Check.of(COMPILER, "Python", ok, message, hint)


def _pins(wanted: Requirements, installed: Installed, *, with_hint: bool) -> Iterator[Check]:
    """Compare each pin; the first that fails hints how to install them all, within the bounds."""
    wrong = [pin for pin in wanted.pins if not _satisfies(installed, pin)]
    limits = [bound.needs for bound in wanted.bounds if not _satisfies(installed, bound.needs)]
    install = f"pip install {shlex.join(pin.text for pin in (*wrong, *limits))}"
    for pin in wanted.pins:
        ok = pin not in wrong
        message = installed.get(pin.name, "missing") + ("" if ok else f", wanted {pin}")
        hint = install if with_hint and pin in wrong[:1] else None
        yield Check.of(COMPILER, pin.name, ok, message, hint)


def _version(installed: Installed, name: str) -> Version | None:
    """Return a package's version; None where it is missing, or its version is not one."""
    try:
        return Version(installed[name])
    except (KeyError, InvalidVersion):  # some distributions call theirs 0.0.0-dev-abc
        return None


def _satisfies(installed: Installed, pin: Pin) -> bool:
    version = _version(installed, pin.name)
    return version is not None and version in pin.versions


def _against_lock(lock: Lock, installed: Installed, path: Path) -> Check:
    locked = locked_packages(lock.text, "the lock")
    differing = [
        f"{name} {installed.get(name, 'missing')} (locked: {version})"
        for name, version in locked.items()
        if _version(installed, name) != version
    ]
    if not differing:
        return Check(COMPILER, "lock", State.OK, f"all {len(locked)} packages are as locked")
    count = f"{len(differing)} of {len(locked)} packages are not as locked"
    hint = f"pip install --require-hashes -r {shlex.quote(str(path))}"
    return Check(COMPILER, "lock", State.WARNING, f"{count}: {first_few(differing, 4)}", hint)


def _breaking_companions(installed: Installed, version: str) -> Iterator[Check]:
    """Report which of the installed packages are known to break beside each other."""
    pins = [
        parse_pin(f"{name}=={installed[name]}") for name in installed if _version(installed, name)
    ]
    python = ".".join(version.split(".")[:2])
    for problem in pin_problems(pins, python, presets.pin_facts()):
        if problem.kind == "companion":
            name = " and ".join(pin.name for pin in problem.pins)
            yield Check(COMPILER, name, State.PROBLEM, problem.message, problem.hint)


def _runs(section: str, python: Path, installed: Installed, hint: str | None) -> Iterator[Check]:
    """Run what importing does not prove, each in a process of its own."""
    for check, needed, name in (
        ("round-trip", ("torch", "numpy"), "torch to numpy and back"),
        ("session", ("onnxruntime", "onnx", "numpy"), "a session of ONNX Runtime"),
    ):
        missing = [package for package in needed if package not in installed]
        if missing:
            yield Check(section, name, State.UNKNOWN, f"not tried without {', '.join(missing)}")
            continue
        versions = " beside ".join(f"{package} {installed[package]}" for package in needed)
        failure = run_check(python, check).failure
        message = f"{versions}: {failure}" if failure else versions
        yield Check.of(section, name, failure is None, message, hint)
