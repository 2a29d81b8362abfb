"""Weights to eight bits, a group of inputs to a scale, a few rows at a time.

Legend: R rows (outputs) of a chunk, K inputs, G group size, N = K / G groups a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from vacc_gen.schema.errors import CheckpointError
from vacc_gen.schema.precision import GROUP_SIZES, widest_group

if TYPE_CHECKING:
    import torch

    from vacc_gen.generator.pipeline.checkpoint import Checkpoint
    from vacc_gen.schema.architecture import Architecture

MAX_CODE = 127
"""Codes run from -127 to 127: symmetric, so that zero is exact and no zero points are stored."""

ZERO_CODE = 128
"""What a stored zero reads: MatMulNBits and GatherBlockQuantized keep codes unsigned."""


class Quantizer(Protocol):
    """Turns the weight matrices of a checkpoint into codes and scales."""

    def quantize(
        self, checkpoint: Checkpoint, name: str, group_size: int
    ) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
        """Yield (first row, codes, scales) for all rows of the matrix `name`, in order.

        Codes are uint8 (R, K) with `ZERO_CODE` for zero, scales float32 (R, N): a weight is
        `(code - ZERO_CODE) * scale`.
        """


class RoundToNearest:
    """Each weight to the nearest multiple of its group's scale, largest magnitude over 127."""

    def quantize(
        self, checkpoint: Checkpoint, name: str, group_size: int
    ) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
        """Yield (first row, codes (R, K), scales (R, N)); see `Quantizer`."""
        for first, rows in checkpoint.chunks(name):
            codes, scales = round_to_nearest(rows, group_size)
            yield first, codes, scales


def round_to_nearest(rows: torch.Tensor, group_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantize (R, K) floats to codes uint8 (R, K) and scales float32 (R, N).

    A group of zeros gets scale 1, so that no reader divides by zero.
    """
    import torch

    groups = torch.empty(rows.shape[0], rows.shape[1] // group_size, group_size)
    groups.copy_(rows.view_as(groups))
    # amax and amin: aminmax along an axis takes eight times as long (PyTorch 2.13, CPU).
    scales = torch.maximum(groups.amax(-1), groups.amin(-1).neg_()).div_(MAX_CODE)
    scales.masked_fill_(scales == 0, 1.0)
    # Divided, not multiplied by a reciprocal: one rounding of fp32 before the one to a code.
    signed = groups.div_(scales.unsqueeze(-1)).round_().to(torch.int8)
    # Flipping the top bit adds ZERO_CODE, and int8 is cheaper to cast to than uint8.
    return signed.view(torch.uint8).bitwise_xor_(ZERO_CODE).view(rows.shape), scales


def group_size_for(architecture: Architecture, wanted: int | None) -> int:
    """The group size for a model: `wanted`, or the widest of 64, 32 and 16 that divides its widths.

    Raises:
        CheckpointError: no group size (or not the wanted one) divides every width.
    """
    geometry = architecture.geometry
    widths = sorted({geometry.hidden_size, geometry.ffn_hidden_size})
    candidates = GROUP_SIZES if wanted is None else (wanted,)
    group_size = widest_group(widths, candidates)
    if group_size is None:
        raise CheckpointError(
            f"int8 groups of {' or '.join(map(str, candidates))} do not divide the model's widths "
            f"({', '.join(map(str, widths))})",
            "export fp16 or fp32 instead"
            if wanted is None
            else "leave quantization.group_size out, or name one that divides every width",
        )
    return group_size
