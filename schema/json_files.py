"""Files that others wrote, read so that none can stop or crash us: regular ones alone, bounded."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable
from io import BufferedReader
from pathlib import Path
from typing import Any, NoReturn

from vacc_gen.schema.errors import UnreadableError

MAX_JSON_BYTES = 64 << 20
"""Largest JSON file that is read; Gemma's tokenizer.json has 33 MB."""

_GIT_LFS_POINTER = b"version https://git-lfs"
"""github.com/git-lfs/git-lfs, docs/spec.md."""


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
    """Bytes are not JSON, at a character of their text."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(f"{reason} (at character {offset + 1})")
        self.offset, self.reason = offset, reason


class _RefusedError(ValueError):
    """What `json` would read and we do not; `pattern` finds it, its last place is the wrong one."""

    def __init__(self, pattern: str, reason: str) -> None:
        super().__init__(reason)
        self.pattern = pattern


def _refuse(constant: str) -> NoReturn:
    raise _RefusedError(re.escape(constant), f"{constant} is not a number of JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        key = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise _RefusedError(re.escape(json.dumps(key)) + r"\s*:", f"`{key[:60]}` is given twice")
    return made


MAX_DEPTH = 64
"""What is nested deeper can be read, and then neither compared nor printed."""

_TOO_MUCH = "nested too deeply, or a number has thousands of digits"
_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")


def parse_object(source: bytes, with_nan: bool = True) -> dict[str, Any]:
    """Read a JSON object as the libraries that come later do, but for what they disagree on.

    `with_nan`: as Python, which takes NaN and Infinity for numbers; safetensors and tokenizers do
    not.

    Raises:
        JsonError: it is not an object, not UTF-8, nested too deeply, has a key twice, or has
            half of a surrogate pair, which is not text.
    """
    text = source.decode("utf-8", errors="replace")
    try:
        constant = None if with_nan else _refuse
        value = json.loads(
            source.decode("utf-8"), object_pairs_hook=_object, parse_constant=constant
        )
        half = _HALF_PAIR.search(text)
        if half is not None:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError as bad:
        raise JsonError(len(source[: bad.start].decode("utf-8")), "not UTF-8 text") from bad
    except UnicodeEncodeError as bad:
        raise JsonError(half.start() if half else 0, "half of a surrogate pair") from bad
    except json.JSONDecodeError as error:
        raise JsonError(error.pos, error.msg[0].lower() + error.msg[1:]) from error
    except _RefusedError as refused:
        places = [found.start() for found in re.finditer(refused.pattern, text)]
        raise JsonError(places[-1] if places else 0, str(refused)) from refused
    except (RecursionError, ValueError) as error:
        raise JsonError(0, _TOO_MUCH) from error
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [item for inner in level for item in _items(inner)]
    if level:
        raise JsonError(0, _TOO_MUCH)
    if not isinstance(value, dict):
        raise JsonError(0, "not an object")
    return value


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


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
