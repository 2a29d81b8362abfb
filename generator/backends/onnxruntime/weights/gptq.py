"""GPTQ (Frantar et al. 2022, arXiv:2210.17323): weights rounded one input after the other, each
row making up with the inputs that are left for what rounding the earlier ones did to its output.

The method inverts the Hessian. The same weights come of Babai's nearest plane (Chen et al. 2025,
arXiv:2507.18553) at half the cost: with H = L L^T, a row's output error |(w - q) L| is a sum of one
square per input, each zero but for the rounding if

    q_k = round(w_k + sum over i > k of (w_i - q_i) L_ik / L_kk)

so the factor's last input is rounded first, and nothing is inverted.

One decoder layer is in memory at a time: calibration windows go through it, as the workspace's own
modeling file has it, as far as its linear layers' inputs, whose Hessians are summed; these are
quantized, and the windows then go through the quantized layer, which makes the next one's input.

Shapes: W windows of S tokens, B of them at once, E hidden size; K inputs of a linear layer, M its
outputs (rows), R of them in a sweep, N groups a row, C inputs of a block, T tokens.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import nn

from vacc_gen.generator.backends.onnxruntime.reference import build_on_meta, load_part
from vacc_gen.generator.backends.onnxruntime.weights.quantize import (
    CodesAndScales,
    Grid,
    Quantizer,
    scales_of,
    torch_threads,
)
from vacc_gen.generator.backends.onnxruntime.weights.source import Checkpoint
from vacc_gen.generator.files import naming
from vacc_gen.generator.progress import Progress
from vacc_gen.schema.errors import StageError
from vacc_gen.schema.falcon import EMBEDDING, HEAD, Architecture
from vacc_gen.schema.recipe import Quantization

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

BATCH_TOKENS = 2048
"""Tokens that go through a layer at once: products of this height run at full speed."""

SCORES_BYTES = 160 << 20
"""Of attention scores at once; a few copies of them come and go."""

THREADED_INPUTS = 1024
"""Of the widest layer: with fewer inputs, threads wait for each other longer than they work."""

QKV, DENSE = "self_attention.query_key_value", "self_attention.dense"
UP, DOWN = "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"

Linears: TypeAlias = tuple[str, ...]
"""Names of linear layers that share their input, and so one Hessian."""


class Hessian:
    """The sum of x x^T over the inputs x of some layers: up to a factor, their squared errors.

    The upper triangle holds the sum, the lower one then takes the Cholesky factor, so that they
    share one matrix: at 18,176 inputs (falcon-7b's widest) one is 1.3 GB.
    """

    def __init__(self, inputs: int, device: torch.device) -> None:
        self.matrix = torch.zeros(inputs, inputs, device=device)
        """(K, K): the sum on and above the diagonal; after `factor`, L on and below."""
        self.order = torch.arange(inputs, device=device)
        """(K): the input at each place of the factor, whose last place is rounded first."""

    def add(self, x: torch.Tensor) -> None:
        """Add the inputs x (T, K), fp32."""
        for first, end in self._panels():
            self.matrix[first:end, first:].addmm_(x[:, first:end].mT, x[:, first:])

    def factor(self, damp_percent: float, desc_act: bool) -> float:
        """Compute L with L L^T = sum + damping, and return the damping that it took.

        Inputs are rounded from the first to the last; with `desc_act`, those with the largest
        activations first. The damping, `damp_percent` of the diagonal's mean, is raised tenfold as
        long as the sum is not positive definite. An input that was always zero gets the mean.

        Raises:
            StageError: an input was not finite.
        """
        strengths = self.matrix.diagonal()
        if not desc_act:
            strengths = torch.zeros_like(strengths)
        self.order = strengths.argsort(descending=True, stable=True).flip(0)
        self._permute()
        diagonal = self.matrix.diagonal().clone()
        mean = diagonal.mean().item() or 1.0
        if not math.isfinite(mean):
            raise StageError("activations are NaN or infinite on the calibration texts")
        while True:
            damped = diagonal.masked_fill(diagonal == 0, mean) + damp_percent * mean
            self.matrix.diagonal().copy_(damped)
            if self._cholesky():
                return damp_percent
            self._mirror()
            damp_percent *= 10

    def quantize(self, weight: torch.Tensor, grid: Grid) -> CodesAndScales:
        """Round `weight` (M, K), of any float dtype, to `grid`; its scales are the weight's own."""
        outputs, inputs = weight.shape
        codes = torch.empty(outputs, inputs, dtype=torch.uint8)
        scales = torch.empty(outputs, inputs // grid.group_width(inputs))
        rows_per_sweep = max(1, SWEEP_BYTES // (4 * inputs))
        for first in range(0, outputs, rows_per_sweep):
            rows = slice(first, first + rows_per_sweep)
            wide = weight[rows].to(self.order.device, torch.float32)
            scales[rows] = row_scales = scales_of(wide, grid)
            codes[rows] = self._round(wide.mT[self.order], row_scales, grid)
        return codes, scales

    def _panels(self) -> list[tuple[int, int]]:
        inputs = len(self.matrix)
        return [(first, min(first + PANEL, inputs)) for first in range(0, inputs, PANEL)]

    def _mirror(self) -> None:
        """Write the sum's lower triangle, from its upper one."""
        for first, end in self._panels():
            self.matrix[end:, first:end] = self.matrix[first:end, end:].mT

    def _permute(self) -> None:
        """Bring the inputs into the factor's order, in place."""
        self._mirror()
        for first, end in self._panels():
            self.matrix[first:end] = self.matrix[first:end, self.order]
        for first, end in self._panels():
            self.matrix[:, first:end] = self.matrix[self.order, first:end]

    def _cholesky(self) -> bool:
        """Replace the lower triangle by its factor, block by block; False where it has none.

        The left-looking form: it writes nothing but the factor, so the upper triangle keeps the
        sum (Golub and Van Loan, Matrix Computations, 4.2.8).
        """
        matrix = self.matrix
        for first, end in self._panels():
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

    def _round(self, columns: torch.Tensor, scales: torch.Tensor, grid: Grid) -> torch.Tensor:
        """Codes (R, K) of `columns` (K, R), in the factor's order, which are overwritten."""
        inputs, factor = len(columns), self.matrix
        scale_columns = scales.mT.contiguous()  # (N, R)
        codes = torch.empty(columns.shape, dtype=torch.uint8, device=columns.device)
        for panel_end in range(inputs, 0, -PANEL):
            panel = max(0, panel_end - PANEL)
            later = factor[panel_end:, panel:panel_end].mT @ columns[panel_end:]
            for end in range(panel_end, panel, -BLOCK):
                first = max(panel, end - BLOCK)
                order = self.order[first:end]
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


def quantization_order(
    architecture: Architecture, true_sequential: bool
) -> tuple[tuple[Linears, ...], ...]:
    """The linear layers of a block, in passes: those of one are quantized after the same run.

    Sets of a pass are in the order in which the block runs them. With `true_sequential`, none is
    quantized before those whose output reaches its input.
    """
    passes: tuple[tuple[Linears, ...], ...]
    if not architecture.parallel_attn:
        passes = ((QKV,),), ((DENSE,),), ((UP,),), ((DOWN,),)
    elif architecture.separate_norms:
        passes = ((QKV,), (UP,)), ((DENSE,), (DOWN,))
    else:
        passes = ((QKV, UP),), ((DENSE,), (DOWN,))
    return passes if true_sequential else (sum(passes, ()),)


class GptqQuantizer(Quantizer):
    """Linear layers are GPTQ's; embedding and head are rounded to nearest."""

    def __init__(
        self,
        modeling_file: Path,
        checkpoint: Checkpoint,
        windows: torch.Tensor,
        settings: Quantization,
        work_dir: Path,
        progress: Progress,
    ) -> None:
        """Take calibration `windows`, int32 (W, S); work begins when a layer is asked for.

        Raises:
            StageError: the modeling file does not fit the checkpoint, or the device is not there.
        """
        super().__init__(checkpoint)
        self._settings, self._progress = settings, progress
        self._device = device_of(settings.device)
        self._damp_percent = settings.damp_percent
        self._true_sequential = settings.true_sequential is not False
        self._model = build_on_meta(modeling_file, checkpoint).transformer
        self._blocks, self._model.ln_f = self._model.h, nn.Identity()
        self._windows, self._work_dir = windows, work_dir
        widest = max(inputs for _, inputs in checkpoint.architecture.linears().values())
        self._threads = torch.get_num_threads() if widest >= THREADED_INPUTS else 1
        self._states: tuple[torch.Tensor, ...] = ()
        self._ready: dict[str, CodesAndScales] = {}

    def quantize(self, name: str, grid: Grid) -> Iterator[CodesAndScales]:
        if name in (EMBEDDING, HEAD):
            yield from super().quantize(name, grid)
            return
        if name not in self._ready:
            layer = int(name.split(".")[2])  # transformer.h.<layer>.
            with torch_threads(self._threads), torch.inference_mode():
                self._quantize_layer(layer, grid)
        yield self._ready.pop(name)

    def settings(self) -> dict[str, object]:
        windows, tokens = self._windows.shape
        return {
            "method": "gptq",
            "desc_act": self._settings.desc_act,
            "damp_percent": self._damp_percent,
            "true_sequential": self._true_sequential,
            "device": str(self._device),
            "windows": windows,
            "seqlen": tokens,
        }

    def _quantize_layer(self, layer: int, grid: Grid) -> None:
        """Quantize the next layer, and move the hidden states through it."""
        architecture, settings = self._checkpoint.architecture, self._settings
        layers, block = architecture.geometry.layers, self._blocks[layer]
        self._progress.say(f"GPTQ: layer {layer + 1} of {layers}")
        self._states = self._states or self._embedded()
        prefix = f"transformer.h.{layer}"
        load_part(block, prefix, self._checkpoint, Progress(), self._device)
        self._model.h = nn.ModuleList([block])  # the model is this layer alone
        linears = {name: block.get_submodule(name) for name in architecture.linears()}
        for sets in quantization_order(architecture, self._true_sequential):
            hessians = self._hessians(layer, linears, sets)
            for names in sets:
                hessian = hessians.pop(names)
                damping = hessian.factor(settings.damp_percent, settings.desc_act)
                self._damp_percent = max(self._damp_percent, damping)
                for name in names:
                    weight = linears[name].weight.data  # (M, K)
                    made = self._ready[f"{prefix}.{name}.weight"] = hessian.quantize(weight, grid)
                    weight.copy_(grid.restore(*made))
                del hessian  # so that its memory is free before the next one's factor takes some
        if layer + 1 < layers:
            for states in self._states:
                states.copy_(self._run(states))
        block.to("meta")

    def _hessians(
        self, layer: int, linears: dict[str, nn.Linear], sets: tuple[Linears, ...]
    ) -> dict[Linears, Hessian]:
        """Run the windows through the block until the last set has had its inputs."""
        hessians: dict[Linears, Hessian] = {}

        def add_inputs(names: Linears, linear: nn.Linear, inputs: tuple[torch.Tensor, ...]) -> None:
            if names not in hessians:  # not before: attention has large matrices of its own
                hessians[names] = Hessian(linear.in_features, self._device)
            hessians[names].add(inputs[0].reshape(-1, linear.in_features))
            if names == sets[-1]:
                raise _EnoughError

        hooks = [
            linears[names[0]].register_forward_pre_hook(partial(add_inputs, names))
            for names in sets
        ]
        for states in self._states:
            with suppress(_EnoughError):
                self._run(states)
        for hook in hooks:
            hook.remove()
        for names in sets:
            if names not in hessians:
                raise StageError(f"layer {layer} does not use {' and '.join(names)}")
        return hessians

    def _run(self, states: torch.Tensor) -> torch.Tensor:
        """Hidden states (B, S, E) after the layer, from those before it."""
        mask = torch.ones(1, states.shape[1], dtype=torch.long, device=self._device)  # of all
        states = states.to(self._device)
        after: torch.Tensor = self._model(None, mask, inputs_embeds=states, use_cache=False)[0]
        return after

    def _embedded(self) -> tuple[torch.Tensor, ...]:
        """Hidden states before the first layer as views (B, S, E) of what fits in memory at once.

        All (W, S, E) are in a file.
        """
        (windows, tokens), geometry = self._windows.shape, self._checkpoint.architecture.geometry
        table = self._model.word_embeddings
        load_part(table, "transformer.word_embeddings", self._checkpoint, Progress())
        states = hidden_states((windows, tokens, geometry.hidden_size), self._work_dir)
        for window, token_ids in enumerate(self._windows):
            states[window] = table(token_ids)
        table.to("meta")
        scores_bytes = 4 * tokens**2 * geometry.attention_heads
        at_once = max(1, min(BATCH_TOKENS // tokens, SCORES_BYTES // scores_bytes))
        batches: tuple[torch.Tensor, ...] = states.split(at_once)
        return batches


class _EnoughError(Exception):
    """Ends a pass through a layer once all that was wanted of it has been seen."""


def hidden_states(shape: tuple[int, int, int], folder: Path) -> torch.Tensor:
    """An fp32 tensor (W, S, E) in a file without a name in `folder`, gone with the tensor."""
    folder.mkdir(parents=True, exist_ok=True)
    # macOS has no fallocate; without it, a disk that fills up later ends the process.
    allocate = getattr(os, "posix_fallocate", lambda file, _, size: os.truncate(file, size))
    with tempfile.TemporaryFile(dir=folder) as file, naming(folder / "hidden states"):
        allocate(file.fileno(), 0, 4 * math.prod(shape))
        return torch.from_numpy(np.memmap(file, np.float32, "r+", shape=shape))


def device_of(name: str | None) -> torch.device:
    """The device that a recipe names, the CPU where it names none; a StageError if not here."""
    device = torch.device(name or "cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise StageError(
            f"quantization.device is {name}, but PyTorch sees {torch.cuda.device_count()} GPUs",
            "set quantization.device to cpu in vacc.yaml, or install a PyTorch built for CUDA",
        )
    return device
