"""The safetensors format: where the tensors of a file lie, by its header.

8 bytes of little-endian header length, the header as JSON, then the tensors' bytes
(https://huggingface.co/docs/safetensors).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vacc_gen.schema.errors import CheckpointError
from vacc_gen.schema.json_files import JsonError, open_regular, parse_object

MAX_HEADER_BYTES = 32 << 20
"""A tensor's record has about 100 bytes; a longer header is damage or an attack."""

ITEM_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1,
    "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4,
    "U64": 8, "I64": 8, "F64": 8, "C64": 8,
}  # fmt: skip
"""Bytes of one element of each safetensors dtype."""

COMPARED_BYTES = 1 << 16
"""Compared at once by `have_same_bytes`."""


@dataclass(frozen=True)
class TensorEntry:
    """Where one tensor lies: `length_bytes` at `offset_bytes` from the start of `path`."""

    name: str
    path: Path
    offset_bytes: int
    length_bytes: int
    dtype: str
    shape: tuple[int, ...]


def read_shard(path: Path) -> dict[str, TensorEntry]:
    """Read the header of one safetensors file and check it against the file's size.

    Raises:
        CheckpointError: the file is truncated or is not safetensors.
    """
    try:
        with open_regular(path) as shard:
            size_bytes = os.fstat(shard.fileno()).st_size
            header_bytes = int.from_bytes(shard.read(8), "little")
            if size_bytes < 8 or header_bytes > min(MAX_HEADER_BYTES, size_bytes - 8):
                sizes = f"a header of {header_bytes} bytes in a file of {size_bytes}"
                raise _damaged(path, f" is truncated or is not safetensors: {sizes}")
            header = parse_object(shard.read(header_bytes), with_nan=False)
    except JsonError as error:
        raise _damaged(path, f": the safetensors header is not valid JSON ({error})") from error
    except OSError as error:
        message, hint = f"{path.name} cannot be read: {error.strerror}", None
        if path.is_symlink():
            hint = "the file that it links to is not there: download it again"
        raise CheckpointError(message, hint, file=path.name) from error
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise _damaged(path, ": `__metadata__` in the header is not an object of texts")
    end = data_start = 8 + header_bytes
    entries = {
        name: _entry(path, name, value, data_start, size_bytes) for name, value in header.items()
    }
    # As safetensors has it: no tensor overlaps another, and every byte is of one.
    for entry in sorted(entries.values(), key=lambda one: (one.offset_bytes, one.length_bytes)):
        if entry.offset_bytes != end:
            fault = "overlaps the one before it" if entry.offset_bytes < end else "follows a gap"
            raise _damaged(path, f": {entry.name[:80]} {fault} in the file")
        end += entry.length_bytes
    if end != size_bytes:
        what = "is truncated" if end > size_bytes else "has bytes of no tensor at its end"
        raise _damaged(path, f" {what}: its header promises {end} bytes, it has {size_bytes}")
    return entries


def _entry(path: Path, name: str, value: Any, data_start: int, size_bytes: int) -> TensorEntry:
    """Check one tensor's record of a header; `data_start` is where the data begins."""
    damaged = _damaged(path, f": the header's record of {name[:80]!r} is damaged")
    try:
        dtype, shape = value["dtype"], tuple(value["shape"])
        begin, end = value["data_offsets"]
    except (KeyError, TypeError, ValueError) as error:
        raise damaged from error
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise _damaged(path, f": the dtype of {name[:80]!r} is unknown: {str(dtype)[:40]!r}")
    if not all(type(number) is int and number >= 0 for number in (*shape, begin, end)):
        raise damaged
    length_bytes = 0 if 0 in shape else ITEM_BYTES[dtype]
    for size in shape:
        length_bytes *= size
        if length_bytes > size_bytes:  # a product of many sizes takes for ever
            break
    if end - begin != length_bytes:
        what = f"{name[:80]} is {dtype} {str(list(shape[:8]))[:80]}, which does not fill bytes"
        raise _damaged(path, f": {what} {begin} to {end}")
    return TensorEntry(name, path, data_start + begin, length_bytes, dtype, shape)


def _damaged(path: Path, problem: str) -> CheckpointError:
    return CheckpointError(path.name + problem, "download that file again", file=path.name)


def have_same_bytes(first: TensorEntry, second: TensorEntry, samples: int | None = None) -> bool:
    """Whether two tensors are equal; with `samples`, no more places than that are compared.

    Raises:
        OSError: a file cannot be read.
    """
    if (first.dtype, first.shape) != (second.dtype, second.shape):
        return False
    step = COMPARED_BYTES
    if samples is not None:
        step *= max(1, -(-first.length_bytes // (COMPARED_BYTES * samples)))
    with open_regular(first.path) as one, open_regular(second.path) as other:
        for offset in range(0, first.length_bytes, step):
            length = min(COMPARED_BYTES, first.length_bytes - offset)
            one.seek(first.offset_bytes + offset)
            other.seek(second.offset_bytes + offset)
            if one.read(length) != other.read(length):
                return False
    return True
