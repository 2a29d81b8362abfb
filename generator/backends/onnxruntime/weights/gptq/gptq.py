"""GPTQ (Frantar et al. 2022, arXiv:2210.17323): weights rounded one input after the other, each
row making up with the inputs that are left for what rounding the earlier ones did to its output.

The method inverts the Hessian, which costs twice what factoring it does, and keeps the inverse's
Cholesky factor. The same weights come of Babai's nearest plane (Chen et al. 2025,
arXiv:2507.18553): with H = L L^T, a row's output error |(w - q) L| is a sum of one square per
input, each zero but for the rounding if

    q_k = round(w_k + sum over i > k of (w_i - q_i) L_ik / L_kk)

so the factor's last input is rounded first, and nothing is inverted.

Shapes: M outputs (rows) of a matrix, R of them in a sweep, K inputs, N groups a row, C inputs of a
block.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from vacc_gen.generator.backends.onnxruntime.weights.gptq.hessian import Hessian
from vacc_gen.generator.backends.onnxruntime.weights.quantize import (
    Grid,
    round_to_nearest,
    scales_of,
)

PANEL = 1024
"""Inputs between two products with all that were rounded before: of this size, they run at the
processor's full speed."""

BLOCK = 64
"""Inputs between two products with those of a panel that were rounded before; within a block, one
input waits for the other, and the processor for memory."""

ROUNDER = 1.5 * 2**23
"""fp32 numbers of this size have no fraction: adding and taking it away rounds, half to even.
`round_` does too, in a kernel that may wait for a second thread: 200 times as long, for a row."""

SWEEP_BYTES = 128 << 20
"""Of fp32 rows that are rounded together."""

MEASURED_ROWS = 128
"""Rows, evenly spaced, that errors are measured on at least."""

MEASURED_OPERATIONS = 1 << 34
"""More rows are measured while rows x inputs x inputs stays below."""


@dataclass(frozen=True)
class QuantizedMatrix:
    """A matrix as codes and scales, and what that does to its output on the calibration data."""

    codes: torch.Tensor
    """uint8 (M, K), the grid's zero code for zero."""
    scales: torch.Tensor
    """fp32 (M, N)."""
    gptq_error: float
    """Squared error of the output over the squared output."""
    rtn_error: float
    """The same, had each weight been rounded to its nearest code."""


class Gptq:
    """Rounds matrices that share their inputs."""

    def __init__(self, hessian: Hessian, damp_percent: float, desc_act: bool) -> None:
        """Factor `hessian` in its own memory.

        Inputs are rounded from the first to the last; with `desc_act`, those with the largest
        activations first.
        """
        self._hessian = hessian
        if desc_act:
            rounding_order = hessian.matrix.diagonal().argsort(descending=True, stable=True)
        else:
            rounding_order = torch.arange(hessian.inputs, device=hessian.matrix.device)
        self._order = rounding_order.flip(0)
        """(K): the input at each place of the factor, whose last place is rounded first."""
        hessian.permute(self._order)
        self.damp_percent = hessian.factor(damp_percent)
        """The damping that was needed."""

    def quantize(self, weight: torch.Tensor, grid: Grid) -> QuantizedMatrix:
        """Round `weight` (M, K), of any float dtype, to `grid`; its scales are the weight's own."""
        outputs, inputs = weight.shape
        codes = torch.empty(outputs, inputs, dtype=torch.uint8)
        scales = torch.empty(outputs, inputs // grid.group_size)
        errors = torch.zeros(3, dtype=torch.float64)  # of the weights themselves, rtn, gptq
        step = max(1, outputs // max(MEASURED_ROWS, MEASURED_OPERATIONS // inputs**2))
        rows_per_sweep = max(1, SWEEP_BYTES // (4 * inputs))
        for first in range(0, outputs, rows_per_sweep):
            rows = slice(first, first + rows_per_sweep)
            wide = weight[rows].to(self._order.device, torch.float32)
            row_scales = scales_of(wide, grid)
            columns = wide.mT[self._order]  # (K, R)
            measured = slice(-first % step, None, step)
            nearest = grid.restore(*round_to_nearest(wide[measured].contiguous(), grid))
            original = columns[:, measured].clone()
            vectors = [original, original - nearest.mT[self._order]]
            del wide, original, nearest
            codes[rows] = self._round(columns, row_scales, grid)
            scales[rows] = row_scales
            vectors.append(columns[:, measured])
            energies = self._hessian.quadratic(torch.cat(vectors, dim=1))
            errors += energies.view(3, vectors[0].shape[1]).sum(1).cpu()
        energy, rtn, gptq = errors.tolist()
        scale = 1 / energy if energy > 0 else 0.0  # a layer may never put anything out
        return QuantizedMatrix(codes, scales, gptq * scale, rtn * scale)

    def _round(self, columns: torch.Tensor, scales: torch.Tensor, grid: Grid) -> torch.Tensor:
        """Codes (R, K) of `columns` (K, R), which are replaced by what rounding left of them."""
        inputs, factor = len(columns), self._hessian.matrix
        scale_columns = scales.mT.contiguous()  # (N, R)
        codes = torch.empty(columns.shape, dtype=torch.uint8, device=columns.device)
        for panel_end in range(inputs, 0, -PANEL):
            panel = max(0, panel_end - PANEL)
            later = factor[panel_end:, panel:panel_end].mT @ columns[panel_end:]
            for end in range(panel_end, panel, -BLOCK):
                first = max(panel, end - BLOCK)
                order = self._order[first:end]
                wanted = later[first - panel : end - panel]  # (C, R)
                wanted += factor[end:panel_end, first:end].mT @ columns[end:panel_end]
                wanted.div_(factor.diagonal()[first:end, None]).add_(columns[first:end])
                rounded = _round_block(
                    columns[first:end],
                    wanted,
                    scale_columns[order // grid.group_size],
                    factor[first:end, first:end],
                    grid.max_code,
                )
                codes[order] = rounded.add_(grid.zero_code).to(torch.uint8)
        return codes.mT.contiguous().cpu()


def _round_block(
    columns: torch.Tensor,
    wanted: torch.Tensor,
    scales: torch.Tensor,
    factor: torch.Tensor,
    max_code: int,
) -> torch.Tensor:
    """Signed codes of a block, its last input first; all are (C, R) but `factor` (C, C)."""
    # Row k: by how much each residual i > k of the block moves weight k.
    coupling = (factor.mT / factor.diagonal()[:, None]).contiguous()
    rounded = torch.empty_like(wanted)
    for k in range(len(columns) - 1, -1, -1):
        if k + 1 < len(columns):
            wanted[k].addmv_(columns[k + 1 :].mT, coupling[k, k + 1 :])
        code = torch.div(wanted[k], scales[k], out=rounded[k])
        code.clamp_(-max_code, max_code).add_(ROUNDER).sub_(ROUNDER)
        columns[k].addcmul_(code, scales[k], value=-1)
    return rounded
