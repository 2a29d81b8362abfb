"""What would make a build, or the compiler, fail later: in a workspace and on this machine."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from vacc_gen import presets
from vacc_gen.generator.backends.base import Stage
from vacc_gen.generator.backends.onnxruntime.backend import PACKAGES, OnnxRuntimeBackend
from vacc_gen.generator.backends.vamc import EXECUTABLE, Vamc
from vacc_gen.generator.build.preflight import check_files, stage_bytes
from vacc_gen.generator.calibration.windows import check_calibration
from vacc_gen.generator.extras import package_version
from vacc_gen.generator.lock import (
    Requirements,
    missing_lock_reason,
    read_lock,
    requirements_of,
)
from vacc_gen.generator.plan import Plan, is_placeholder
from vacc_gen.generator.probe import run_check
from vacc_gen.generator.progress import available_bytes, size_text
from vacc_gen.generator.workspace import Workspace
from vacc_gen.schema.errors import MissingExtraError, VaccGenError, first_few, word_for_shell
from vacc_gen.schema.geometry import footprint
from vacc_gen.schema.lint.check import open_weights
from vacc_gen.schema.lint.diagnostics import FindingsError, Severity
from vacc_gen.schema.packages import parse_pin, parse_versions, pin_problems

WORKSPACE = "workspace"
MACHINE = "machine"
OWN = "vacc-gen's environment"
COMPILER = "compiler's environment"
SERVER = "vastgenx"

FIRST_ANSWER_S = 60
"""The first check imports nothing: what does not answer it by then is not an interpreter."""

FIRST_VAMC_FOR_ANY = "2.3.4"
"""Below it a vocabulary must be a multiple of 16 (the vendor's llm/tigerbot/README.md)."""

Installed = Mapping[str, str]
"""Versions by normalized name."""
Found = tuple["State", str, str | None]
"""State, message and hint of a check."""


class State(str, Enum):
    """How a thing stands. Only a problem makes `doctor` exit 1."""

    OK = "ok"
    WARNING = "warning"
    """It may be meant so, or it matters on another machine."""
    PROBLEM = "problem"
    """Something would fail later."""
    UNKNOWN = "unknown"
    """It could not be looked at; the message says why."""


@dataclass(frozen=True)
class Check:
    """One line of the table, and of `doctor --json`."""

    section: str
    name: str
    state: State
    message: str
    hint: str | None = None


def compiler_python(workspace: Workspace | None) -> Path | None:
    """Return the interpreter that the compiler runs in, if there is one.

    It is that of `vamc` on the PATH, which its first line names; else that of env/venv in the
    workspace, where its README puts it.
    """
    if program := shutil.which(EXECUTABLE):
        with Path(program).open(errors="replace") as script:
            found = re.match(r"#!\s*(?:\S*/env\s+)?(\S*python[0-9.]*)(\s|$)", script.readline(4096))
        if found:
            return Path(shutil.which(found[1]) or found[1])
    in_workspace = workspace.root / "env" / "venv" / "bin" / "python" if workspace else None
    return in_workspace if in_workspace and in_workspace.is_file() else None


def examine(workspace: Workspace | None, python: Path | None) -> Iterator[Check]:
    """Look at the workspace, at the compiler's interpreter, and at the machine."""
    with_vamc = shutil.which(EXECUTABLE) is not None
    plan = wanted = None
    if workspace is not None:
        plan, wanted = workspace.plan, requirements_of(workspace.plan.recipe.environment)
        yield from workspace_checks(workspace)
    if python is None:
        message = "not named, and not found by vamc: the pins are not checked"
        hint = "vacc-gen doctor --python PATH"
        yield Check(COMPILER, "interpreter", State.UNKNOWN, message, hint)
    else:
        yield from compiler_environment(python, wanted)
    yield from own_environment(needed=not with_vamc)
    yield from programs(python, plan)
    yield cards()
    if workspace is not None:
        backend = Vamc.name if with_vamc else OnnxRuntimeBackend.name
        yield from room(workspace.root, workspace.plan, backend)


# --- the workspace --------------------------------------------------------------------------


def workspace_checks(workspace: Workspace) -> Iterator[Check]:
    """Look at the workspace's files and at what they name."""
    for name, looked_at in (
        ("files", _files(workspace)),
        ("lock", _lock(workspace)),
        ("checkpoint", _checkpoint(workspace)),
        ("calibration", _calibration(workspace)),
    ):
        try:
            for state, message, hint in looked_at:
                yield Check(WORKSPACE, name, state, message, hint)
        except VaccGenError as error:  # noqa: PERF203  # each check for itself
            yield Check(WORKSPACE, name, State.PROBLEM, error.message, error.hint)


def _files(workspace: Workspace) -> Iterator[Found]:
    edited = check_files(workspace)
    if edited:
        yield State.WARNING, first_few(edited), None
    else:
        yield State.OK, "match the recipe", None


def _lock(workspace: Workspace) -> Iterator[Found]:
    environment, lock = workspace.plan.recipe.environment, workspace.lock
    if lock is not None:
        read_lock(workspace.root)
        tested = "tested" if lock.tested else "not tested"
        yield State.OK, f"current, {tested} ({lock.made_by})", None
        return
    problem = next(iter(requirements_of(environment).problems()), None)
    if problem is not None and problem.kind == "source-only":
        # Nothing is wrong with the workspace: no tool can pin by hash what is built here.
        yield State.WARNING, problem.message, problem.hint
        return
    hint = problem.hint if problem else f"vacc-gen lock {workspace.root}"
    yield State.PROBLEM, f"none for these pins: {missing_lock_reason(environment)}", hint


def _checkpoint(workspace: Workspace) -> Iterator[Found]:
    """Say of the weights what `validate` says."""
    workspace.require_weights()
    path = workspace.checkpoint_path
    try:
        weights, findings = open_weights(path)
    except FindingsError as error:
        findings = list(error.diagnostics)
    else:
        size = f"{size_text(weights.tensor_bytes)} in {len(weights.tensors)} tensors"
        yield State.OK, f"{size} ({path})", None
    for found in findings:
        state = State.PROBLEM if found.severity is Severity.ERROR else State.WARNING
        yield state, f"{found.code} {found.message} ({found.path})", found.hint


def _calibration(workspace: Workspace) -> Iterator[Found]:
    calibration = workspace.plan.recipe.calibration
    if calibration is None:
        return
    if any(is_placeholder(source.path) for source in calibration.sources):
        message = "calibration.path is still to be filled in: int8 is rounded to nearest"
        yield State.WARNING, message, "set it in vacc.yaml; `vacc-gen fetch` fills it"
        return
    check_calibration(calibration, workspace.plan.geometry.max_positions, workspace.root)
    names = ", ".join(source.set for source in calibration.sources)
    yield State.OK, f"{calibration.samples} windows of {names}", None


# --- the compiler's environment, and ours ---------------------------------------------------


def own_environment(*, needed: bool) -> Iterator[Check]:
    """Look at what the embedded backend takes, in our own interpreter."""
    versions = {package: package_version(package) for package in PACKAGES}
    installed = {package: version for package, version in versions.items() if version}
    missing = [package for package in PACKAGES if package not in installed]
    if missing and not needed:
        yield Check(OWN, "extra `export`", State.OK, "not installed; vamc does the work")
        return
    for package in missing:
        error = MissingExtraError(package, "building with ONNX Runtime")
        yield Check(OWN, package, State.PROBLEM, error.message, error.hint)
    if not missing:
        present = ", ".join(f"{name} {installed[name]}" for name in PACKAGES)
        yield Check(OWN, "packages", State.OK, present)
    yield from _runs(OWN, Path(sys.executable), installed)


def compiler_environment(python: Path, wanted: Requirements | None) -> Iterator[Check]:
    """Look at the interpreter that the compiler runs in, against what a workspace asks."""
    answer = run_check(python, "versions", timeout_s=FIRST_ANSWER_S)
    if answer.failure:
        hint = "name the interpreter of an environment, of Python 3.8 or newer"
        message = f"{python} {answer.failure}"
        yield Check(COMPILER, "interpreter", State.PROBLEM, message, hint)
        return
    version, installed = answer.values["python"], answer.values["packages"]
    message = f"{version} ({python})"
    if wanted is None or version in parse_versions(f"=={wanted.python}.*"):
        yield Check(COMPILER, "Python", State.OK, message)
    else:
        message = f"{message}, and the recipe wants {wanted.python}"
        hint = f"make the environment with python{wanted.python}, or change environment.python"
        yield Check(COMPILER, "Python", State.PROBLEM, message, hint)
    for pin in wanted.pins if wanted else ():
        found = installed.get(pin.name, "missing")
        if pin.name in installed and found in pin.versions:
            yield Check(COMPILER, pin.name, State.OK, found)
        else:
            message, hint = f"{found}, wanted {pin}", f"pip install {word_for_shell(str(pin))}"
            yield Check(COMPILER, pin.name, State.PROBLEM, message, hint)
    yield from _breaking_companions(installed, version)
    yield from _runs(COMPILER, python, installed)


def _breaking_companions(installed: Installed, version: str) -> Iterator[Check]:
    """Report which of the installed packages are known to break beside each other."""
    any_version = parse_versions(">=0")  # some distributions call theirs 0.0.0-dev-abc
    pins = [
        parse_pin(f"{name}=={found}") for name, found in installed.items() if found in any_version
    ]
    for problem in pin_problems(pins, version, presets.pin_facts()):
        if problem.kind == "companion":
            name = " and ".join(pin.name for pin in problem.pins)
            yield Check(COMPILER, name, State.PROBLEM, problem.message, problem.hint)


def _runs(section: str, python: Path, installed: Installed) -> Iterator[Check]:
    """Run what importing does not prove, each in a process of its own."""
    for check, needed, name in (
        ("round-trip", ("torch", "numpy"), "torch to numpy and back"),
        ("session", ("onnxruntime", "onnx", "numpy"), "a session of ONNX Runtime"),
    ):
        missing = [package for package in needed if package not in installed]
        if missing:
            yield Check(section, name, State.UNKNOWN, f"not tried without {', '.join(missing)}")
            continue
        versions = ", ".join(f"{package} {installed[package]}" for package in needed)
        failure = run_check(python, check).failure
        if failure is None:
            yield Check(section, name, State.OK, versions)
        else:
            yield Check(section, name, State.PROBLEM, f"{versions}: {failure}")


# --- the machine ----------------------------------------------------------------------------


def programs(python: Path | None, plan: Plan | None) -> Iterator[Check]:
    """Look for the vendor's compiler and server, and their versions in their interpreter."""
    packages = run_check(python, "versions").values.get("packages", {}) if python else {}
    found, version = shutil.which(EXECUTABLE), packages.get(EXECUTABLE)
    state, hint = State.OK, None
    message = f"{version or 'unknown version'} ({found})"
    if not found and plan is not None and not plan.preset.runs_embedded:
        state = State.PROBLEM
        message = f"not on the PATH, and the embedded backend does not run {plan.preset.name}"
        hint = "build on a machine with the vendor's compiler, or run the scripts/ there"
    elif not found:
        state = State.WARNING
        message = "not on the PATH: `build` compiles on the embedded backend, not for the card"
        hint = "install the vendor's compiler to make models for the card"
    yield Check(MACHINE, EXECUTABLE, state, message, hint)
    words = plan.geometry.vocab_size if plan else 0
    if words % 16 and version and version in parse_versions(f"<{FIRST_VAMC_FOR_ANY}"):
        message = f"{words} is not a multiple of 16, which vamc {version} needs"
        hint = f"install vamc {FIRST_VAMC_FOR_ANY} or newer"
        yield Check(MACHINE, "vocabulary", State.PROBLEM, message, hint)
    if SERVER in packages or shutil.which(SERVER):
        yield Check(MACHINE, SERVER, State.OK, packages.get(SERVER, "unknown version"))
    else:
        message = "not found: compiled models cannot be served from here"
        hint = "install the vendor's server where the card is"
        yield Check(MACHINE, SERVER, State.WARNING, message, hint)


def cards(devices: Path = Path("/dev")) -> Check:
    found = sorted(path.name for path in devices.glob("vastai*"))
    if found:
        return Check(MACHINE, "cards", State.OK, f"{len(found)} devices: {', '.join(found)}")
    message = f"no {devices}/vastai*: compiling needs none, serving does"
    return Check(MACHINE, "cards", State.WARNING, message)


def room(folder: Path, plan: Plan, backend: str) -> Iterator[Check]:
    """Compare free disk and memory with what a build of all precisions takes.

    Short memory may still do: the estimate is on the high side, and fp16 weights can stay mapped.
    """
    sizes = [footprint(plan.geometry, word, 1, 0).weights_bytes for word in plan.recipe.precisions]
    memory_bytes = max(stage_bytes(stage, plan, (), backend) for stage in Stage)
    for name, free, needed, where, short, hint in (
        ("disk", shutil.disk_usage(folder).free, sum(sizes), f"free where {folder} lies",
         State.PROBLEM, "free some, or build one precision at a time with --precision"),
        ("memory", available_bytes(), memory_bytes, "available",
         State.WARNING, "end other programs first"),
    ):  # fmt: skip
        message = f"{size_text(free)} {where}; this build takes about {size_text(needed)}"
        is_short = free < needed
        state = short if is_short else State.OK
        yield Check(MACHINE, name, state, message, hint if is_short else None)
