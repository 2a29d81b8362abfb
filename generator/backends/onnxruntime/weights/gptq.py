"""GPTQ (Frantar et al. 2022, arXiv:2210.17323): weights rounded one input after the other, each
row making up with the inputs that are left for what rounding the earlier ones did to its output.

The method inverts the Hessian. The same weights come of Babai's nearest plane (Chen et al. 2025,
arXiv:2507.18553) at half the cost: with H = L L^T, a row's output error |(w - q) L| is a sum of one
square per input, each zero but for the rounding if

    q_k = round(w_k + sum over i > k of (w_i - q_i) L_ik / L_kk)

so the factor's last input is rounded first, and nothing is inverted.

Shapes: M outputs (rows) of a matrix, R of them in a sweep, K inputs, N groups a row, C inputs of a
block, T tokens, V vectors that are measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from vacc_gen.generator.backends.onnxruntime.weights.quantize import (
    Grid,
    round_to_nearest,
    scales_of,
)
from vacc_gen.schema.errors import StageError

PANEL = 1024
"""Inputs between two products with all that were rounded before, and columns of the Hessian in one
product: those of this size run at the processor's full speed."""

BLOCK = 64
"""Inputs between two products with those of a panel that were rounded before; within a block, one
input waits for the other, and the processor for memory."""

ROUNDER = 1.5 * 2**23
"""fp32 numbers of this size have no fraction: adding and taking it away rounds, half to even.
`round_` does too, in a kernel that may wait for a second thread: 200 times as long, for a row."""

SWEEP_BYTES = 128 << 20
"""Of fp32 rows that are rounded together."""

MEASURED_ROWS, MEASURED_OPERATIONS = 128, 1 << 34
"""Evenly spaced rows that errors are measured on; more while rows x inputs x inputs stays below."""


@dataclass(frozen=True)
class QuantizedMatrix:
    """Codes (M, K) and scales (M, N), and the squared error of the output over its square."""

    codes: torch.Tensor
    scales: torch.Tensor
    gptq_error: float
    rtn_error: float
    """The error, had each weight been rounded to its nearest code."""


class Hessian:
    """The sum of x x^T over a layer's inputs x: up to a factor, its output's squared error.

    The upper triangle holds the sum, the lower one then takes the Cholesky factor, so that they
    share one matrix: at 18,176 inputs (falcon-7b's widest) one is 1.3 GB.
    """

    def __init__(self, inputs: int, device: torch.device) -> None:
        self.inputs = inputs
        self.matrix = torch.zeros(inputs, inputs, device=device)
        """(K, K): the sum on and above the diagonal; after `factor`, L below and `diagonal` L's."""
        self.diagonal = torch.zeros(inputs, device=device)
        """(K): of the sum, before damping."""

    def add(self, x: torch.Tensor) -> None:
        """Add the inputs x (T, K), fp32."""
        for first, end in self._blocks():
            self.matrix[first:end, first:].addmm_(x[:, first:end].mT, x[:, first:])

    def permute(self, order: torch.Tensor) -> None:
        """Reorder the inputs in place: input `order[k]` becomes the k-th, for `order` (K)."""
        self._mirror()
        for first, end in self._blocks():
            self.matrix[first:end] = self.matrix[first:end, order]
        for first, end in self._blocks():
            self.matrix[:, first:end] = self.matrix[order, first:end]

    def factor(self, damp_percent: float) -> float:
        """Compute L with L L^T = sum + damping, and return the damping that it took.

        The damping, `damp_percent` of the diagonal's mean, is raised tenfold as long as the sum is
        not positive definite. An input that was always zero gets the mean on the diagonal.

        Raises:
            StageError: an input was not finite.
        """
        self.diagonal = self.matrix.diagonal().clone()
        mean = self.diagonal.mean().item() or 1.0
        if not math.isfinite(mean):
            raise StageError("activations are NaN or infinite on the calibration texts")
        while True:
            self._mirror()
            damped = self.diagonal.masked_fill(self.diagonal == 0, mean) + damp_percent * mean
            self.matrix.diagonal().copy_(damped)
            if self._cholesky():
                return damp_percent
            damp_percent *= 10

    def quadratic(self, vectors: torch.Tensor) -> torch.Tensor:
        """v^T sum v for each column of `vectors` (K, V), by the undamped sum: (V) in fp64."""
        total = (vectors.square() * self.diagonal[:, None]).sum(0, dtype=torch.float64)
        for first, end in self._blocks():
            crossed = self.matrix[first:end, first:end].triu(1) @ vectors[first:end]
            crossed.addmm_(self.matrix[first:end, end:], vectors[end:])
            total += 2 * (crossed * vectors[first:end]).sum(0)
        return total

    def _blocks(self) -> list[tuple[int, int]]:
        return [(i, min(i + PANEL, self.inputs)) for i in range(0, self.inputs, PANEL)]

    def _mirror(self) -> None:
        """Write the sum's lower triangle, from its upper one."""
        for first, end in self._blocks():
            self.matrix[end:, first:end] = self.matrix[first:end, end:].mT

    def _cholesky(self) -> bool:
        """Replace the lower triangle by its factor, block by block; False where it has none.

        The left-looking form: it writes nothing but the factor, so the upper triangle keeps the
        sum (Golub and Van Loan, Matrix Computations, 4.2.8).
        """
        matrix = self.matrix
        for first, end in self._blocks():
            width = end - first
            panel = matrix[first:, first:end].clone()
            panel[:width] = panel[:width].triu() + panel[:width].triu(1).mT
            panel.addmm_(matrix[first:, :first], matrix[first:end, :first].mT, alpha=-1)
            factor, info = torch.linalg.cholesky_ex(panel[:width])
            if info.item() != 0:
                return False
            matrix[first:end, first:end] = factor + matrix[first:end, first:end].triu(1)
            matrix[end:, first:end] = torch.linalg.solve_triangular(
                factor.mT, panel[width:], upper=True, left=False
            )
        return True


class Gptq:
    """Rounds matrices that share their inputs."""

    def __init__(self, hessian: Hessian, damp_percent: float, desc_act: bool) -> None:
        """Factor `hessian` in its own memory.

        Inputs are rounded from the first to the last; with `desc_act`, those with the largest
        activations first.
        """
        self._hessian = hessian
        strengths = hessian.matrix.diagonal()
        if not desc_act:
            strengths = torch.zeros_like(strengths)
        self._order = strengths.argsort(descending=True, stable=True).flip(0)
        """(K): the input at each place of the factor, whose last place is rounded first."""
        hessian.permute(self._order)
        self.damp_percent = hessian.factor(damp_percent)
        """The damping that was needed."""

    def quantize(self, weight: torch.Tensor, grid: Grid) -> QuantizedMatrix:
        """Round `weight` (M, K), of any float dtype, to `grid`; its scales are the weight's own."""
        outputs, inputs = weight.shape
        codes = torch.empty(outputs, inputs, dtype=torch.uint8)
        scales = torch.empty(outputs, inputs // grid.group_width(inputs))
        errors = torch.zeros(3, dtype=torch.float64)  # of the weights themselves, rtn, gptq
        step = max(1, outputs // max(MEASURED_ROWS, MEASURED_OPERATIONS // inputs**2))
        rows_per_sweep = max(1, SWEEP_BYTES // (4 * inputs))
        for first in range(0, outputs, rows_per_sweep):
            rows = slice(first, first + rows_per_sweep)
            wide = weight[rows].to(self._order.device, torch.float32)
            row_scales = scales_of(wide, grid)
            row_codes = self._round(wide.mT[self._order], row_scales, grid)
            measured = slice(-first % step, None, step)
            original = wide[measured]
            nearest = grid.restore(*round_to_nearest(original, grid))
            rounded = grid.restore(row_codes[measured], row_scales[measured])
            vectors = torch.cat([original, original - nearest, original - rounded])
            energies = self._hessian.quadratic(vectors.mT[self._order])
            errors += energies.view(3, len(original)).sum(1).cpu()
            codes[rows], scales[rows] = row_codes, row_scales
        energy, rtn, gptq = errors.tolist()
        scale = 1 / energy if energy > 0 else 0.0  # a layer may never put anything out
        return QuantizedMatrix(codes, scales, gptq * scale, rtn * scale)

    def _round(self, columns: torch.Tensor, scales: torch.Tensor, grid: Grid) -> torch.Tensor:
        """Codes (R, K) of `columns` (K, R), in the factor's order, which are overwritten."""
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
                    scale_columns[order // grid.group_width(inputs)],
                    factor[first:end, first:end],
                    grid.max_code,
                )
                codes[order] = rounded.add_(grid.zero_code).to(torch.uint8)
        return codes.mT.contiguous()


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
