"""One decoder layer of a modeling file, with as little of its weights in fp32 as will do.

Shapes: B windows of S tokens, E hidden size, K inputs of a linear layer, M its outputs.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
from torch import nn

from vacc_gen.generator.backends.onnxruntime.weights.gptq.gptq import QuantizedMatrix
from vacc_gen.generator.backends.onnxruntime.weights.quantize import Grid
from vacc_gen.generator.backends.onnxruntime.weights.source import Checkpoint
from vacc_gen.schema.errors import StageError

CHUNK_WEIGHTS = 4 << 20
"""Weights of a linear layer that are in fp32 at once."""

Arguments: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]
"""What a block is called with besides the hidden states."""


class Block:
    """One decoder layer with its weights, those of linear layers as stored or as codes."""

    def __init__(
        self, checkpoint: Checkpoint, layer: int, block: Any, device: torch.device
    ) -> None:
        self.layer = layer
        self.linears: dict[str, Linear] = {}
        self._block = block
        prefix = f"transformer.h.{layer}."
        try:
            for name in checkpoint.architecture.linears():
                linear = Linear(checkpoint, f"{prefix}{name}", device)
                self.linears[name] = linear
                parent, _, child = name.rpartition(".")
                setattr(block.get_submodule(parent), child, linear)
        except AttributeError as error:
            raise StageError(f"the modeling file's blocks have no {name}: {error}") from error
        for norm in checkpoint.architecture.layer_norms():
            module = block.get_submodule(norm).to_empty(device=device)
            for name, parameter in module.named_parameters():
                parameter.data.copy_(checkpoint.read(f"{prefix}{norm}.{name}"))

    def run(self, states: torch.Tensor, arguments: Arguments) -> torch.Tensor:
        """Hidden states (B, S, E) after the layer, from those before it."""
        args, kwargs = arguments
        after: torch.Tensor = self._block(states, *args, **kwargs)[0]
        return after


class Linear(nn.Module):  # type: ignore[misc]  # torch is typed nowhere here
    """A linear layer that widens some rows of its weights at a time."""

    def __init__(self, checkpoint: Checkpoint, name: str, device: torch.device) -> None:
        super().__init__()
        self.stored: torch.Tensor = checkpoint.read(f"{name}.weight").to(device)
        """(M, K), in the checkpoint's dtype; empty once codes are used."""
        self.outputs, self.inputs = self.stored.shape
        self._quantized: tuple[torch.Tensor, torch.Tensor, Grid] | None = None
        self._bias: torch.Tensor | None = None
        if f"{name}.bias" in checkpoint.tensors:
            self._bias = checkpoint.read(f"{name}.bias").to(device, torch.float32)

    def use(self, quantized: QuantizedMatrix, grid: Grid) -> None:
        """Compute with the `quantized` weights from now on, and release those as stored."""
        device = self.stored.device
        self._quantized = quantized.codes.to(device), quantized.scales.to(device), grid
        self.stored = torch.empty(0, device=device)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., K) to (..., M), in fp32."""
        flat = x.reshape(-1, self.inputs)
        y = torch.empty(len(flat), self.outputs, device=x.device)
        rows_at_once = max(1, CHUNK_WEIGHTS // self.inputs)
        for first in range(0, self.outputs, rows_at_once):
            rows = slice(first, first + rows_at_once)
            torch.mm(flat, self._weights(rows).mT, out=y[:, rows])
        if self._bias is not None:
            y += self._bias
        return y.view(*x.shape[:-1], self.outputs)

    def _weights(self, rows: slice) -> torch.Tensor:
        if self._quantized is None:
            return self.stored[rows].float()
        codes, scales, grid = self._quantized
        return grid.restore(codes[rows], scales[rows])
