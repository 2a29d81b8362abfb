"""What a weight folder says about its model, read without any library for weights."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MAX_JSON_BYTES = 32 << 20
"""Largest config or index that is read; an index of 100,000 tensors has about 10 MB."""


def read_regular(path: Path, most_bytes: int) -> bytes | None:
    """Return a file's bytes, or None where nothing stands there.

    Raises:
        OSError: it cannot be read, is no regular file, or larger than `most_bytes`.
    """
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        if os.path.islink(path):  # noqa: PTH114  # never raises
            raise OSError(errno.ENOENT, "a link to nothing") from None
        return None
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    if status.st_size > most_bytes:
        raise OSError(errno.EFBIG, f"larger than {most_bytes >> 20} MiB")
    return path.read_bytes()


def read_json(path: Path) -> Any:
    """Return a JSON file's value, or None where there is no readable file or no JSON in it."""
    try:
        source = read_regular(path, MAX_JSON_BYTES)
        return None if source is None else json.loads(source)
    except (OSError, ValueError, RecursionError):
        return None


def geometry_of(folder: Path) -> Mapping[str, Any] | None:
    """Return what `schema.geometry.geometry_of` finds, as a mapping."""
    if not os.path.exists(folder / "config.json"):  # noqa: PTH110  # never raises
        return None
    from vacc_gen.schema import geometry  # pydantic: only where a folder is there

    found = geometry.geometry_of(folder)
    return None if found is None else found.model_dump()


def shape_difference(expected: Mapping[str, Any], found: Mapping[str, Any]) -> str | None:
    """Return what `schema.geometry.shape_difference` says, of sizes that both have."""
    from vacc_gen.schema.geometry import SHAPE

    differing = [
        f"{name} is {found[name]}, the preset's {expected[name]}"
        for name in SHAPE
        if None not in (expected.get(name), found.get(name)) and expected[name] != found[name]
    ]
    return "; ".join(differing) or None
