"""Pickled weights to safetensors, without running any code in them."""

from __future__ import annotations

import pickle
import re
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from vacc_gen.generator.extras import load
from vacc_gen.generator.files import is_occupied, naming, room_for, staged_folder
from vacc_gen.generator.progress import Progress
from vacc_gen.schema.errors import CheckpointError, UsageError
from vacc_gen.schema.falcon import HEAD
from vacc_gen.schema.json_files import open_regular

if TYPE_CHECKING:
    import torch

PATTERNS = ("pytorch_model*.bin", "consolidated*.pth", "*.bin", "*.pt", "*.pth")
"""How weights are called; the first that fits counts: a trainer leaves other pickles too."""

COPIED = ("*.json", "*.txt", "*.model", "*.jinja", "LICENSE*", "README*")
"""Files that belong to the weights and are no code."""


def convert(folder: Path, out_dir: Path, progress: Progress) -> tuple[Path, ...]:
    """Write the pickled weights of `folder` as safetensors into `out_dir`, with its other files.

    The folder appears complete or not at all. Pickles are mapped, not read into memory. A head
    that shares its memory with the embedding is left out.

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
    load("reading pickled weights", "torch", "safetensors")
    from huggingface_hub import save_torch_state_dict

    progress.start("convert")
    total_bytes = sum(file.stat().st_size for file in pickles)
    with room_for(out_dir, total_bytes), staged_folder(out_dir) as staging:
        tensors: dict[str, torch.Tensor] = {}
        for file in pickles:
            loaded = _load(file)
            twice = sorted(tensors.keys() & loaded.keys())
            if twice:
                raise CheckpointError(f"{folder}: more than one file holds {', '.join(twice[:3])}")
            tensors |= loaded
        try:
            save_torch_state_dict(tensors, staging, shared_tensors_to_discard=[HEAD])
        except Exception as error:  # not only safetensors' own, of a tensor or of the disk
            raise CheckpointError(f"{folder} was not converted: {error}") from error
        names = sorted(file.name for file in staging.iterdir() if file.suffix == ".safetensors")
        for file in sorted({f for pattern in COPIED for f in folder.glob(pattern)}):
            if file.is_file() and not file.name.endswith(".index.json"):
                shutil.copyfile(file, staging / file.name)
    return tuple(out_dir / name for name in names)


def _load(file: Path) -> dict[str, torch.Tensor]:
    """Read a pickle that holds nothing but tensors by their names."""
    import torch

    hint = "download it again; what holds other objects than tensors is not read"
    with naming(file), open_regular(file):
        pass  # torch waits for a pipe that nobody fills
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
    is_plain = isinstance(loaded, dict) and all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in loaded.items()
    )
    if not is_plain:
        raise CheckpointError(f"{file} does not map names to tensors", hint)
    return dict(loaded)
