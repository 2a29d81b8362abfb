"""What a weight folder says about its model, read without any library for weights."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vacc_gen.schema.errors import CheckpointError

SHAPE = ("layers", "hidden_size", "attention_heads", "kv_heads", "head_size", "ffn_hidden_size")
"""The sizes that make a model what it is; a fine-tune may have more words or other lengths."""

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
    """Return the sizes in a weight folder's config.json, as the fields of `schema.model.Geometry`.

    None where there is no config.json, or it is of an architecture that we cannot read.
    """
    config = read_json(folder / "config.json")
    if not isinstance(config, dict):
        return None
    from vacc_gen.schema.geometry import (
        geometry_from_config,  # pydantic: only where a folder is there
    )

    try:
        return geometry_from_config(config).model_dump()
    except CheckpointError:
        return None


def shape_difference(expected: Mapping[str, Any], found: Mapping[str, Any]) -> str | None:
    """Return the sizes in which a checkpoint is another model, in words; None if in none.

    Both are fields of `schema.model.Geometry`; sizes that either lacks do not count.
    """
    differing = [
        f"{name} is {found[name]}, the preset's {expected[name]}"
        for name in SHAPE
        if None not in (expected.get(name), found.get(name)) and expected[name] != found[name]
    ]
    return "; ".join(differing) or None
