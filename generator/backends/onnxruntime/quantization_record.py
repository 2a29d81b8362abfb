"""quantization.json: what the quantizer meant each matrix to be, for whoever reads it back.

It lies beside the graphs that it describes, and is an artifact as they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vacc_gen.schema.errors import UnreadableError

if TYPE_CHECKING:
    import torch

    from vacc_gen.generator.backends.onnxruntime.weights.quantize import Grid
    from vacc_gen.generator.backends.onnxruntime.weights.weight_file import Layout
    from vacc_gen.schema.falcon import Architecture

QUANTIZATION_FILE = "quantization.json"
RECORD_VERSION = 1

GPTQ, ROUND_TO_NEAREST = "gptq", "round_to_nearest"


@dataclass(frozen=True)
class MeantMatrix:
    """One matrix as it was meant."""

    method: str
    bits: int
    group_size: int
    """Inputs that are stored with one scale."""
    per_channel: bool
    codes_sha256: str | None = None
    """Of the codes, one a byte, row by row; None where anybody can round again and compare."""

    @property
    def grid(self) -> Grid:
        """The grid that its weights lie on."""
        from vacc_gen.generator.backends.onnxruntime.weights.quantize import Grid

        return Grid(self.bits, self.group_size, self.per_channel)


def meant_matrices(
    architecture: Architecture, layout: Layout, gptq_digests: Mapping[str, str]
) -> dict[str, MeantMatrix]:
    """What every matrix of `architecture` is meant to be, by its parameter's name.

    `gptq_digests` are those of the matrices that GPTQ rounded.
    """
    meant = {}
    for name, shape in architecture.parameters().items():
        grid = layout.grid_of(name) if len(shape) == 2 else None
        if grid is not None:
            method = GPTQ if name in gptq_digests else ROUND_TO_NEAREST
            parts = (grid.bits, grid.group_size, grid.per_channel)
            meant[name] = MeantMatrix(method, *parts, gptq_digests.get(name))
    return meant


def write_record(
    folder: Path, settings: Mapping[str, object], meant: Mapping[str, MeantMatrix]
) -> None:
    """Write `QUANTIZATION_FILE` in `folder`; `settings` are how the matrices came to be."""
    content = {
        "version": RECORD_VERSION,
        **settings,
        "matrices": {name: asdict(matrix) for name, matrix in meant.items()},
    }
    (folder / QUANTIZATION_FILE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_record(folder: Path) -> dict[str, MeantMatrix] | None:
    """The matrices that `write_record` wrote in `folder`; None where nothing was quantized.

    Raises:
        UnreadableError: the file is damaged.
    """
    file = folder / QUANTIZATION_FILE
    if not file.is_file():
        return None
    try:
        matrices: Mapping[str, Mapping[str, Any]] = json.loads(file.read_bytes())["matrices"]
        return {name: MeantMatrix(**fields) for name, fields in matrices.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnreadableError(f"{file} cannot be read: {error!r}", "build again") from error


def codes_digest(codes: torch.Tensor) -> str:
    """SHA-256 of codes uint8 (M, K), one a byte, row by row."""
    return hashlib.sha256(memoryview(codes.contiguous().view(-1).numpy())).hexdigest()
