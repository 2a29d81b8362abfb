"""Weights to eight or four bits, a group of inputs to a scale, a few rows at a time.

Shapes: R rows (outputs) of a chunk, K inputs, N groups of inputs in a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from vacc_gen.schema.errors import CheckpointError
from vacc_gen.schema.precision import GROUP_SIZES, PER_CHANNEL

if TYPE_CHECKING:
    import torch

    from vacc_gen.generator.backends.onnxruntime.weights.source import Checkpoint
    from vacc_gen.schema.falcon import Architecture
    from vacc_gen.schema.recipe import Quantization

CodesAndScales: TypeAlias = "tuple[torch.Tensor, torch.Tensor]"
"""Some rows of a matrix: codes uint8 (R, K), one a byte, and scales fp32 (R, N); see `Grid`."""


@dataclass(frozen=True)
class Grid:
    """The values that weights may take: whole multiples of a scale, the same to either side of 0.

    A weight is `(code - zero_code) * scale`. Codes run from 1 to 2 * `max_code` + 1: symmetric, so
    that zero is exact and no zero points are stored; unsigned, as MatMulNBits and
    GatherBlockQuantized keep them.
    """

    bits: int
    group_size: int
    """Inputs that share one scale; `PER_CHANNEL`: all of a row."""

    @property
    def per_channel(self) -> bool:
        return self.group_size == PER_CHANNEL

    def group_width(self, inputs: int) -> int:
        """Inputs that share one scale, in a row of `inputs`."""
        return inputs if self.per_channel else self.group_size

    @property
    def zero_code(self) -> int:
        return 1 << (self.bits - 1)

    @property
    def max_code(self) -> int:
        """The largest multiple, 127 at 8 bits and 7 at 4."""
        return self.zero_code - 1

    def restore(self, codes: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        """Weights fp32 (R, K) of `codes` uint8 (R, K) and `scales` fp32 (R, N)."""
        import torch

        groups = codes.view(*scales.shape, -1).to(torch.float32)
        return groups.sub_(self.zero_code).mul_(scales.unsqueeze(-1)).view(codes.shape)


class Quantizer:
    """Turns the matrices of a checkpoint into codes and scales.

    Each weight goes to the nearest multiple of its scale; `GptqQuantizer` calibrates.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint

    def quantize(self, name: str, grid: Grid) -> Iterator[CodesAndScales]:
        """Yield all rows of the matrix `name`; matrices are asked for in the checkpoint's order."""
        for _, rows in self._checkpoint.chunks(name):
            yield round_to_nearest(rows, grid)

    def settings(self) -> dict[str, object]:
        """How the weights are made, for the report."""
        return {"method": "round_to_nearest"}


def round_to_nearest(rows: torch.Tensor, grid: Grid) -> CodesAndScales:
    """Quantize floats (R, K)."""
    import torch

    inputs = rows.shape[1]
    shape = (len(rows), -1, grid.group_width(inputs))
    groups = torch.empty(rows.shape, device=rows.device).view(shape)
    groups.copy_(rows.view(shape))
    scales = scales_of(groups.view(rows.shape), grid)
    # Divided, not multiplied by a reciprocal: one rounding of fp32 before the one to a code.
    signed = groups.div_(scales.unsqueeze(-1)).round_().to(torch.int8)
    # Bytes wrap around, and int8 is cheaper to cast to than uint8.
    return signed.view(torch.uint8).add_(grid.zero_code).view(rows.shape), scales


def scales_of(rows: torch.Tensor, grid: Grid) -> torch.Tensor:
    """The scales (R, N) of `rows` fp32 (R, K); 1 for zeros, so none divides by 0."""
    import torch

    groups = rows.view(len(rows), -1, grid.group_width(rows.shape[1]))
    # amax and amin: aminmax along an axis takes eight times as long (PyTorch 2.13, CPU).
    scales = torch.maximum(groups.amax(-1), groups.amin(-1).neg_()).div_(grid.max_code)
    return scales.masked_fill_(scales == 0, 1.0)


def pack(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """Codes (R, K) as they are stored: at 4 bits two to a byte, the first in the low half."""
    return codes if bits == 8 else codes[:, 0::2] | (codes[:, 1::2] << 4)


def grids_for(
    architecture: Architecture, bits: int, quantization: Quantization
) -> tuple[Grid, Grid]:
    """The grid of a model's layers, and that of its embedding and head.

    Embedding and head keep 8 bits, as nothing makes up for their errors, and groups: a row is
    looked up as it lies.

    Raises:
        CheckpointError: no group size (or not the wanted one) divides every width.
    """
    geometry = architecture.geometry
    widths = sorted({geometry.hidden_size, geometry.ffn_hidden_size})
    candidates = (quantization.group_size,) if quantization.group_size else GROUP_SIZES
    for group_size in candidates:
        if all(width % group_size == 0 for width in widths):
            table = Grid(8, group_size)
            is_integer = bits == 8 and quantization.activations == "int8"
            return (Grid(8, PER_CHANNEL) if is_integer else Grid(bits, group_size)), table
    raise CheckpointError(
        f"groups of {' or '.join(map(str, candidates))} weights do not divide the model's widths "
        f"({', '.join(map(str, widths))})",
        "leave quantization.group_size out, or export fp16",
    )


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
