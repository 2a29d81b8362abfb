"""Files that others wrote, read so that none can stop or crash us: regular ones alone, bounded."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from vacc_gen.schema.errors import UnreadableError

MAX_JSON_BYTES = 64 << 20  # Gemma's tokenizer.json has 33 MB
MANIFEST_FILE = "manifest.json"
"""Of a compiled folder, written last by `build`: what every file of it was then."""

_GIT_LFS_POINTER = b"version https://git-lfs"  # github.com/git-lfs/git-lfs, docs/spec.md


def open_regular(path: Path) -> BufferedReader:
    """Open a file without waiting for one that others are to write.

    Raises:
        OSError: it is not there, cannot be read, is not a regular file, or stands for one.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
    except ValueError as error:
        raise OSError(errno.EINVAL, "not the name of a file") from error
    file = path.open("rb")
    if file.peek().startswith(_GIT_LFS_POINTER):
        file.close()
        raise OSError(errno.EINVAL, "a pointer of Git LFS; `git lfs pull` brings the file")
    return file


def read_regular(path: Path, most_bytes: int) -> bytes | None:
    """Return a file's bytes, or None where nothing stands there.

    Raises:
        OSError: it cannot be read, is no regular file, or larger than `most_bytes`.
    """
    try:
        with open_regular(path) as file:
            content = file.read(most_bytes + 1)
    except (FileNotFoundError, NotADirectoryError):
        if os.path.islink(path):  # noqa: PTH114  # never raises
            raise OSError(errno.ENOENT, "a link to nothing") from None
        return None
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"larger than {most_bytes >> 20} MiB")
    return content


class JsonError(ValueError):
    """Bytes are not a JSON object, at a character of their text."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(f"{reason} (at character {offset + 1})")
        self.offset, self.reason = offset, reason


_PLACE = re.compile(r" at line (\d+) column (\d+)$")


def parse_object(source: bytes, allow_nan: bool = True) -> dict[str, Any]:
    """Read a JSON object as Python does: of a key that stands twice the last value counts.

    `allow_nan`: NaN and Infinity are numbers to Python, and not to JSON nor to other libraries.

    Raises:
        JsonError: it is not an object, not UTF-8, nested too deeply, or has a number of thousands
            of digits or half of a surrogate pair, which is not text.
    """
    try:
        value = from_json(source, allow_inf_nan=allow_nan)
    except ValueError as error:
        reason, line, column, _ = _PLACE.split(str(error))  # columns count bytes, from 1
        above = source.split(b"\n")[: int(line) - 1]
        start = sum(len(row) + 1 for row in above) + max(int(column), 1) - 1
        raise JsonError(len(source[:start].decode("utf-8", "replace")), reason) from error
    if not isinstance(value, dict):
        raise JsonError(0, "not an object")
    return value


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the JSON object that a file is; None where it is not there, or is something else."""
    try:
        return read_json_object(path)
    except UnreadableError:
        return None


def read_json_object(file: Path) -> dict[str, Any]:
    """Read the JSON object that a file is.

    Raises:
        UnreadableError: it is not there, cannot be read, or is something else.
    """
    try:
        return parse_object(read_regular(file, MAX_JSON_BYTES) or b"")
    except JsonError as error:
        raise UnreadableError(f"{file} is not valid JSON: {error}") from error
    except OSError as error:
        raise UnreadableError(f"cannot read {file}: {error.strerror}") from error


def file_names(folder: Path) -> list[str]:
    """Return the names of what is in a folder.

    Raises:
        UnreadableError: it is not a folder, or cannot be looked into.
    """
    try:
        return sorted(path.name for path in folder.iterdir())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnreadableError(f"cannot read {folder}: {reason}") from error


def changed_files(folder: Path, *, read_content: bool) -> Iterator[tuple[str, str]]:
    """Yield each file of a compiled folder that is not what its manifest says, and what it is.

    Content is read on demand only: that takes longer than loading a model.
    """
    try:
        manifest = read_json_object(folder / MANIFEST_FILE)
        listed = [(Path(a["path"]).name, a["bytes"], a["sha256"]) for a in manifest["artifacts"]]
    except (UnreadableError, KeyError, TypeError) as error:
        yield MANIFEST_FILE, f"is missing, or is not a manifest: {error}"
        return
    for name, size, digest in listed:
        file = folder / name
        if not file.is_file():
            yield name, "is missing"
        elif (found := file.stat().st_size) != size:
            yield name, f"is {found} bytes long, its manifest says {size} bytes"
        elif read_content and sha256_of(file) != digest:
            yield name, "was changed: its sha256 is not the one in its manifest"


def sha256_of(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb", buffering=0) as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
