"""Resolve a recipe's pins again, with uv, and say what became of them."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vacc_gen import presets
from vacc_gen.generator.environment.environment import MADE_HERE, Lock
from vacc_gen.generator.environment.requirements import Requirements, locked_packages
from vacc_gen.schema.compatibility import pin_problems
from vacc_gen.schema.errors import LockError, MissingExtraError
from vacc_gen.schema.packages import parse_pin

PYLOCK_NAME = "pylock.toml"


@dataclass(frozen=True)
class Change:
    """One package that differs between two locks; a version is None where it is not in one."""

    name: str
    before: str | None
    after: str | None


def resolve(
    wanted: Requirements, label: str, *, previous: str = "", allow_source: bool = False
) -> Lock:
    """Return packages that answer `wanted`, with the hashes of all their files.

    `label` is what comments in the lock call the requirements. Versions of the lock `previous`
    stay where they still answer. Packages without wheels are passed over unless `allow_source`:
    what building them fetches is pinned by no hash.

    Raises:
        MissingExtraError: there is no uv.
        LockError: the pins are known not to work, have no solution, or no index answers.
    """
    options = ["--generate-hashes", *([] if allow_source else ["--no-build"])]
    text = _compile(wanted, label, f"{label}.txt", options, previous)
    return Lock(
        text=text,
        made_by=MADE_HERE,
        python=wanted.python,
        platform=wanted.platform,
        resolver=uv_version(),
    )


def resolve_pylock(wanted: Requirements, lock: Lock, label: str) -> str:
    """Return the packages of `lock` as a pylock.toml (PEP 751). It holds the index's URLs.

    Raises:
        MissingExtraError: there is no uv.
        LockError: no index answers.
    """
    exact = [
        f"{name}=={package.version}" for name, package in locked_packages(lock.text, label).items()
    ]
    return _compile(wanted, label, PYLOCK_NAME, ["--format", PYLOCK_NAME], "", exact)


def write_pylock(path: Path, text: str) -> None:
    """Write a pylock.toml; the old one stays until the new one is whole."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text)
    partial.replace(path)


def changes(before: str, after: str) -> Iterator[Change]:
    """Yield what differs between two locks, by name."""
    old, new = locked_packages(before, "the old lock"), locked_packages(after, "the new lock")
    for name in sorted(old.keys() | new.keys()):
        versions = [str(lock[name].version) if name in lock else None for lock in (old, new)]
        if versions[0] != versions[1]:
            yield Change(name, versions[0], versions[1])


def or_shipped(lock: Lock, shipped: Lock | None) -> Lock:
    """Return the shipped lock, of which more is known, where `lock` is the same packages."""
    same = (
        shipped is not None
        and (lock.python, lock.platform) == (shipped.python, shipped.platform)
        and _without_comments(lock.text) == _without_comments(shipped.text)
    )
    return shipped if shipped is not None and same else lock


def _without_comments(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.strip().startswith("#")]


def uv_path() -> str:
    """Return uv's executable: the extra's, else the one on the PATH.

    Raises:
        MissingExtraError: there is none.
    """
    try:
        from uv import find_uv_bin

        return find_uv_bin()
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv")
    if found is None:
        raise MissingExtraError("uv", "`vacc-gen lock`", extra="lock")
    return found


def uv_version() -> str:
    """Return uv's name and version, such as `uv 0.13.9`."""
    done = subprocess.run([uv_path(), "--version"], capture_output=True, text=True, check=True)
    return " ".join(done.stdout.split()[:2])


def _compile(
    wanted: Requirements,
    label: str,
    output: str,
    options: list[str],
    previous: str,
    constraints: list[str] | None = None,
) -> str:
    _refuse_known_problems(wanted)
    command = [
        uv_path(), "pip", "compile", f"{label}.in", "--quiet", "--no-header",
        "--constraints", "bounds.in",
        "--python-version", wanted.python, "--python-platform", wanted.platform,
        "--output-file", output, *options,
    ]  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="vacc-gen-lock-") as folder:
        root = Path(folder)
        bounds = [bound.requirement for bound in wanted.bounds] + (constraints or [])
        (root / f"{label}.in").write_text(_lines([one.requirement for one in wanted.asked]))
        (root / "bounds.in").write_text(_lines(bounds))
        if previous:
            (root / output).write_text(previous)
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LockError(*explained(done.stderr))
        text = (root / output).read_text()
    if output == PYLOCK_NAME:
        return text
    # A user's uv settings may add lines about the index: no lock needs them.
    return _lines([line for line in text.splitlines() if not line.startswith("--")])


def _refuse_known_problems(wanted: Requirements) -> None:
    pins = [parse_pin(asked.requirement) for asked in wanted.asked]
    problems = pin_problems(pins, wanted.python, presets.pin_facts())
    if problems:
        raise LockError(problems[0].message, problems[0].hint)


def explained(stderr: str) -> tuple[str, str | None]:
    """Split uv's words into what is wrong and its hint."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    hints = [line.removeprefix("hint: ") for line in lines if line.startswith("hint: ")]
    said = [line.removeprefix("error: ") for line in lines if not line.startswith("hint: ")]
    message = " ".join(said).replace(" cause: ", ": ")
    return message or "uv failed and said nothing", " ".join(hints) or None


def _lines(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
