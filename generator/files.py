"""Files and folders that appear complete or not at all."""

from __future__ import annotations

import difflib
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from vacc_gen.generator.progress import size_text
from vacc_gen.schema.errors import StageError


@contextmanager
def staged_file(path: Path) -> Iterator[BinaryIO]:
    """A new file beside `path` that takes its place if the block ends well.

    The file keeps the permissions of the one that it replaces; a link keeps pointing to its target,
    which is replaced. File and folder reach the disk before this returns.

    Raises:
        OSError: the folder cannot be made, the file not written or not moved into place.
    """
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    try:
        with beside.open("xb") as file:
            yield file
        if target.exists():
            beside.chmod(target.stat().st_mode & 0o7777)
        move_into_place(beside, target)
    finally:
        beside.unlink(missing_ok=True)


def move_into_place(file: Path, target: Path) -> None:
    """Rename a whole file to `target` in the same folder, so that it survives a power loss."""
    with file.open("rb") as content:
        os.fsync(content.fileno())
    file.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write `content` as `staged_file` does; text as UTF-8, line ends as given."""
    with staged_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def folder_beside(target: Path) -> Iterator[Path]:
    """A new folder beside `target`, and the parents that it needs; gone again unless moved away."""
    target = target.absolute()
    missing = [folder for folder in target.parents if not folder.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(folder, ignore_errors=True)  # a killed process of the same number may have had it
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # a parent that is no longer empty stays
            for parent in missing:
                parent.rmdir()


@contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """A new folder beside `target` that takes its place if the block ends well."""
    with folder_beside(target) as staging:
        yield staging
        replace_folder(staging, target.absolute())


def remove_leftovers(target: Path) -> None:
    """Remove what processes that were killed left beside `target`; none may be at work on it."""
    for leftover in target.parent.glob(f".{target.name}.*"):
        shutil.rmtree(leftover, ignore_errors=True)


def replace_folder(staging: Path, target: Path) -> None:
    """Move `staging` to `target`, on the same disk; what stood there is removed afterwards."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        staging.rename(target)
        return
    old = target.with_name(f".{target.name}.old.{os.getpid()}")
    shutil.rmtree(old, ignore_errors=True)
    target.rename(old)
    try:
        staging.rename(target)
    except BaseException:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def check_disk(folder: Path, needed_bytes: int) -> None:
    """Raise StageError if the disk of `folder`, which may not exist yet, lacks `needed_bytes`."""
    absolute = folder.absolute()
    existing = next(place for place in (absolute, *absolute.parents) if place.exists())
    free_bytes = shutil.disk_usage(existing).free
    if free_bytes < needed_bytes:
        raise StageError(
            f"not enough disk space in {existing}: {size_text(needed_bytes)} needed, "
            f"{size_text(free_bytes)} free",
            "free some space, choose another folder, or build one precision at a time",
        )


def unified_diff(before: str, after: str, old_name: str, new_name: str) -> str:
    """Return the way from one text to another, as `diff -u` shows it."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
        for line in difflib.unified_diff(old, new, old_name, new_name)
    )


def sha256_of(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb", buffering=0) as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def package_version(package: str) -> str | None:
    """Return the installed version of a distribution, without importing it; None without one."""
    from importlib.metadata import PackageNotFoundError, version  # slow: for the verbs that ask

    try:
        return version(package)
    except PackageNotFoundError:
        return None
