"""A weight folder, read without torch: config.json, the index, and the shards' headers.

Nothing here reads a tensor's values but `fingerprint` and `have_same_bytes`, which sample them.
The shard format is safetensors: 8 bytes of little-endian header length, the header as JSON, then
the tensors' bytes (https://huggingface.co/docs/safetensors).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vacc_gen.schema.errors import MERGE_ADAPTER, CheckpointError, Fault, UnreadableError
from vacc_gen.schema.json_files import (
    JsonError,
    open_regular,
    parse_json,
    read_json,
    read_json_object,
)

if TYPE_CHECKING:
    from vacc_gen.schema.geometry import Geometry

MAX_HEADER_BYTES = 32 << 20
"""A tensor's record has about 100 bytes; a longer header is damage or an attack."""

CONFIG_FILE = "config.json"
INDEX_FILE = "model.safetensors.index.json"
SINGLE_FILE = "model.safetensors"
ADAPTER_FILE = "adapter_config.json"
PICKLES = (".bin", ".pt", ".pth")
OTHER_FORMATS = (".gguf", ".h5", ".msgpack")

ITEM_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1,
    "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4,
    "U64": 8, "I64": 8, "F64": 8, "C64": 8,
}  # fmt: skip
"""Bytes of one element of each safetensors dtype."""

FINGERPRINT_SAMPLE_BYTES = 4096
"""Read from the middle of each tensor, so that a fine-tuned copy is told from its origin."""

COMPARED_BYTES = 1 << 16
"""Compared at once by `have_same_bytes`."""

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
            with open_regular(tensor.path) as shard:
                shard.seek(tensor.offset_bytes + (tensor.length_bytes - length) // 2)
                digest.update(shard.read(length))
        return digest.hexdigest()


def read_config(path: Path) -> dict[str, Any]:
    """Read `config.json` of a folder.

    Raises:
        CheckpointError: there is none.
        UnreadableError: it cannot be read, or is not a JSON object.
    """
    check_has_config(path)
    return read_json_object(path / CONFIG_FILE)


def check_has_config(path: Path) -> None:
    """Raise CheckpointError where a folder is none, or has no config.json."""
    if not os.path.lexists(path / CONFIG_FILE):
        raise CheckpointError(
            f"{path} has no config.json" if os.path.isdir(path) else f"{path} is not a folder",  # noqa: PTH112
            "give the folder that holds config.json and the weights",
        )


def geometry_of(folder: Path) -> Geometry | None:
    """Read the geometry of a weight folder; None where its config.json is absent or unusable."""
    from vacc_gen.schema.geometry import geometry_from_config

    try:
        return geometry_from_config(read_json(folder / CONFIG_FILE) or {})
    except CheckpointError:
        return None


_SNAPSHOT = re.compile(r"models--(?:[^/\\]+--)?([^/\\]+)[/\\]snapshots[/\\][^/\\]+$")


def name_of(folder: str | Path) -> str:
    """Return what the model in a folder is called: a snapshot of the hub has its commit's name."""
    path = str(folder).rstrip("/\\")
    snapshot = _SNAPSHOT.search(path)
    return snapshot[1] if snapshot else re.split(r"[\\/]", path)[-1]


def read_weight_folder(path: Path) -> WeightFolder:
    """Read the layout of the checkpoint in `path`.

    Raises:
        CheckpointError: no config.json; no safetensors; a shard that is missing, truncated or
            damaged; an index that disagrees with its shards.
        UnreadableError: config.json or the index cannot be read, or is not a JSON object.
    """
    config, index = read_config(path), path / INDEX_FILE
    layout = read_layout(path, read_json_object(index) if os.path.lexists(index) else None)
    for fault in layout.faults:
        if not fault.is_warning:
            raise CheckpointError(f"{path / (fault.file or '')}: {fault.message}", fault.hint)
    return WeightFolder(path, config, layout.tensors)


@dataclass
class Layout:
    """Which tensors the files of a folder hold, by stored names, and what is wrong with them."""

    tensors: dict[str, TensorEntry] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


def read_layout(folder: Path, index: Mapping[str, Any] | None) -> Layout:
    """Read the headers of a folder's shards; `index` is what its index file says, if there is one.

    Raises:
        UnreadableError: the folder cannot be looked into.
    """
    names = file_names(folder)
    layout = Layout(faults=list(_links_out(folder, names)))
    if index is not None:
        _read_indexed(folder, index, names, layout)
        return layout
    files = [name for name in names if name.endswith(".safetensors")]
    files = [name for name in files if not name.startswith("adapter_")]
    if SINGLE_FILE in files:
        left = [name for name in files if _NUMBERED.fullmatch(name)]
        if left:
            message = f"not read, as {SINGLE_FILE} is there{_more(left)}"
            layout.faults.append(Fault(left[0], message, "delete it", is_warning=True))
        files = [SINGLE_FILE]
    if not files:
        layout.faults.append(_no_weights(names))
    layout.faults += _missing_of_a_row(files)
    if len(files) > 1 and not layout.faults:
        hint = "download it: transformers reads no shards without it"
        layout.faults.append(Fault(INDEX_FILE, "the index is missing", hint, is_warning=True))
    for file in files:
        try:
            shard = read_shard(folder / file)
        except CheckpointError as error:
            layout.faults.append(Fault(file, error.message, error.hint))
            continue
        twice = sorted(layout.tensors.keys() & shard.keys())
        if twice:
            other = layout.tensors[twice[0]].path.name
            message = f"{twice[0][:80]} is also in {other}{_more(twice)}"
            hint = f"delete the wrong one: without {INDEX_FILE} none counts more"
            layout.faults.append(Fault(file, message, hint))
        layout.tensors.update(shard)
    return layout


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


_NUMBERED = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.safetensors")


def _missing_of_a_row(files: Sequence[str]) -> Iterator[Fault]:
    """Yield what `model-00002-of-00003.safetensors` says is there beside it, and is not."""
    rows = {match[1]: int(match[3]) for match in map(_NUMBERED.fullmatch, files) if match}
    for stem, count in rows.items():
        row = [f"{stem}-{number:05}-of-{count:05}.safetensors" for number in range(1, count + 1)]
        absent = sorted({*row} - {*files})
        if absent:
            yield Fault(absent[0], f"the shard is missing{_more(absent)}", "download it again")


def _no_weights(names: Sequence[str]) -> Fault:
    if ADAPTER_FILE in names:
        message = "an adapter alone: the weights of its base model are not here"
        return Fault(ADAPTER_FILE, message, MERGE_ADAPTER)
    pickles = [name for name in names if name.endswith(PICKLES) and name != "training_args.bin"]
    if pickles:
        message = "the weights are only pickle, which can run code when it is loaded"
        hint = "convert them once: `vacc-gen convert DIR --out DIR`"
        return Fault(pickles[0], message + _more(pickles), hint)
    others = [name for name in names if name.endswith(OTHER_FORMATS)]
    if others:
        message = f"the weights are only in another format than safetensors{_more(others)}"
        return Fault(others[0], message, "download the repository's *.safetensors")
    message = "the folder holds no weights: there is no *.safetensors file in it"
    return Fault(CONFIG_FILE, message, "download them, or give the folder that has them")


def _links_out(folder: Path, names: Sequence[str]) -> Iterator[Fault]:
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
                yield Fault(name, message, hint, is_warning=True)


def _read_indexed(
    folder: Path, index: Mapping[str, Any], names: Sequence[str], layout: Layout
) -> None:
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(f, str) for f in weight_map.values()):
        message = "`weight_map` is missing, or does not map names to files"
        layout.faults.append(Fault(INDEX_FILE, message, "download the index again", "weight_map"))
        return
    named: dict[str, list[str]] = {}
    for tensor, file in weight_map.items():
        named.setdefault(file, []).append(tensor)
    absent = sorted(named.keys() - names)
    if SINGLE_FILE in names and SINGLE_FILE not in named:
        message = f"two sets of weights: {SINGLE_FILE}, and the shards that {INDEX_FILE} names"
        hint = f"transformers reads {SINGLE_FILE}: delete it, or the index with its shards"
        layout.faults.append(Fault(SINGLE_FILE, message, hint))
    elif absent:
        message, hint = f"{absent[0][:80]} is not there{_more(absent)}", "download it again"
        if not absent[0] or Path(absent[0]).name != absent[0]:
            message = f"{absent[0][:80]!r} is not a file of this folder"
            hint = "an index names files beside it; download it again"
        layout.faults.append(Fault(INDEX_FILE, message, hint, named[absent[0]][0]))
    for file in sorted(named.keys() & names):
        try:
            shard = read_shard(folder / file)
        except CheckpointError as error:
            layout.faults.append(Fault(INDEX_FILE, error.message, error.hint, named[file][0]))
            continue
        layout.faults += _index_faults(file, shard, named[file], weight_map)
        layout.tensors.update({name: shard[name] for name in named[file] if name in shard})


def _index_faults(
    file: str,
    shard: Mapping[str, TensorEntry],
    named: Sequence[str],
    weight_map: Mapping[str, str],
) -> Iterator[Fault]:
    """Yield where a shard and what the index says of it differ; `named` are its tensors there."""
    hint = "download the index and its shards from the same revision"
    lacking = [name for name in named if name not in shard]
    if lacking:
        message = f"{file} does not hold {lacking[0][:80]}{_more(lacking)}"
        yield Fault(INDEX_FILE, message, hint, lacking[0])
    unknown = [name for name in shard if name not in weight_map]
    if unknown:
        message = f"{file} holds {unknown[0][:80]}, which the index does not name{_more(unknown)}"
        yield Fault(INDEX_FILE, message, hint)
    twice = [name for name in shard if weight_map.get(name, file) != file]
    if twice:
        message = f"{twice[0][:80]} is in {weight_map[twice[0]]} and in {file}{_more(twice)}"
        yield Fault(INDEX_FILE, message, hint, twice[0])


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
            opening = shard.read(8)
            if opening == _POINTER:
                raise CheckpointError(
                    f"{path} is a pointer of Git LFS, not the weights", "`git lfs pull` brings them"
                )
            header_bytes = int.from_bytes(opening, "little")
            if size_bytes < 8 or header_bytes > min(MAX_HEADER_BYTES, size_bytes - 8):
                sizes = f"a header of {header_bytes} bytes in a file of {size_bytes}"
                raise _damaged(f"{path} is truncated or is not safetensors: {sizes}")
            header = parse_json(shard.read(header_bytes))
    except JsonError as error:
        raise _damaged(f"{path}: the safetensors header is not valid JSON ({error})") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    if not isinstance(header, dict):
        raise _damaged(f"{path}: the safetensors header is not a JSON object")
    header.pop("__metadata__", None)
    end = data_start = 8 + header_bytes
    entries = {
        name: _entry(path, name, value, data_start, size_bytes) for name, value in header.items()
    }
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


def _entry(path: Path, name: str, value: Any, data_start: int, size_bytes: int) -> TensorEntry:
    """Check one tensor's record of a header; `data_start` is where the data begins."""
    shown = name if len(name) <= 80 else f"{name[:80]}..."
    damaged = _damaged(f"{path}: the header's record of {shown!r} is damaged")
    try:
        dtype, shape = value["dtype"], tuple(value["shape"])
        begin, end = value["data_offsets"]
    except (KeyError, TypeError, ValueError) as error:
        raise damaged from error
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise _damaged(f"{path}: the dtype of {shown!r} is unknown: {str(dtype)[:40]!r}")
    if not all(type(number) is int and number >= 0 for number in (*shape, begin, end)):
        raise damaged
    length_bytes = 0 if 0 in shape else ITEM_BYTES[dtype]
    for size in shape:
        length_bytes *= size
        if length_bytes > size_bytes:  # a product of many sizes takes for ever
            break
    if end - begin != length_bytes:
        what = f"{shown} is {dtype} {str(list(shape[:8]))[:80]}, which does not fill bytes"
        raise _damaged(f"{path}: {what} {begin} to {end}")
    return TensorEntry(name, path, data_start + begin, length_bytes, dtype, shape)


def _damaged(message: str) -> CheckpointError:
    return CheckpointError(message, "download that file again")


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
