"""A weight folder, read without torch: config.json, the index, and the shards' headers.

No tensor's values are read but by `WeightFolder.fingerprint`, which samples them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vacc_gen.schema.errors import MERGE_ADAPTER, CheckpointError, Fault
from vacc_gen.schema.json_files import file_names, open_regular, read_json, read_json_object
from vacc_gen.schema.shards import TensorEntry, read_shard

if TYPE_CHECKING:
    from vacc_gen.schema.geometry import Geometry

CONFIG_FILE = "config.json"
INDEX_FILE = "model.safetensors.index.json"
SINGLE_FILE = "model.safetensors"
ADAPTER_FILE = "adapter_config.json"
PICKLES = (".bin", ".pt", ".pth")
_UNREAD = (
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
"""Endings of files that are not read, and what is said of them where nothing else is there."""

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
    """Return what the model in a folder is called; empty for `.`, which does not say.

    The folder of a snapshot of the hub has its commit's name; its repository's counts.
    """
    path = str(folder).rstrip("/\\")
    snapshot = _SNAPSHOT.search(path)
    name = snapshot[1] if snapshot else re.split(r"[\\/]", path)[-1]
    return "" if name == "." else name


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
    return WeightFolder(path, config, with_full_names(layout.tensors, config))


def with_full_names(
    tensors: Mapping[str, TensorEntry], config: Mapping[str, Any]
) -> dict[str, TensorEntry]:
    """Return a Falcon's tensors by the whole names of its parameters, others as they are stored.

    transformers also loads a base model's, whose names begin without `transformer.`.
    """
    from vacc_gen.schema.geometry import is_falcon

    bare = ("word_embeddings.", "h.", "ln_f.") if is_falcon(config) else ()
    return {
        f"transformer.{name}" if name.startswith(bare) else name: entry
        for name, entry in tensors.items()
    }


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
    if files not in ([], [SINGLE_FILE]):
        message, hint = "the index is missing", "download it: transformers reads none without it"
        layout.faults.append(Fault(INDEX_FILE, message, hint, is_warning=True))
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
    adapters = [name for name in names if name == ADAPTER_FILE or name.startswith("adapter_model.")]
    if adapters:
        message = "an adapter alone: the weights of its base model are not here"
        return Fault(adapters[0], message, MERGE_ADAPTER)
    for endings, message, hint in _UNREAD:
        found = [name for name in names if name.endswith(endings) and name != "training_args.bin"]
        if found:
            return Fault(found[0], message + _more(found), hint)
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
