"""The lock of the compiler's environment: which packages, for which Python, and what was tried."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

from vacc_gen import presets
from vacc_gen.generator.environment.requirements import (
    Requirements,
    locked_packages,
    requirements_of,
    unanswered,
)
from vacc_gen.schema.compatibility import PinProblem, pin_problems
from vacc_gen.schema.environment import Environment
from vacc_gen.schema.errors import LockError, UnreadableError
from vacc_gen.schema.packages import parse_pin

LOCK_PATH = PurePosixPath("env", "requirements.lock")
DESCRIPTION_PATH = PurePosixPath("env", "environment.json")
DESCRIPTION_VERSION = 1
MADE_HERE = "vacc-gen lock"
"""`made_by` of a lock that `generate` does not write over while it answers the recipe."""


@dataclass(frozen=True)
class Trial:
    """What was run in an environment made of a lock."""

    python: str
    """The interpreter's full version."""
    passed: tuple[str, ...]
    failed: tuple[str, ...]


@dataclass(frozen=True)
class Lock:
    """Resolved packages, and how they came to be."""

    text: str
    made_by: str
    """`preset NAME`, or MADE_HERE."""
    python: str
    platform: str
    resolver: str
    tested: tuple[str, ...] = ()
    """What was run in an environment made of it before it shipped, and passed."""
    trial: Trial | None = None
    """What `vacc-gen lock --test` ran here."""

    def sha256(self) -> str:
        """Return the hash of the text."""
        return sha256(self.text.encode()).hexdigest()

    def shortcomings(self, wanted: Requirements) -> tuple[str, ...]:
        """Return why it is no answer to `wanted`; nothing where it is one.

        Raises:
            UnreadableError: the text is no lock.
        """
        reasons = []
        if self.python != wanted.python:
            reasons.append(f"it was resolved for Python {self.python}, not {wanted.python}")
        if self.platform != wanted.platform:
            reasons.append(f"it was resolved for {self.platform}, not {wanted.platform}")
        packages = locked_packages(self.text, str(LOCK_PATH))
        return (*reasons, *unanswered(wanted, packages))


def preset_lock(name: str) -> Lock | None:
    """Return the lock that ships for an environment preset, or None where none can be made."""
    preset = presets.ENVIRONMENTS.find(name)
    if preset.lock_name is None:
        return None
    owner = presets.ENVIRONMENTS.find(preset.lock_name)
    return Lock(
        text=presets.environment_lock(owner.name),
        made_by=f"preset {owner.name}",
        python=owner.python,
        platform=owner.platform,
        resolver=owner.resolver or "",
        tested=owner.tested,
    )


def lock_of(environment: Environment, own: Lock | None) -> Lock | None:
    """Return what answers a recipe: the workspace's own lock, else the preset's, or None."""
    wanted = requirements_of(environment)
    for lock in (own, preset_lock(environment.preset)):
        if lock is not None and not lock.shortcomings(wanted):
            return lock
    return None


def pins_problem(environment: Environment) -> PinProblem | None:
    """Return the first thing that is known to be wrong with a recipe's pins, or None."""
    wanted = requirements_of(environment)
    pins = [parse_pin(asked.requirement) for asked in wanted.asked]
    return next(iter(pin_problems(pins, wanted.python, presets.pin_facts())), None)


def missing_lock_reason(environment: Environment) -> str:
    """Say why no lock that ships answers a recipe."""
    problem = pins_problem(environment)
    if problem is not None:
        return problem.message
    lock = preset_lock(environment.preset)
    return "; ".join(lock.shortcomings(requirements_of(environment))) if lock else "it has none"


def description_text(environment: Environment, lock: Lock | None) -> str:
    """Return environment.json: what was asked, what we added and why, and what answers it."""
    wanted = requirements_of(environment)
    values: dict[str, Any] = {
        "version": DESCRIPTION_VERSION,
        "preset": environment.preset,
        "python": wanted.python,
        "platform": wanted.platform,
        "asked": [
            {"source": source, "requirements": list(requirements)}
            for source, requirements in wanted.by_source().items()
        ],
        "bounds": [asdict(bound) for bound in wanted.bounds],
    }
    if lock is None:
        values |= {"lock": None, "no_lock": missing_lock_reason(environment)}
    else:
        values["lock"] = {
            "made_by": lock.made_by,
            "resolver": lock.resolver,
            "python": lock.python,
            "platform": lock.platform,
            "sha256": lock.sha256(),
            "tested": list(lock.tested),
        }
        if lock.trial is not None:
            values["lock"]["trial"] = asdict(lock.trial)
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def read_lock(root: Path) -> Lock:
    """Return the lock that stands in a workspace.

    Raises:
        LockError: there is none, or it was changed since it was made.
        UnreadableError: environment.json is not as we write it.
    """
    lock_path, description_path = root / LOCK_PATH, root / DESCRIPTION_PATH
    path, hint = description_path, f"vacc-gen lock {root}"
    try:
        values = json.loads(path.read_bytes())["lock"]
        if values is None:
            raise LockError(f"{root} has no lock yet", hint)
        path = lock_path
        text = path.read_bytes().decode()
        trial = values.get("trial")
        lock = Lock(
            text=text,
            made_by=str(values["made_by"]),
            python=str(values["python"]),
            platform=str(values["platform"]),
            resolver=str(values["resolver"]),
            tested=_strings(values["tested"]),
            trial=trial
            and Trial(str(trial["python"]), _strings(trial["passed"]), _strings(trial["failed"])),
        )
    except OSError as error:
        raise UnreadableError(f"cannot read {path}: {error.strerror}", hint) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableError(f"{path} is not as vacc-gen writes it", hint) from error
    if lock.sha256() != values["sha256"]:
        raise LockError(f"{lock_path} was changed since it was made", hint)
    return lock


def read_own_lock(root: Path) -> Lock | None:
    """Return the lock that `vacc-gen lock` resolved or tried in a workspace, if that is there."""
    try:
        lock = read_lock(root)
    except (LockError, UnreadableError):
        return None
    return lock if lock.made_by == MADE_HERE or lock.trial is not None else None


def _strings(values: list[object]) -> tuple[str, ...]:
    return tuple(str(value) for value in values)
