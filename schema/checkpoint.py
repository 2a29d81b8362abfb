"""A weight folder, read without torch: config.json, the index, and the shards' headers.

Nothing here touches a tensor's values except `WeightFolder.fingerprint`, which samples them.
The shard format is safetensors: 8 bytes of little-endian header length, the header as JSON, then
the tensors' bytes (https://huggingface.co/docs/safetensors).
"""

from __future__ import annotations

import errno
import json
import math
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vacc_gen.schema.errors import CheckpointError, UnreadableError

if TYPE_CHECKING:
    from vacc_gen.schema.geometry import Geometry

MAX_HEADER_BYTES = 100_000_000
"""What safetensors itself accepts; a longer header is damage or an attack."""

CONFIG_FILE = "config.json"
INDEX_FILE = "model.safetensors.index.json"
PICKLE_PATTERNS = ("*.bin", "*.pt", "*.pth")

ITEM_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1,
    "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4,
    "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip
"""Bytes of one element of each safetensors dtype."""

FINGERPRINT_SAMPLE_BYTES = 4096
"""Read from the middle of each tensor, so that a fine-tuned copy is told from its origin."""

_POINTER = b"version "
"""How a Git LFS pointer begins (github.com/git-lfs/git-lfs, docs/spec.md)."""


@dataclass(frozen=True)
class TensorEntry:
    """Where one tensor lies: `length_bytes` at `offset_bytes` from the start of `path`."""

    name: str
    path: Path
    offset_bytes: int
    length_bytes: int
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class WeightFolder:
    """A readable checkpoint: its config and where each of its tensors lies."""

    path: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, TensorEntry]

    @property
    def tensor_bytes(self) -> int:
        return sum(tensor.length_bytes for tensor in self.tensors.values())

    def fingerprint(self) -> str:
        """SHA-256 over the config, every tensor's name, dtype and shape, and a sample of each."""
        import hashlib

        digest = hashlib.sha256(json.dumps(self.config, sort_keys=True).encode())
        for name in sorted(self.tensors):
            tensor = self.tensors[name]
            digest.update(f"{name} {tensor.dtype} {tensor.shape}".encode())
            length = min(tensor.length_bytes, FINGERPRINT_SAMPLE_BYTES)
            with tensor.path.open("rb") as shard:
                shard.seek(tensor.offset_bytes + (tensor.length_bytes - length) // 2)
                digest.update(shard.read(length))
        return digest.hexdigest()


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


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the JSON object that a file is; None where it is not there, or is something else."""
    try:
        return _read_json_object(path)
    except UnreadableError:
        return None


def read_weight_folder(path: Path) -> WeightFolder:
    """Read the layout of the checkpoint in `path`.

    Raises:
        CheckpointError: no config.json; no safetensors; a shard that is missing, truncated or
            damaged; an index that disagrees with its shards.
        UnreadableError: config.json or the index cannot be read, or is not a JSON object.
    """
    config, index = read_config(path), path / INDEX_FILE
    tensors = _read_indexed(path, index) if index.is_file() else _read_unindexed(path)
    return WeightFolder(path, config, tensors)


def read_config(path: Path) -> dict[str, Any]:
    """Read `config.json` of a folder.

    Raises:
        CheckpointError: there is none.
        UnreadableError: it cannot be read, or is not a JSON object.
    """
    file = path / CONFIG_FILE
    if not file.exists():
        raise CheckpointError(
            f"{path} has no config.json" if path.is_dir() else f"{path} is not a folder",
            "give the folder that holds config.json and the weights",
        )
    return _read_json_object(file)


def read_shard(path: Path) -> dict[str, TensorEntry]:
    """Read the header of one safetensors file and check it against the file's size.

    Raises:
        CheckpointError: the file is truncated or is not safetensors.
    """
    try:
        size_bytes = path.stat().st_size
        with path.open("rb") as shard:
            opening = shard.read(8)
            if opening == _POINTER:
                raise CheckpointError(
                    f"{path} is a pointer of Git LFS, not the weights", "`git lfs pull` brings them"
                )
            header_bytes = int.from_bytes(opening, "little")
            if size_bytes < 8 or header_bytes > min(MAX_HEADER_BYTES, size_bytes - 8):
                sizes = f"a header of {header_bytes} bytes in a file of {size_bytes}"
                raise _damaged(f"{path} is truncated or is not safetensors: {sizes}")
            header = json.loads(shard.read(header_bytes))
    except (ValueError, RecursionError) as error:
        raise _damaged(f"{path}: the safetensors header is not valid JSON ({error})") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    if not isinstance(header, dict):
        raise _damaged(f"{path}: the safetensors header is not a JSON object")
    header.pop("__metadata__", None)
    end = data_start = 8 + header_bytes
    entries = {name: _entry(path, name, value, data_start) for name, value in header.items()}
    # As safetensors has it: no tensor overlaps another, and every byte is of one.
    for entry in sorted(entries.values(), key=lambda one: (one.offset_bytes, one.length_bytes)):
        if entry.offset_bytes != end:
            fault = "overlaps the one before it" if entry.offset_bytes < end else "follows a gap"
            raise _damaged(f"{path}: {entry.name} {fault} in the file")
        end += entry.length_bytes
    if end != size_bytes:
        what = "is truncated" if end > size_bytes else "has bytes of no tensor at its end"
        raise _damaged(f"{path} {what}: its header promises {end} bytes, it has {size_bytes}")
    return entries


def _entry(path: Path, name: str, value: Any, data_start: int) -> TensorEntry:
    """Check one tensor's record of a header; `data_start` is where the data begins."""
    damaged = _damaged(f"{path}: the header's record of {name!r} is damaged")
    try:
        dtype, shape = value["dtype"], tuple(value["shape"])
        begin, end = value["data_offsets"]
        item_bytes = ITEM_BYTES[dtype]
    except (KeyError, TypeError, ValueError) as error:
        raise damaged from error
    if not all(type(number) is int and number >= 0 for number in (*shape, begin, end)):
        raise damaged
    if end - begin != math.prod(shape) * item_bytes:
        what = f"{name} is {dtype} {list(shape)}, which does not fill bytes {begin} to {end}"
        raise _damaged(f"{path}: {what}")
    return TensorEntry(name, path, data_start + begin, end - begin, dtype, shape)


def _damaged(message: str) -> CheckpointError:
    return CheckpointError(message, "download that file again")


def _read_indexed(path: Path, index: Path) -> dict[str, TensorEntry]:
    weight_map = _read_json_object(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(f, str) for f in weight_map.values()):
        raise CheckpointError(f"{index}: `weight_map` is missing or does not map names to files")
    shards: dict[str, dict[str, TensorEntry]] = {}
    for file in sorted(set(weight_map.values())):
        if Path(file).name != file or not file:
            raise CheckpointError(f"{index} names {file!r}, which is not a file of that folder")
        if not (path / file).is_file():
            raise _damaged(f"{path} lacks {file}, which its index names")
        shards[file] = read_shard(path / file)
    absent = [name for name, file in weight_map.items() if name not in shards[file]]
    if absent:
        raise CheckpointError(
            f"{index} names tensors that its shards do not hold: {_some(absent)}",
            "download the index and its shards from the same revision",
        )
    return {name: shards[file][name] for name, file in weight_map.items()}


def _read_unindexed(path: Path) -> dict[str, TensorEntry]:
    files = sorted(path.glob("*.safetensors"))
    if not files:
        pickles = sorted(file.name for pattern in PICKLE_PATTERNS for file in path.glob(pattern))
        if not pickles:
            raise CheckpointError(f"{path} holds no weights: there is no *.safetensors file in it")
        raise CheckpointError(
            f"{path} holds its weights only as pickle ({_some(pickles)}), which can run code "
            "when it is loaded",
            'if you trust it, convert it once: python -c "from transformers import AutoModelFor'
            f"CausalLM as M; M.from_pretrained('{path}', dtype='auto')"
            ".save_pretrained('OUT', safe_serialization=True)\" and copy the tokenizer's files",
        )
    tensors: dict[str, TensorEntry] = {}
    for file in files:
        shard = read_shard(file)
        twice = sorted(tensors.keys() & shard.keys())
        if twice:
            raise CheckpointError(
                f"{path}: more than one file holds {_some(twice)}, and there is no {INDEX_FILE} "
                "to tell which counts"
            )
        tensors.update(shard)
    return tensors


def _read_json_object(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(read_regular(file, MAX_JSON_BYTES) or b"")
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"{file} is not valid JSON: {error}") from error
    except OSError as error:
        raise UnreadableError(f"cannot read {file}: {error.strerror}") from error
    if not isinstance(value, dict):
        raise UnreadableError(f"{file} is not a JSON object")
    return value


def _some(names: list[str]) -> str:
    """The first few of `names`, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def geometry_of(folder: Path) -> Geometry | None:
    """Read the geometry of a weight folder; None where its config.json is absent or unusable."""
    from vacc_gen.schema.geometry import geometry_from_config

    try:
        return geometry_from_config(read_json(folder / CONFIG_FILE) or {})
    except CheckpointError:
        return None
