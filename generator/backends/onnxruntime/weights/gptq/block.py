"""One decoder layer of a modeling file, with as little of its weights in fp32 as will do.

Legend of shapes: B windows of S tokens, E hidden size, K inputs of a linear layer, M its outputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
                parameter.data.copy_(_vector(checkpoint, f"{prefix}{norm}.{name}"))

    def run(self, states: torch.Tensor, arguments: Arguments) -> torch.Tensor:
        """Hidden states (B, S, E) after the layer, from those before it."""
        args, kwargs = arguments
        after: torch.Tensor = self._block(states, *args, **kwargs)[0]
        return after

    @contextmanager
    def unquantized(self) -> Iterator[None]:
        """Compute with the weights as stored in the block, where they were kept."""
        for linear in self.linears.values():
            linear.unquantized = True
        try:
            yield
        finally:
            for linear in self.linears.values():
                linear.unquantized = False

    def drop(self) -> None:
        """Let go of the weights; the model that the block is of lives on."""
        self.linears.clear()
        self._block.to("meta")
        for module in self._block.modules():
            if isinstance(module, Linear):
                module.forget()


class Linear(nn.Module):  # type: ignore[misc]  # torch is typed nowhere here
    """A linear layer that widens some rows of its weights at a time."""

    def __init__(self, checkpoint: Checkpoint, name: str, device: torch.device) -> None:
        super().__init__()
        tensor = checkpoint.tensors[f"{name}.weight"]
        self.outputs, self.inputs = tensor.shape
        parts = [rows.clone() for _, rows in checkpoint.chunks(f"{name}.weight")]
        self.stored = torch.cat(parts).to(device)
        """(M, K), in the checkpoint's dtype; nothing once codes are used, unless kept."""
        self.unquantized = False
        """Whether to compute with `stored` all the same."""
        self._made: tuple[torch.Tensor, torch.Tensor, Grid] | None = None
        self._bias: torch.Tensor | None = None
        if f"{name}.bias" in checkpoint.tensors:
            self._bias = _vector(checkpoint, f"{name}.bias").to(device, torch.float32)

    def use(self, made: QuantizedMatrix, grid: Grid, keep: bool = False) -> None:
        """Compute with what was `made` of the weights from now on; `keep` those as stored too."""
        device = self.stored.device
        self._made = made.codes.to(device), made.scales.to(device), grid
        if not keep:
            self.stored = torch.empty(0, device=device)

    def forget(self) -> None:
        """Give all memory back."""
        self.stored, self._made, self._bias = torch.empty(0), None, None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., K) to (..., M), in fp32."""
        flat = x.reshape(-1, self.inputs)
        y = torch.empty(len(flat), self.outputs, device=x.device)
        rows_at_once = max(1, CHUNK_WEIGHTS // self.inputs)
        for first in range(0, self.outputs, rows_at_once):
            rows = slice(first, first + rows_at_once)
            torch.mm(flat, self._rows(rows).mT, out=y[:, rows])
        if self._bias is not None:
            y += self._bias
        return y.view(*x.shape[:-1], self.outputs)

    def _rows(self, rows: slice) -> torch.Tensor:
        if self._made is None or self.unquantized:
            return self.stored[rows].float()
        codes, scales, grid = self._made
        return grid.restore(codes[rows], scales[rows])


def _vector(checkpoint: Checkpoint, name: str) -> torch.Tensor:
    parts = [rows.clone() for _, rows in checkpoint.chunks(name)]
    return torch.cat([part.view(-1) for part in parts])
