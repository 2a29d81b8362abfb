"""A weight folder, read without torch: config.json, the index, and the shards' headers.

A shard is a safetensors file: 8 bytes of little-endian header length, the header as JSON, then the
tensors' bytes (https://huggingface.co/docs/safetensors).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from vacc_gen.schema.errors import MERGE_ADAPTER, CheckpointError
from vacc_gen.schema.geometry import Geometry, geometry_from_config, shortened
from vacc_gen.schema.json_files import JsonError, file_names, open_regular, parse_object, read_json

CONFIG_FILE = "config.json"
INDEX_FILE = "model.safetensors.index.json"
SINGLE_FILE = "model.safetensors"
ADAPTER_FILE = "adapter_config.json"
PICKLES = (".bin", ".pt", ".pth")
_NOT_READ = {
    r"adapter_config\.json|adapter_model\..*": (
        "an adapter alone: its base model's weights are not here",
        MERGE_ADAPTER,
    ),
    r"(?!training_args).*\.(bin|pt|pth)": (
        "the weights are only pickle, which can run code when it is loaded",
        "convert them once: `vacc-gen convert DIR --out DIR`",
    ),
}
"""Other files that stand for weights, and what is said of them where they are alone."""

FINGERPRINT_SAMPLE_BYTES = 4096  # from the middle of each tensor: a fine-tuned copy differs there
COMPARED_BYTES = 1 << 16  # at once, by `have_same_bytes`
MAX_HEADER_BYTES = 32 << 20  # a record has about 100 bytes; a longer header is damage or an attack
MAX_DIMENSIONS = 64  # as numpy's
ITEM_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1,
    "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4,
    "U64": 8, "I64": 8, "F64": 8, "C64": 8,
}  # fmt: skip
"""Bytes of one element of each safetensors dtype."""


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
            with open_regular(tensor.path) as shard:
                shard.seek(tensor.offset_bytes + (tensor.length_bytes - length) // 2)
                digest.update(shard.read(length))
        return digest.hexdigest()


def geometry_of(folder: Path) -> Geometry | None:
    """Read the geometry of a weight folder; None where its config.json is absent or unusable."""
    try:
        return geometry_from_config(read_json(folder / CONFIG_FILE) or {})
    except CheckpointError:
        return None


_SNAPSHOT = re.compile(r"models--(?:[^/\\]+--)?([^/\\]+)[/\\]snapshots[/\\][^/\\]+$")


def name_of(folder: str | Path) -> str:
    """Return what the model in a folder is called; empty for `.`, which does not say.

    The folder of a snapshot of the hub has its commit's name; its repository's counts.
    """
    path = str(folder).rstrip("/\\")
    snapshot = _SNAPSHOT.search(path)
    name = snapshot[1] if snapshot else re.split(r"[\\/]", path)[-1]
    return "" if name == "." else name


def read_headers(
    folder: Path, index: Mapping[str, Any] | None
) -> tuple[dict[str, TensorEntry], list[CheckpointError]]:
    """Return the tensors of a folder's shards, by stored names, and what is wrong with the shards.

    `index` is what the index file says, if there is one.

    Raises:
        UnreadableError: the folder cannot be looked into.
    """
    names = file_names(folder)
    tensors: dict[str, TensorEntry] = {}
    faults = [*_links_out(folder, names)]
    weight_map = {} if index is None else index.get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(v, str) for v in weight_map.values()):
        message = "`weight_map` is missing, or does not map names to files"
        fault = CheckpointError(message, "download the index again", "weight_map", file=INDEX_FILE)
        return tensors, [*faults, fault]
    files = {*weight_map.values()}
    if index is None:
        files = {name for name in names if name.endswith(".safetensors")}
        files = {SINGLE_FILE} & files or {name for name in files if not name.startswith("adapter_")}
    for file in sorted(files & {*names}):
        try:
            stored = read_shard(folder / file)
        except CheckpointError as error:
            faults.append(error)
            continue
        twice = sorted(stored.keys() & tensors.keys())
        if twice and index is None:
            other = tensors[twice[0]].path.name
            message = f"{twice[0][:80]} is in {other} and in {file}{_more(twice)}"
            faults.append(CheckpointError(message, "delete the file that is not meant", file=file))
        tensors.update(stored)
    if index is None:
        faults += _faults_without_index(files, names)
    else:
        faults += _faults_of_index(weight_map, names, tensors)
    return tensors, faults


def _faults_without_index(
    files: Collection[str], names: Sequence[str]
) -> Iterator[CheckpointError]:
    """Yield what is missing; `files` are those that are read."""
    if files and SINGLE_FILE not in files:
        message, hint = "the index is missing", "download it: transformers reads none without it"
        yield CheckpointError(message, hint, file=INDEX_FILE, is_warning=True)
    elif not files:
        for pattern, (message, hint) in _NOT_READ.items():
            found = [name for name in names if re.fullmatch(pattern, name)]
            if found:
                yield CheckpointError(message + _more(found), hint, file=found[0])
                return
        message = "the folder holds no weights: there is no *.safetensors file in it"
        yield CheckpointError(message, "download them, or give the folder that has them")


def _faults_of_index(
    weight_map: Mapping[str, str], names: Sequence[str], tensors: Mapping[str, TensorEntry]
) -> Iterator[CheckpointError]:
    """Yield where what an index says is not what the folder holds."""
    absent = sorted({*weight_map.values()} - {*names})
    if SINGLE_FILE in names and SINGLE_FILE not in weight_map.values():
        message = f"two sets of weights: {SINGLE_FILE}, and the shards that {INDEX_FILE} names"
        hint = f"transformers reads {SINGLE_FILE}: delete it, or the index with its shards"
        yield CheckpointError(message, hint, file=SINGLE_FILE)
    elif absent and Path("folder", absent[0]).name != absent[0]:
        message = f"{absent[0][:80]!r} is not a file of this folder"
        hint = "an index names files beside it; download it again"
        yield CheckpointError(message, hint, absent[0], file=INDEX_FILE)
    elif absent:
        message = f"{absent[0][:80]} is not there{_more(absent)}"
        yield CheckpointError(message, "download it again", absent[0], file=INDEX_FILE)
    places = {name: entry.path.name for name, entry in tensors.items()}
    strayed = [name for name in places if weight_map.get(name) != places[name]]
    strayed += [
        name for name, file in weight_map.items() if name not in places and file in places.values()
    ]
    if strayed:
        message = f"the index and the shards differ in {strayed[0][:80]}{_more(strayed)}"
        hint = "download the index and its shards from the same revision"
        yield CheckpointError(message, hint, strayed[0], file=INDEX_FILE)


def _links_out(folder: Path, names: Sequence[str]) -> Iterator[CheckpointError]:
    """Yield links to elsewhere; those of the hub's cache lead to files beside its snapshots."""
    home = os.path.realpath(folder)
    if _SNAPSHOT.search(home):
        home = str(Path(home).parents[1])
    for name in names:
        if name.endswith((".json", ".safetensors", *PICKLES)) and (folder / name).is_symlink():
            target = os.path.realpath(folder / name)
            if not target.startswith(home + os.sep):
                message = f"a link to {target}, which is not in this folder"
                hint = "copy the file, if it can change or is not yours"
                yield CheckpointError(message, hint, file=name, is_warning=True)


def _more(names: Sequence[str]) -> str:
    return f", and {len(names) - 1} more" if len(names) > 1 else ""


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
            header = parse_object(shard.read(header_bytes))
    except JsonError as error:
        raise _damaged(path, f": the safetensors header is not valid JSON ({error})") from error
    except OSError as error:
        raise _damaged(path, f" cannot be read: {error.strerror}") from error
    header.pop("__metadata__", None)
    end = 8 + header_bytes
    entries = {name: _entry(path, name, value, end) for name, value in header.items()}
    # As safetensors has it: no tensor overlaps another, and every byte is of one.
    for entry in sorted(entries.values(), key=lambda one: (one.offset_bytes, one.length_bytes)):
        if entry.offset_bytes != end:
            raise _damaged(path, f": {entry.name[:80]} does not begin where the one before it ends")
        end += entry.length_bytes
    if end != size_bytes:
        sizes = f"its header promises {end} bytes, it has {size_bytes}"
        raise _damaged(path, f" is truncated or damaged: {sizes}")
    return entries


def _entry(path: Path, name: str, record: Any, data_start: int) -> TensorEntry:
    """Check one tensor's record of a header; the tensors' bytes begin at `data_start`."""
    found = f"the header's record of {name[:80]!r}, {shortened(record)},"
    try:
        dtype, shape, (begin, end) = record["dtype"], record["shape"], record["data_offsets"]
        sizes, item_bytes = (*shape, begin, end), ITEM_BYTES[dtype]
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f": {found} is damaged, or of an unknown dtype") from error
    is_whole = all(type(size) is int and size >= 0 for size in sizes)
    if not is_whole or len(shape) > MAX_DIMENSIONS or end - begin != item_bytes * prod(shape):
        raise _damaged(path, f": {found} is damaged")
    return TensorEntry(name, path, data_start + begin, end - begin, dtype, tuple(shape))


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
