"""A weight folder, read without torch: config.json, the index, and the shards' headers.

No tensor's values are read but by `WeightFolder.fingerprint`, which samples them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vacc_gen.schema.errors import MERGE_ADAPTER, CheckpointError
from vacc_gen.schema.geometry import Geometry, geometry_from_config
from vacc_gen.schema.json_files import file_names, open_regular, read_json
from vacc_gen.schema.shards import TensorEntry, read_shard

CONFIG_FILE = "config.json"
INDEX_FILE = "model.safetensors.index.json"
SINGLE_FILE = "model.safetensors"
ADAPTER_FILE = "adapter_config.json"
PICKLES = (".bin", ".pt", ".pth")
_NOT_READ = (
    ((ADAPTER_FILE,), "an adapter alone: its base model's weights are not here", MERGE_ADAPTER),
    (
        PICKLES,
        "the weights are only pickle, which can run code when it is loaded",
        "convert them once: `vacc-gen convert DIR --out DIR`",
    ),
    (
        (".gguf", ".h5", ".msgpack"),
        "the weights are only in another format than safetensors",
        "download the repository's *.safetensors",
    ),
)
"""Endings of other files that stand for weights, and what is said of them where they are alone."""

FINGERPRINT_SAMPLE_BYTES = 4096
"""Read from the middle of each tensor, so that a fine-tuned copy is told from its origin."""


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
    weight_map = None
    if index is None:
        files = {name for name in names if name.endswith(".safetensors")}
        files = {SINGLE_FILE} & files or {name for name in files if not name.startswith("adapter_")}
        faults += _faults_without_index(files, names)
    else:
        weight_map = index.get("weight_map")
        named = weight_map.values() if isinstance(weight_map, dict) else (None,)
        if not all(isinstance(file, str) for file in named):
            message = "`weight_map` is missing, or does not map names to files"
            hint = "download the index again"
            faults.append(CheckpointError(message, hint, "weight_map", file=INDEX_FILE))
            return tensors, faults
        files = {*named}
        faults += _faults_of_index(files, names)
    for file in sorted(files & {*names}):
        try:
            shard = read_shard(folder / file)
        except CheckpointError as error:
            faults.append(error)
            continue
        if weight_map is not None:
            faults += _index_differences(file, shard, weight_map)
        faults += _stored_twice(file, shard, tensors)
        tensors.update(shard)
    return tensors, faults


_NUMBERED = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.safetensors")


def _faults_without_index(
    files: Collection[str], names: Sequence[str]
) -> Iterator[CheckpointError]:
    """Yield what is missing, or left from another set; `files` are those that are read."""
    numbered = [match for match in map(_NUMBERED.fullmatch, names) if match]
    if SINGLE_FILE in files:
        left = [match[0] for match in numbered]
        if left:
            message = f"not read, as {SINGLE_FILE} is there{_more(left)}"
            yield CheckpointError(message, "delete it", file=left[0], is_warning=True)
    elif files:
        message, hint = "the index is missing", "download it: transformers reads none without it"
        yield CheckpointError(message, hint, file=INDEX_FILE, is_warning=True)
        for stem, count in {(match[1], int(match[3])) for match in numbered}:
            row = {f"{stem}-{n:05}-of-{count:05}.safetensors" for n in range(1, count + 1)}
            absent = sorted(row - {*names})
            if absent:
                message = f"the shard is missing{_more(absent)}"
                yield CheckpointError(message, "download it again", file=absent[0])
    else:
        adapters = [n for n in names if n.startswith("adapter_model.")]
        for endings, message, hint in _NOT_READ:
            found = [n for n in names if n.endswith(endings) and n != "training_args.bin"]
            found = found or (adapters if ADAPTER_FILE in endings else [])
            if found:
                yield CheckpointError(message + _more(found), hint, file=found[0])
                return
        message = "the folder holds no weights: there is no *.safetensors file in it"
        yield CheckpointError(message, "download them, or give the folder that has them")


def _faults_of_index(files: Collection[str], names: Sequence[str]) -> Iterator[CheckpointError]:
    """Yield where the files that an index names are not those of the folder."""
    absent = sorted({*files} - {*names})
    if SINGLE_FILE in names and SINGLE_FILE not in files:
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


def _index_differences(
    file: str, shard: Mapping[str, TensorEntry], weight_map: Mapping[str, str]
) -> Iterator[CheckpointError]:
    """Yield where a shard and what the index says of it differ."""
    hint = "download the index and its shards from the same revision"
    lacking = [name for name, place in weight_map.items() if place == file and name not in shard]
    if lacking:
        message = f"{file} does not hold {lacking[0][:80]}{_more(lacking)}"
        yield CheckpointError(message, hint, lacking[0], file=INDEX_FILE)
    unknown = [name for name in shard if name not in weight_map]
    if unknown:
        message = f"{file} holds {unknown[0][:80]}, which the index does not name{_more(unknown)}"
        yield CheckpointError(message, hint, file=INDEX_FILE)


def _stored_twice(
    file: str, shard: Mapping[str, TensorEntry], others: Mapping[str, TensorEntry]
) -> Iterator[CheckpointError]:
    twice = sorted(others.keys() & shard.keys())
    if twice:
        other = others[twice[0]].path.name
        message = f"{twice[0][:80]} is in {other} and in {file}{_more(twice)}"
        hint = "delete the wrong one, or download all of them from one revision"
        yield CheckpointError(message, hint, twice[0], file=file)


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
