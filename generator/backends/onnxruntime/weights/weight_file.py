"""weights.bin: the one file that all graphs of an export take their weights from.

The layout is planned from the architecture alone, so that its size is known before anything is
written; values are then streamed from the checkpoint, a few rows at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

from vacc_gen.generator.backends.onnxruntime.weights.quantize import (
    Grid,
    Quantizer,
    pack,
    torch_threads,
)
from vacc_gen.generator.backends.onnxruntime.weights.source import CHUNK_BYTES, Checkpoint, bytes_of
from vacc_gen.generator.progress import Progress
from vacc_gen.schema.falcon import EMBEDDING, HEAD, Architecture

if TYPE_CHECKING:
    import torch

WEIGHTS_FILE = "weights.bin"

ALIGNMENT_BYTES = 4096
"""Every tensor begins on a page, so that ONNX Runtime can map it rather than read it."""

PACKED_PARTS = ("codes", "scales", "scales")
PACKED_PADDING_BYTES = 4 * ALIGNMENT_BYTES

Dtype = Literal["fp16", "fp32", "int8", "int4"]
StorageDtype = Literal["float16", "float32", "uint8", "int8"]
"""As numpy and torch call them."""


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of weights.bin: `length_bytes` at `offset_bytes`."""

    name: str
    dtype: StorageDtype
    shape: tuple[int, ...]
    offset_bytes: int
    length_bytes: int


@dataclass(frozen=True)
class Layout:
    """Where every tensor of weights.bin lies. `grid` is that of the layers' weights, if int.

    A parameter (M, K) that is quantized is stored as two tensors, every other under its own name:
    `<name>.codes`, uint8 (M, K * bits / 8), and `<name>.scales`, fp32 (M, groups); where one scale
    serves a channel, as MatMulInteger takes them: int8 (K, M), zero at 0, and fp32 (M). Of a file
    that is deployed, `<name>.packed` is room for the form that ONNX Runtime packs it in.
    """

    dtype: Dtype
    grid: Grid | None
    grids: dict[str, Grid]
    """By parameter, of those that are quantized."""
    tensors: dict[str, StoredTensor]
    total_bytes: int


def plan_layout(
    architecture: Architecture,
    dtype: Dtype,
    grid_pair: tuple[Grid, Grid] | None,
    *,
    packed: bool = False,
) -> Layout:
    """Lay out weights.bin for a model. Norms are kept in fp32, matrices and biases in `dtype`.

    An int `dtype` comes with what `grids_for` chose; its biases are fp32. `packed`: with room for
    packed matrices, each behind what it is made of, so that a file is read from end to end.
    """
    import numpy as np

    grids: dict[str, Grid] = {}
    tensors: dict[str, StoredTensor] = {}
    offset = 0

    def place(name: str, storage: StorageDtype, *shape: int) -> None:
        nonlocal offset
        length = np.dtype(storage).itemsize * prod(shape)
        tensors[name] = StoredTensor(name, storage, shape, offset, length)
        offset = -(-(offset + length) // ALIGNMENT_BYTES) * ALIGNMENT_BYTES

    for name, shape in architecture.parameters().items():
        if grid_pair is not None and len(shape) == 2:
            outputs, inputs = shape
            grid = grids[name] = grid_pair[name in (EMBEDDING, HEAD)]
            if grid.per_channel:
                place(f"{name}.codes", "int8", inputs, outputs)
                place(f"{name}.scales", "float32", outputs)
            else:
                place(f"{name}.codes", "uint8", outputs, inputs * grid.bits // 8)
                place(f"{name}.scales", "float32", outputs, inputs // grid.group_size)
            if packed:  # scales and sums stand beside the codes, and rows are padded
                made_of = (tensors[f"{name}.{part}"].length_bytes for part in PACKED_PARTS)
                place(f"{name}.packed", "uint8", sum(made_of) + PACKED_PADDING_BYTES)
        else:
            is_half = dtype == "fp16" and not architecture.is_norm(name)
            place(name, "float16" if is_half else "float32", *shape)
    last = max(tensors.values(), key=lambda tensor: tensor.offset_bytes)
    of_layers = grid_pair[0] if grid_pair else None
    return Layout(dtype, of_layers, grids, tensors, last.offset_bytes + last.length_bytes)


def write_weights(
    path: Path, layout: Layout, checkpoint: Checkpoint, quantizer: Quantizer, progress: Progress
) -> dict[str, int]:
    """Stream the checkpoint into `path` and return how many values overflowed, by parameter.

    A value overflows when it is finite in the checkpoint and infinite in fp16 (beyond 65504).

    Raises:
        CheckpointError: parameters hold NaN or infinity; the message counts them in each.
    """
    suspects: list[str] = []
    # Chunks are small, and copying them is bound by memory: more threads would spin at a barrier
    # after each operation, which on a busy machine made an export three times slower.
    with path.open("wb") as file, torch_threads(1):
        file.truncate(layout.total_bytes)
        for name, source in checkpoint.tensors.items():
            if name in layout.grids:
                is_finite = _write_codes(file, name, layout, quantizer)
                progress.advance(source.length_bytes)
            else:
                is_finite = _write_floats(file, layout.tensors[name], checkpoint, progress)
            if not is_finite:
                suspects.append(name)
    return checkpoint.count_values(suspects)


def _write_codes(file: BinaryIO, name: str, layout: Layout, quantizer: Quantizer) -> bool:
    """Quantize one parameter into its place; return whether all of its scales are finite."""
    grid, is_finite = layout.grids[name], True
    codes_at, scales_at = (layout.tensors[f"{name}.{part}"] for part in ("codes", "scales"))
    code_offset, scale_offset = codes_at.offset_bytes, scales_at.offset_bytes
    whole: list[torch.Tensor] = []
    for codes, scales in quantizer.quantize(name, grid):
        is_finite &= bool(scales.isfinite().all())  # NaN and infinity in a weight reach its scale
        file.seek(scale_offset)
        scale_offset += file.write(bytes_of(scales))
        if grid.per_channel:
            whole.append(codes)
        else:
            file.seek(code_offset)
            code_offset += file.write(bytes_of(pack(codes, grid.bits)))
    if grid.per_channel:
        file.seek(code_offset)
        _write_transposed(file, whole, grid)
    return is_finite


def _write_transposed(file: BinaryIO, chunks: list[torch.Tensor], grid: Grid) -> None:
    """Write codes uint8 (M, K), given as chunks of rows, as int8 (K, M), some inputs at a time."""
    import torch

    outputs, inputs = sum(map(len, chunks)), chunks[0].shape[1]
    step = max(1, CHUNK_BYTES // outputs)
    for first in range(0, inputs, step):
        columns = torch.cat([codes[:, first : first + step].mT for codes in chunks], dim=1)
        file.write(bytes_of(columns.sub_(grid.zero_code).contiguous()))  # bytes wrap around


def _write_floats(
    file: BinaryIO, stored: StoredTensor, checkpoint: Checkpoint, progress: Progress
) -> bool:
    """Stream one parameter, cast to what is stored; return whether all of that is finite."""
    import torch

    dtype, is_finite = getattr(torch, stored.dtype), True
    file.seek(stored.offset_bytes)
    for _, rows in checkpoint.chunks(stored.name):
        cast = rows.to(dtype)
        is_finite &= bool(torch.stack(cast.aminmax()).isfinite().all())
        file.write(bytes_of(cast))
        progress.advance(rows.nbytes)
    return is_finite
