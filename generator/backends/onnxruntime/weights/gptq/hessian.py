"""The second moments of a linear layer's inputs, in memory of one matrix of their size.

`sum of x x^T` over all tokens is, up to a factor, the Hessian of a linear layer's squared output
error. Its upper triangle is summed; the lower one then takes the Cholesky factor, so that the sum
and the factor share one matrix: at 18,176 inputs (falcon-7b's widest) one is 1.3 GB.

Shapes: K inputs of the layer, T tokens, M vectors that are measured.
"""

from __future__ import annotations

import torch

BLOCK = 1024
"""Columns that are worked on at once: products of this size run at the processor's full speed."""


class Hessian:
    """Sums x x^T over inputs x (K), permutes the sum, factors it, and measures errors by it."""

    def __init__(self, inputs: int, device: torch.device) -> None:
        """An empty sum for a layer with `inputs` inputs, fp32 on `device`."""
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
        matrix = self.matrix
        for first, end in self._blocks():
            matrix[end:, first:end] = matrix[first:end, end:].mT
        for first, end in self._blocks():
            matrix[first:end] = matrix[first:end, order]
        _permute_rows(matrix, order.tolist())

    def factor(self, damp_percent: float) -> float:
        """Compute L with L L^T = sum + damping, and return the damping that it took.

        The damping, `damp_percent` of the diagonal's mean, is raised tenfold as long as the sum is
        not positive definite: it cannot be where there are fewer tokens than inputs. An input that
        was never anything but zero gets 1 on the diagonal.
        """
        self.diagonal = self.matrix.diagonal().clone()
        mean = self.diagonal.mean().item() or 1.0
        while True:
            self._restore()
            diagonal = self.matrix.diagonal()
            diagonal.masked_fill_(self.diagonal == 0, mean)
            diagonal.add_(damp_percent * mean)
            if self._cholesky():
                return damp_percent
            damp_percent *= 10

    def quadratic(self, vectors: torch.Tensor) -> torch.Tensor:
        """v^T sum v for each column of `vectors` (K, M), by the undamped sum: (M) in fp64."""
        total = torch.zeros(vectors.shape[1], dtype=torch.float64, device=vectors.device)
        total += (vectors.square() * self.diagonal[:, None]).sum(0)
        for first, end in self._blocks():
            upper = torch.triu(self.matrix[first:end, first:end], 1)
            crossed = upper @ vectors[first:end]
            crossed.addmm_(self.matrix[first:end, end:], vectors[end:])
            total += 2 * (crossed * vectors[first:end]).sum(0)
        return total

    def _blocks(self) -> list[tuple[int, int]]:
        return [(i, min(i + BLOCK, self.inputs)) for i in range(0, self.inputs, BLOCK)]

    def _restore(self) -> None:
        """Write the sum's lower triangle, from its upper one."""
        self.matrix.diagonal().copy_(self.diagonal)
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
            panel[:width] = torch.triu(panel[:width]) + torch.triu(panel[:width], 1).mT
            panel.addmm_(matrix[first:, :first], matrix[first:end, :first].mT, alpha=-1)
            factor, info = torch.linalg.cholesky_ex(panel[:width])
            if info.item() != 0:
                return False
            upper = torch.triu(matrix[first:end, first:end], 1)
            matrix[first:end, first:end] = factor + upper
            below = panel[width:]
            matrix[end:, first:end] = torch.linalg.solve_triangular(
                factor.mT, below, upper=True, left=False
            )
        return True


def _permute_rows(matrix: torch.Tensor, order: list[int]) -> None:
    """Move row `order[k]` of `matrix` to row k, for all k, with memory for one row."""
    placed = [False] * len(order)
    for start in range(len(order)):
        if placed[start]:
            continue
        kept = matrix[start].clone()
        row = start
        while order[row] != start:
            matrix[row] = matrix[order[row]]
            placed[row] = True
            row = order[row]
        matrix[row] = kept
        placed[row] = True
