"""The packages of an interpreter: are they what was asked, and do they run beside each other."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from vacc_gen import presets
from vacc_gen.generator.doctor.check import Check, State
from vacc_gen.generator.environment.environment import LOCK_PATH, Lock
from vacc_gen.generator.environment.interpreter import ask
from vacc_gen.generator.environment.requirements import Requirements, locked_packages
from vacc_gen.schema.compatibility import Bound, pin_problems
from vacc_gen.schema.packages import Pin, parse_pin, parse_version

_SHOWN = 4
_ROUND_TRIP = ("torch", "numpy")
_SESSION = ("onnxruntime", "onnx", "numpy")
_FIRST_ANSWER_S = 60
"""The first question imports nothing: what does not answer it by then is no interpreter."""
_ANY_PYTHON = "name the interpreter of an environment, of Python 3.8 or newer"
_FROM_A_LOCK = (
    f"make the environment from a workspace's lock: pip install --require-hashes -r {LOCK_PATH}"
)

Installed = Mapping[str, str]
"""Versions by normalized name."""


def compiler_environment(
    python: Path, wanted: Requirements | None, lock: Lock | None, root: Path = Path()
) -> Iterator[Check]:
    """Look at the interpreter that the compiler runs in, against what the workspace at root asks.

    Where a lock answers, its check alone hints how to install: all at once, as it was locked.
    """
    section = "compiler's environment"
    answer = ask(python, "versions", timeout_s=_FIRST_ANSWER_S)
    if answer.failure:
        told = f"{python} {answer.failure}"
        yield Check(section, "interpreter", State.PROBLEM, told, _ANY_PYTHON)
        return
    version, installed = str(answer.values["python"]), answer.values["packages"]
    yield _python(section, python, version, wanted)
    if wanted is not None:
        pins = [parse_pin(asked.requirement) for asked in wanted.asked]
        amiss = [pin for pin in pins if not _answers(installed, pin)]
        hint = _install(amiss, wanted.bounds, installed) if lock is None else None
        for pin in pins:
            first = hint if amiss and pin is amiss[0] else None
            yield _pin(section, pin, installed, first)
        if lock is not None:
            yield _against_lock(section, lock, installed, root / LOCK_PATH)
    yield from _together(section, installed, version)
    yield from runs(section, python, installed, None if lock else _FROM_A_LOCK)


def runs(
    section: str, python: Path, installed: Installed, hint: str | None = _FROM_A_LOCK
) -> Iterator[Check]:
    """Run what importing does not prove, each in a process of its own."""
    for check, needed, name in (
        ("round-trip", _ROUND_TRIP, "torch to numpy and back"),
        ("session", _SESSION, "a session of ONNX Runtime"),
    ):
        missing = [package for package in needed if package not in installed]
        if missing:
            yield Check(section, name, State.UNKNOWN, f"not tried without {', '.join(missing)}")
            continue
        versions = " beside ".join(f"{package} {installed[package]}" for package in needed)
        answer = ask(python, check)
        if answer.failure is None:
            yield Check(section, name, State.OK, versions)
        else:
            failure = f"{versions}: {answer.failure}"
            yield Check(section, name, State.PROBLEM, failure, hint)


def _python(section: str, python: Path, version: str, wanted: Requirements | None) -> Check:
    if wanted is None or parse_version(version) in parse_pin(f"python=={wanted.python}.*").versions:
        return Check(section, "Python", State.OK, f"{version} ({python})")
    return Check(
        section,
        "Python",
        State.PROBLEM,
        f"{version} ({python}), and the recipe wants {wanted.python}",
        f"make the environment with python{wanted.python}, or change environment.python",
    )


def _pin(section: str, pin: Pin, installed: Installed, hint: str | None) -> Check:
    version = installed.get(pin.name)
    if version is not None and _answers(installed, pin):
        return Check(section, pin.name, State.OK, version)
    message = f"{version or 'missing'}, wanted {pin}"
    return Check(section, pin.name, State.PROBLEM, message, hint)


def _answers(installed: Installed, pin: Pin) -> bool:
    version = installed.get(pin.name)
    return version is not None and parse_version(version) in pin.versions


def _install(amiss: Sequence[Pin], bounds: Sequence[Bound], installed: Installed) -> str:
    """Return a command for the pins that are amiss, within bounds that do not hold yet."""
    limits = [parse_pin(bound.requirement) for bound in bounds]
    wanted = [*amiss, *(limit for limit in limits if not _answers(installed, limit))]
    return f"pip install {shlex.join(str(pin) for pin in wanted)}"


def _against_lock(section: str, lock: Lock, installed: Installed, path: Path) -> Check:
    locked = locked_packages(lock.text, "the lock")
    differing = [
        f"{name} {installed.get(name, 'missing')} (locked: {package.version})"
        for name, package in locked.items()
        if installed.get(name) != str(package.version)
    ]
    if not differing:
        return Check(section, "lock", State.OK, f"all {len(locked)} packages are as locked")
    more = f" and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
    return Check(
        section,
        "lock",
        State.WARNING,
        f"{len(differing)} of {len(locked)} packages are not as locked: "
        f"{', '.join(differing[:_SHOWN])}{more}",
        f"pip install --require-hashes -r {shlex.quote(str(path))}",
    )


def _together(section: str, installed: Installed, version: str) -> Iterator[Check]:
    """Say which of the installed packages are known to break beside each other."""
    python = ".".join(version.split(".")[:2])
    for problem in pin_problems(exact_pins(installed), python, presets.pin_facts()):
        if problem.kind == "companion":
            name = " and ".join(pin.name for pin in problem.pins)
            yield Check(section, name, State.PROBLEM, problem.message, problem.hint)


def exact_pins(installed: Installed) -> Sequence[Pin]:
    """Return what is installed as pins, without what has no version of PEP 440."""
    pins = []
    for name, version in installed.items():
        try:
            pins.append(parse_pin(f"{name}=={version}"))
        except ValueError:  # noqa: PERF203  # some distributions call their version 0.0.0-dev-abc
            continue
    return pins
