"""Which files a check is about, and their bytes; never waits, never follows a loop."""

# Paths stay as they were given: pathlib would rewrite them.
# ruff: noqa: PTH100, PTH116, PTH119, PTH120, PTH123

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from vacc_gen.schema.errors import UnreadableError
from vacc_gen.schema.lint.document import MAX_BYTES, Document, load, too_large

STDIN = "-"
WEIGHTS_CONFIG = "config_vacc.json"

_SKIPPED = frozenset(("node_modules", "__pycache__", "venv", "site-packages"))
_WEIGHTS_FILES = (WEIGHTS_CONFIG, "model.safetensors.index.json", "model.safetensors")
"""What makes a folder one of weights."""
_OF_WEIGHTS = (*_WEIGHTS_FILES, "config.json")
"""Files that are checked as a part of their folder where they are named."""


@dataclass
class Sources:
    """YAML files and weight folders to check, in order, and what could not be read."""

    files: list[str] = field(default_factory=list)
    found: set[str] = field(default_factory=set)  # those of `files` that a folder was searched for
    weight_folders: list[str] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)

    def add_weights(self, folder: str) -> None:
        """Add a weight folder once."""
        if folder not in self.weight_folders:
            self.weight_folders.append(folder)


def find(paths: Iterable[str]) -> Sources:
    """Return what the paths of a command line stand for: files, folders, `-`."""
    sources = Sources()
    for path in paths:
        if path == STDIN:
            sources.files.append(path)
            continue
        try:
            mode = os.stat(path).st_mode
        except (OSError, ValueError) as error:
            sources.unreadable.append((path, _reason(error)))
            continue
        if stat.S_ISDIR(mode):
            _search(path, sources)
        elif not stat.S_ISREG(mode):
            sources.unreadable.append((path, "not a regular file"))
        elif os.path.basename(path) in _OF_WEIGHTS or path.endswith(".safetensors"):
            sources.add_weights(os.path.dirname(path) or ".")
        else:
            sources.files.append(path)
    sources.files = list(dict.fromkeys(sources.files))
    return sources


def _search(folder: str, sources: Sources) -> None:
    """Add the YAML files and weight folders below a folder; links to folders are not followed."""
    folders = [folder]
    while folders:
        current = folders.pop()
        try:
            with os.scandir(current) as entries:
                ordered = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            sources.unreadable.append((current, _reason(error)))
            continue
        below = []
        for entry in ordered:
            path = entry.name if current == "." else entry.path
            if _is_folder(entry):
                if not entry.name.startswith(".") and entry.name not in _SKIPPED:
                    below.append(path)
            elif entry.name in _WEIGHTS_FILES:
                sources.add_weights(current)
            elif entry.name.lower().endswith((".yaml", ".yml")):
                _add_found(entry, path, sources)
        folders += reversed(below)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _add_found(entry: os.DirEntry[str], path: str, sources: Sources) -> None:
    try:
        mode = entry.stat().st_mode
    except OSError as error:
        sources.unreadable.append((path, _reason(error)))
        return
    if stat.S_ISREG(mode):
        sources.files.append(path)
        sources.found.add(path)
    elif not stat.S_ISDIR(mode):
        sources.unreadable.append((path, "not a regular file"))


def read(path: str) -> Document:
    """Read a YAML file; a file beyond `MAX_BYTES` is not read at all.

    Raises:
        UnreadableError: it is missing, not a regular file, or not to be opened.
    """
    if path == STDIN:
        if sys.stdin is None:
            raise UnreadableError("cannot read the standard input: it is closed")
        return load(sys.stdin.buffer.read(MAX_BYTES + 1), "<stdin>")
    try:
        # Without O_NONBLOCK, opening a FIFO that nobody writes to would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableError(f"cannot read {path}: not a regular file")
            if status.st_size > MAX_BYTES:
                return too_large(path, status.st_size)
            return load(file.read(MAX_BYTES + 1), path)
    except (OSError, ValueError) as error:
        raise UnreadableError(f"cannot read {path}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    return str(error)


def parents(path: str) -> Iterator[str]:
    """Yield the folder of a path and those above it."""
    folder = os.path.abspath(path)
    while True:
        yield folder
        above = os.path.dirname(folder)
        if above == folder:
            return
        folder = above
