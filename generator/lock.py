"""What a recipe asks of the compiler's environment, and the lock for it, which uv resolves."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

from packaging.utils import canonicalize_name

from vacc_gen import presets
from vacc_gen.schema.errors import LockError, MissingExtraError, UnreadableError, shell_command
from vacc_gen.schema.packages import (
    Companion,
    Pin,
    PinProblem,
    added_bounds,
    effective_pins,
    parse_pin,
    pin_problems,
)
from vacc_gen.schema.recipe import Environment

LOCK_PATH = PurePosixPath("env", "requirements.lock")
DESCRIPTION_PATH = PurePosixPath("env", "environment.json")
MADE_HERE = "vacc-gen lock"
"""`made_by` of a lock that `generate` keeps for as long as it satisfies the recipe."""
_DESCRIBED = ("made_by", "resolver", "python", "platform")
"""What environment.json says of a lock, beside its hash."""
_LOCKED = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==(?P<version>[^\s;\\]+)"
    r".*--hash=sha256:[0-9a-f]{64}\b"
)


@dataclass(frozen=True)
class Requirements:
    """Everything that a lock must satisfy."""

    python: str
    platform: str
    pins: tuple[Pin, ...]
    bounds: tuple[Companion, ...] = ()
    """Whose `needs` we add so that what resolves also runs."""

    def problems(self) -> tuple[PinProblem, ...]:
        """Return what is known to be wrong with the pins."""
        return pin_problems(self.pins, self.python, presets.pin_facts())


def requirements_of(environment: Environment) -> Requirements:
    """Return what a recipe asks: its own pins, its preset's, and the bounds that follow.

    Raises:
        UsageError: there is no such environment preset.
    """
    preset = presets.ENVIRONMENTS.find(environment.preset)
    own = [parse_pin(text) for text in environment.pins]
    pins = effective_pins([parse_pin(text) for text in preset.asked], own)
    return Requirements(
        python=environment.python,
        platform=environment.platform,
        pins=tuple(pins),
        bounds=added_bounds(pins, presets.pin_facts()),
    )


@dataclass(frozen=True)
class Lock:
    """Resolved packages, and how they came to be."""

    text: str
    made_by: str
    """`preset NAME`, or MADE_HERE."""
    resolver: str
    python: str
    platform: str
    tested: tuple[str, ...] = ()
    """What was run in an environment made of it before it shipped, and passed."""

    def sha256(self) -> str:
        return sha256(self.text.encode()).hexdigest()

    def shortcomings(self, wanted: Requirements) -> tuple[str, ...]:
        """Return why it does not satisfy `wanted`, each reason in one phrase.

        Raises:
            UnreadableError: the text is not a lock.
        """
        reasons = []
        if self.python != wanted.python:
            reasons.append(f"it was resolved for Python {self.python}, not {wanted.python}")
        if self.platform != wanted.platform:
            reasons.append(f"it was resolved for {self.platform}, not {wanted.platform}")
        packages = locked_packages(self.text, str(LOCK_PATH))
        reasons += [f"it lacks {pin}" for pin in wanted.pins if pin.name not in packages]
        checked = [(pin, "") for pin in wanted.pins]
        checked += [(bound.needs, f": {bound.reason}") for bound in wanted.bounds]
        for pin, reason in checked:
            if pin.name in packages and packages[pin.name] not in pin.versions:
                reasons.append(f"it has {pin.name} {packages[pin.name]}, not {pin}{reason}")
        return tuple(reasons)


def locked_packages(text: str, where: str = "the lock") -> dict[str, str]:
    """Return the version of each package in a lock in pip's format, by normalized name.

    Raises:
        UnreadableError: a line, of what messages call `where`, is not `name==version` with hashes.
    """
    packages = {}
    for line in text.replace("\\\n", " ").splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LOCKED.match(line)
        if match is None:
            raise UnreadableError(
                f"{where} is not a lock: {line[:60]!r} is not a package at one version with hashes",
                hint="`vacc-gen lock` writes it again",
            )
        packages[str(canonicalize_name(match["name"]))] = match["version"]
    return packages


def preset_lock(name: str) -> Lock | None:
    """Return the lock that ships for an environment preset, or None where none can be made."""
    preset = presets.ENVIRONMENTS.find(name)
    if preset.lock_name is None:
        return None
    owner = presets.ENVIRONMENTS.find(preset.lock_name)
    return Lock(
        text=presets.ENVIRONMENTS.text(owner.name, "txt"),
        made_by=f"preset {owner.name}",
        python=owner.python,
        platform=owner.platform,
        resolver=owner.resolver or "",
        tested=owner.tested,
    )


def lock_of(environment: Environment, own: Lock | None) -> Lock | None:
    """Return what satisfies a recipe: the workspace's own lock, else the preset's, or None."""
    wanted = requirements_of(environment)
    locks = filter(None, (own, preset_lock(environment.preset)))
    return next((lock for lock in locks if not lock.shortcomings(wanted)), None)


def missing_lock_reason(environment: Environment) -> str:
    """Say why no lock that ships satisfies a recipe."""
    wanted = requirements_of(environment)
    problems = wanted.problems()
    if problems:
        return problems[0].message
    lock = preset_lock(environment.preset)
    return "; ".join(lock.shortcomings(wanted)) if lock else "it has none"


def description_text(environment: Environment, lock: Lock | None) -> str:
    """Return environment.json: what was asked, what we added and why, and which lock it has."""
    wanted = requirements_of(environment)
    values: dict[str, Any] = {
        "version": 1,
        "preset": environment.preset,
        "python": wanted.python,
        "platform": wanted.platform,
        "asked": [pin.text for pin in wanted.pins],
        "bounds": [
            {"requirement": bound.needs.text, "reason": bound.reason} for bound in wanted.bounds
        ],
    }
    if lock is None:
        values |= {"lock": None, "no_lock": missing_lock_reason(environment)}
    else:
        described = {name: getattr(lock, name) for name in _DESCRIBED}
        values["lock"] = {**described, "sha256": lock.sha256(), "tested": list(lock.tested)}
    return json.dumps(values, indent=2) + "\n"


def read_lock(root: Path) -> Lock:
    """Return the lock in a workspace.

    Raises:
        LockError: there is none, or it was changed since it was made.
        UnreadableError: environment.json is not as we write it.
    """
    hint = shell_command(["vacc-gen", "lock", str(root)])
    path = root / DESCRIPTION_PATH
    try:
        values = json.loads(path.read_bytes())["lock"]
        if values is None:
            raise LockError(f"{root} has no lock yet", hint)
        described = {name: str(values[name]) for name in _DESCRIBED}
        text = (root / LOCK_PATH).read_bytes().decode(errors="replace")
        lock = Lock(text, **described, tested=tuple(map(str, values["tested"])))
        is_changed = lock.sha256() != values["sha256"]
    except OSError as error:
        raise UnreadableError(f"cannot read {error.filename}: {error.strerror}", hint) from error
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableError(f"{path} is not as vacc-gen writes it", hint) from error
    if is_changed:
        raise LockError(f"{root / LOCK_PATH} was changed since it was made", hint)
    return lock


def read_own_lock(root: Path) -> Lock | None:
    """Return the lock that `vacc-gen lock` resolved in a workspace, if there is one."""
    try:
        lock = read_lock(root)
    except (LockError, UnreadableError):
        return None
    return lock if lock.made_by == MADE_HERE else None


def resolve(
    wanted: Requirements, label: str, *, previous: str = "", allow_source: bool = False
) -> Lock:
    """Return packages that satisfy `wanted`, with the hashes of all their files.

    `label` is what comments in the lock call the requirements. Versions of the lock `previous`
    stay where they still fit. Packages without wheels are passed over unless `allow_source`:
    what building them fetches is pinned by no hash.

    Raises:
        MissingExtraError: there is no uv.
        LockError: the pins are known not to work, have no solution, or no index answers.
    """
    for problem in wanted.problems():
        raise LockError(problem.message, problem.hint)
    uv = uv_path()
    command = [
        uv, "pip", "compile", f"{label}.in", "--quiet", "--no-header", "--generate-hashes",
        "--constraints", "bounds.in", "--output-file", f"{label}.txt",
        "--python-version", wanted.python, "--python-platform", wanted.platform,
        *([] if allow_source else ["--no-build"]),
    ]  # fmt: skip
    bounds = [bound.needs for bound in wanted.bounds]
    with tempfile.TemporaryDirectory(prefix="vacc-gen-lock-") as folder:
        root = Path(folder)
        (root / f"{label}.in").write_text("".join(f"{pin}\n" for pin in wanted.pins))
        (root / "bounds.in").write_text("".join(f"{pin}\n" for pin in bounds))
        (root / f"{label}.txt").write_text(previous)
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        lines = (root / f"{label}.txt").read_text(encoding="utf-8").splitlines()
    if done.returncode:
        said, _, hint = done.stderr.partition("\nhint: ")
        message = " ".join(said.removeprefix("error: ").split()).replace(" cause: ", ": ")
        raise LockError(message or f"uv ended with {done.returncode}", hint.strip() or None)
    version = subprocess.run([uv, "--version"], capture_output=True, text=True, check=True)
    return Lock(
        # A user's uv settings may add lines about the index: no lock needs them.
        text="".join(f"{line}\n" for line in lines if not line.startswith("--")),
        made_by=MADE_HERE,
        python=wanted.python,
        platform=wanted.platform,
        resolver=" ".join(version.stdout.split()[:2]),
    )


def version_changes(before: str, after: str) -> Iterator[tuple[str, str | None, str | None]]:
    """Yield name, old and new version of each package that differs between two locks."""
    old, new = locked_packages(before), locked_packages(after)
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            yield name, old.get(name), new.get(name)


def uv_path() -> str:
    """Return uv's executable: the extra's, else the one on the PATH.

    Raises:
        MissingExtraError: there is none.
    """
    folders = (sysconfig.get_path("scripts"), os.environ.get("PATH", ""))
    found = shutil.which("uv", path=os.pathsep.join(folders))
    if found is None:
        raise MissingExtraError("uv", "`vacc-gen lock`", extra="lock")
    return found
