"""Files and folders that appear complete or not at all, and what killed processes left of them.

What is being written stands beside its target, as `.NAME.PID.vacc-gen`, and is locked by the
process that writes it: what nobody has locked is left over, and the next writer removes it.
"""

from __future__ import annotations

import difflib
import errno
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from vacc_gen.generator.progress import size_text
from vacc_gen.schema.errors import StageError, UnreadableError


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Mark a file or folder as in use for as long as the block lasts and the process lives.

    False where it is gone, or in use by another process, or where the disk knows no locks.
    """
    with ExitStack() as opened:
        is_locked = False
        with suppress(OSError):
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            opened.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_locked = True
        yield is_locked


def _name_beside(target: Path, kind: str = "") -> Path:
    return target.with_name(f".{target.name}{kind}.{os.getpid()}.vacc-gen")


def remove_leftovers(target: Path) -> None:
    """Remove what processes that were killed left beside `target`.

    A folder that was moved away for a new one that never came is moved back.
    """
    left = re.compile(rf"\.{re.escape(target.name)}(\.old)?\.\d+\.vacc-gen")
    for found in target.parent.glob(".*.vacc-gen"):
        match = left.fullmatch(found.name)
        if match is None:
            continue
        with _locked(found) as is_left:
            if not is_left:
                continue
            if match[1] and not target.exists():
                found.rename(target)
            elif found.is_dir():
                shutil.rmtree(found, ignore_errors=True)
            else:
                found.unlink(missing_ok=True)


@contextmanager
def staged_file(path: Path) -> Iterator[BinaryIO]:
    """A new file beside `path` that takes its place if the block ends well.

    The file keeps the permissions of the one that it replaces. A link is replaced, too: it may lead
    anywhere. File and folder reach the disk before this returns.

    Raises:
        OSError: the folder cannot be made, the file not written or not moved into place.
    """
    target = path.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target)
    beside = _name_beside(target)
    try:
        with naming(path), beside.open("xb") as file, _locked(beside):
            yield file
            file.flush()
            if target.exists() and not target.is_symlink():
                beside.chmod(target.stat().st_mode & 0o7777)
            move_into_place(beside, target)
    finally:
        beside.unlink(missing_ok=True)


def open_in_place(path: Path) -> BinaryIO:
    """Open a file, new or not, to append to it; it can also be read and truncated.

    Raises:
        UnreadableError: it is a link, which may lead anywhere.
    """
    try:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        return os.fdopen(os.open(path, flags, 0o666), "a+b")
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        hint = "remove it: vacc-gen keeps a file of its own there"
        raise UnreadableError(f"{path} is a link", hint) from error


def move_into_place(file: Path, target: Path) -> None:
    """Rename a whole file to `target` in the same folder, so that it survives a power loss."""
    _sync(file)
    file.replace(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    """Wait until what stands at `path` is on the disk; of a folder, its names."""
    handle = os.open(path, os.O_RDONLY)
    try:
        with naming(path):
            os.fsync(handle)
    finally:
        os.close(handle)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write `content` as `staged_file` does; text as UTF-8, line ends as given."""
    with staged_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """A new folder beside `target` that takes its place if the block ends well."""
    target = target.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target)
    folder = _name_beside(target)
    folder.mkdir()
    try:
        with _locked(folder):
            yield folder
            replace_folder(folder, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def replace_folder(staging: Path, target: Path) -> None:
    """Move `staging` to `target`, on the same disk; what stood there is removed afterwards.

    Everything in it is on the disk before it moves.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for path in (*staging.rglob("*"), staging):
        _sync(path)
    old = _name_beside(target, ".old")
    if target.exists():
        target.rename(old)
    try:
        staging.rename(target)
    except BaseException:
        with suppress(FileNotFoundError):
            old.rename(target)
        raise
    _sync(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def is_occupied(root: Path) -> bool:
    """Whether something stands where a folder shall be made; an empty folder does not count."""
    if root.is_dir() and not root.is_symlink():
        return any(root.iterdir())
    return os.path.lexists(root)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let errors of the block that name no file name `path`."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def check_disk(folder: Path, needed_bytes: int) -> None:
    """Raise StageError if the disk of `folder`, which may not exist yet, lacks `needed_bytes`."""
    if _free_bytes(folder) < needed_bytes:
        raise _no_room(f"not enough disk space in {folder.absolute()}:", folder, needed_bytes)


@contextmanager
def room_for(folder: Path, needed_bytes: int) -> Iterator[None]:
    """Check that the disk of `folder`, which may not exist yet, has room for what a block writes.

    Raises:
        StageError: it has not, at the start or later on.
    """
    check_disk(folder, needed_bytes)
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        reason = f"{error.filename or folder}: {os.strerror(error.errno).lower()};"
        raise _no_room(reason, folder, needed_bytes) from error


def _free_bytes(folder: Path) -> int:
    place = folder.absolute()
    return shutil.disk_usage(next(p for p in (place, *place.parents) if p.exists())).free


def _no_room(reason: str, folder: Path, needed_bytes: int) -> StageError:
    return StageError(
        f"{reason} {size_text(needed_bytes)} needed, {size_text(_free_bytes(folder))} free",
        "free some space, choose another folder, or build one precision at a time",
    )


def unified_diff(before: str, after: str, old_name: str, new_name: str) -> str:
    """Return the way from one text to another, as `diff -u` shows it."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
        for line in difflib.unified_diff(old, new, old_name, new_name)
    )
