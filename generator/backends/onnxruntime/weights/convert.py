"""Pickled weights to safetensors, one file at a time, without running any code in them."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from vacc_gen.generator.backends.onnxruntime.weights.source import bytes_of
from vacc_gen.generator.extras import load
from vacc_gen.generator.files import (
    is_occupied,
    naming,
    room_for,
    staged_folder,
    write_atomically,
)
from vacc_gen.generator.progress import Progress
from vacc_gen.schema.checkpoint import INDEX_FILE, SINGLE_FILE
from vacc_gen.schema.errors import CheckpointError, UsageError
from vacc_gen.schema.geometry import shortened
from vacc_gen.schema.json_files import open_regular

if TYPE_CHECKING:
    import torch

PATTERNS = ("pytorch_model*.bin", "consolidated*.pth", "*.bin", "*.pt", "*.pth")
"""How weights are called; the first that fits counts: a trainer leaves other pickles too."""

COPIED = ("*.json", "*.txt", "*.model", "*.jinja", "LICENSE*", "README*")
"""Files that belong to the weights and are no code."""


def convert(folder: Path, out_dir: Path, progress: Progress) -> tuple[Path, ...]:
    """Write the pickled weights of `folder` as safetensors into `out_dir`, with its other files.

    The folder appears complete or not at all, and holds one pickle's tensors in memory at a time.

    Raises:
        MissingExtraError: torch is not installed.
        CheckpointError: there are no pickles, or one holds more than tensors, or is damaged.
        UsageError: `out_dir` is not empty.
        OSError: one is not a file that can be read.
        StageError: there is not enough disk space.
    """
    pickles = next((found for p in PATTERNS if (found := sorted(folder.glob(p)))), [])
    if not pickles:
        raise CheckpointError(f"{folder} holds no pickled weights", "there is nothing to convert")
    if is_occupied(out_dir):
        raise UsageError(f"{out_dir} is there, and is not an empty folder", "name another --out")
    for file in pickles:
        with naming(file), open_regular(file):
            pass  # torch waits for a pipe that nobody fills
    total_bytes, count = sum(file.stat().st_size for file in pickles), len(pickles)
    progress.start("convert", total_bytes)
    names = [f"model-{number:05}-of-{count:05}.safetensors" for number in range(1, count + 1)]
    names = names if count > 1 else [SINGLE_FILE]
    weight_map: dict[str, str] = {}
    with room_for(out_dir, total_bytes), staged_folder(out_dir) as staging:
        for file, name in zip(pickles, names, strict=True):
            tensors = _load(file)
            twice = sorted(tensors.keys() & weight_map.keys())
            if twice:
                raise CheckpointError(f"{folder}: more than one file holds {', '.join(twice[:3])}")
            weight_map |= dict.fromkeys(tensors, name)
            _write_shard(staging / name, tensors)
            progress.advance(file.stat().st_size)
        for file in sorted({f for pattern in COPIED for f in folder.glob(pattern)}):
            if file.is_file() and not file.name.endswith(".index.json"):
                shutil.copyfile(file, staging / file.name)
        if count > 1:
            index = {"metadata": {}, "weight_map": weight_map}
            write_atomically(staging / INDEX_FILE, json.dumps(index, indent=2, sort_keys=True))
    return tuple(out_dir / name for name in names)


def _load(file: Path) -> Mapping[str, torch.Tensor]:
    """Read a pickle that holds nothing but tensors by their names."""
    (torch,) = load("reading pickled weights", "torch")
    hint = "download it again; what holds other objects than tensors is not read"
    try:
        # Only zip archives, which torch has written since 1.6, can be mapped.
        loaded = torch.load(
            file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file)
        )
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if isinstance(error, pickle.UnpicklingError):  # torch advises to run what is in it
            found = re.search(r"GLOBAL (\S+)", str(error))
            reason = f"it holds {found[1]}, not tensors alone" if found else "it is damaged"
        raise CheckpointError(f"{file} was not converted: {reason}", hint) from error
    if not isinstance(loaded, Mapping):
        raise CheckpointError(f"{file} does not map names to tensors", hint)
    for name, value in loaded.items():
        is_name = isinstance(name, str) and name.isprintable() and name != "__metadata__"
        if not is_name or not _is_plain(value):
            message = f"{file} does not map names to plain tensors: at {shortened(name)}"
            raise CheckpointError(message, hint)
    return loaded


def _is_plain(value: object) -> bool:
    """Whether a value is a tensor whose elements lie in memory: not sparse, quantized, or meta."""
    import torch

    if not isinstance(value, torch.Tensor) or value.device.type != "cpu":
        return False
    return value.layout is torch.strided and not value.is_quantized


def _write_shard(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write one safetensors file: length of the header, header, bytes in the header's order."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + tensor.nbytes
        dtype = _DTYPES.get(str(tensor.dtype).removeprefix("torch."))
        if dtype is None:
            raise CheckpointError(f"{name} is of {tensor.dtype}, which is no dtype of weights")
        header[name] = {"dtype": dtype, "shape": [*tensor.shape], "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the data begins at a multiple of 8, as safetensors has it
    with naming(path), path.open("xb") as shard:
        shard.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            if tensor.nbytes:
                shard.write(bytes_of(tensor.contiguous().resolve_neg()))


_DTYPES = {
    "float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64", "bool": "BOOL",
    "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8", "uint8": "U8",
}  # fmt: skip
