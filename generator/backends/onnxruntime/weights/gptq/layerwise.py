"""GPTQ over a whole model, one decoder layer in memory at a time.

The layers are those of the workspace's own modeling file. For each, calibration windows go through
it as far as its linear layers' inputs, whose Hessians are summed; the linear layers are quantized;
and the windows go through the quantized layer, which makes the next one's input.

Shapes: W windows of S tokens, E hidden size, K inputs of a linear layer, N groups a row.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vacc_gen.generator.backends.onnxruntime.reference import build_on_meta
from vacc_gen.generator.backends.onnxruntime.weights.gptq.block import Arguments, Block
from vacc_gen.generator.backends.onnxruntime.weights.gptq.gptq import Gptq, QuantizedMatrix
from vacc_gen.generator.backends.onnxruntime.weights.gptq.hessian import Hessian
from vacc_gen.generator.backends.onnxruntime.weights.quantize import (
    Grid,
    RoundToNearest,
    torch_threads,
)
from vacc_gen.generator.backends.onnxruntime.weights.source import Checkpoint
from vacc_gen.generator.progress import Progress
from vacc_gen.schema.errors import StageError
from vacc_gen.schema.falcon import EMBEDDING, HEAD, Architecture
from vacc_gen.schema.precision import Quantization

BATCH_TOKENS = 2048
"""Tokens that go through a layer at once: products of this height run at full speed."""

SCORES_BYTES = 160 << 20
"""Of attention scores at once; a few copies of them come and go."""

THREADED_INPUTS = 1024
"""Inputs of the widest layer from which on more than one thread is used: for less, threads wait for
each other longer than they work, ten times as long on a busy machine."""

QKV, DENSE = "self_attention.query_key_value", "self_attention.dense"
UP, DOWN = "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"

Linears = tuple[str, ...]
"""Names of linear layers that share their input, and so one Hessian."""


def quantization_order(
    architecture: Architecture, true_sequential: bool
) -> tuple[tuple[Linears, ...], ...]:
    """The linear layers of a block, in passes: those of one are quantized after the same run.

    With `true_sequential`, none before those whose output reaches its input.
    """
    passes: tuple[tuple[Linears, ...], ...]
    if not architecture.parallel:
        passes = ((QKV,),), ((DENSE,),), ((UP,),), ((DOWN,),)
    elif architecture.separate_norms:
        passes = ((QKV,), (UP,)), ((DENSE,), (DOWN,))
    else:
        passes = ((QKV, UP),), ((DENSE,), (DOWN,))
    return passes if true_sequential else (tuple(s for each in passes for s in each),)


class GptqQuantizer:
    """A `Quantizer` whose linear layers are GPTQ's; embedding and head are rounded to nearest."""

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
        self.errors: list[dict[str, object]] = []
        self._checkpoint, self._settings, self._progress = checkpoint, settings, progress
        self._device = device_of(settings.device)
        self._true_sequential = settings.true_sequential is not False
        self._model = build_on_meta(modeling_file, checkpoint)
        self._windows, self._work_dir = windows, work_dir
        widest = max(inputs for _, inputs in checkpoint.architecture.linears().values())
        self._threads = torch.get_num_threads() if widest >= THREADED_INPUTS else 1
        self._states: torch.Tensor | None = None
        self._ready: dict[str, QuantizedMatrix] = {}
        self._next_layer = 0

    def quantize(
        self, checkpoint: Checkpoint, name: str, grid: Grid
    ) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
        """Yield (first row, codes (R, K), scales (R, N)); see `Quantizer`."""
        if name in (EMBEDDING, HEAD):
            yield from RoundToNearest().quantize(checkpoint, name, grid)
            return
        if name not in self._ready:
            with torch_threads(self._threads), torch.inference_mode():
                self._quantize_layer(grid)
        quantized = self._ready.pop(name)
        yield 0, quantized.codes, quantized.scales

    def settings(self) -> dict[str, object]:
        """The settings in force, for the report."""
        windows, tokens = self._windows.shape
        return {
            "method": "gptq",
            "desc_act": self._settings.desc_act,
            "damp_percent": self._settings.damp_percent,
            "true_sequential": self._true_sequential,
            "device": str(self._device),
            "windows": windows,
            "seqlen": tokens,
        }

    def _quantize_layer(self, grid: Grid) -> None:
        """Quantize the next layer, and move the hidden states through it."""
        layer, layers = self._next_layer, self._checkpoint.architecture.geometry.layers
        self._next_layer += 1
        self._progress.say(f"GPTQ: layer {layer + 1} of {layers}")
        if self._states is None:
            self._states = self._embed()
            self._arguments = self._block_arguments()
        block = Block(self._checkpoint, layer, self._model.transformer.h[layer], self._device)
        for sets in quantization_order(self._checkpoint.architecture, self._true_sequential):
            hessians = self._hessians(block, sets)
            for names in sets:
                # Taken out, so that its memory is free before the next one's factor takes some.
                self._quantize_set(block, names, hessians.pop(names), grid)
        if layer + 1 < layers:
            for first, states in self._batches():
                self._states[first : first + len(states)] = block.run(states, self._arguments)
        self._model.transformer.h[layer] = torch.nn.Identity()  # releases the weights

    def _quantize_set(self, block: Block, names: Linears, hessian: Hessian, grid: Grid) -> None:
        gptq = Gptq(hessian, self._settings.damp_percent, self._settings.desc_act)
        for name in names:
            made = gptq.quantize(block.linears[name].stored, grid)
            block.linears[name].use(made, grid)
            self._ready[f"transformer.h.{block.layer}.{name}.weight"] = made
            errors = {"gptq": made.gptq_error, "rtn": made.rtn_error}
            damping = {"damp_percent": gptq.damp_percent}
            self.errors.append({"layer": block.layer, "linear": name} | errors | damping)

    def _hessians(self, block: Block, sets: tuple[Linears, ...]) -> dict[Linears, Hessian]:
        """Run the windows through the block until every set has had its inputs."""
        hessians: dict[Linears, Hessian] = {}
        waiting: set[Linears] = set()

        def add_inputs(linear: Any, inputs: tuple[torch.Tensor, ...]) -> None:
            (names,) = (names for names in sets if block.linears[names[0]] is linear)
            if names not in hessians:  # not before: attention has large matrices of its own
                hessians[names] = Hessian(linear.inputs, self._device)
            hessians[names].add(inputs[0].reshape(-1, linear.inputs))
            waiting.discard(names)
            if not waiting:
                raise _EnoughError

        hooks = [block.linears[names[0]].register_forward_pre_hook(add_inputs) for names in sets]
        for _, states in self._batches():
            waiting.update(sets)
            with suppress(_EnoughError):
                block.run(states, self._arguments)
            if waiting:
                unused = sorted(name for names in waiting for name in names)
                raise StageError(f"layer {block.layer} does not use {' and '.join(unused)}")
        for hook in hooks:
            hook.remove()
        return hessians

    def _batches(self) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield (first window, hidden states (B, S, E)) of the B windows that fit in memory."""
        assert self._states is not None
        tokens = self._windows.shape[1]
        scores_bytes = 4 * tokens**2 * self._checkpoint.architecture.geometry.attention_heads
        windows = max(1, min(BATCH_TOKENS // tokens, SCORES_BYTES // scores_bytes))
        for first in range(0, len(self._states), windows):
            yield first, self._states[first : first + windows].to(self._device)

    def _embed(self) -> torch.Tensor:
        """The windows' token embeddings (W, S, E)."""
        table = self._checkpoint.read(EMBEDDING)
        states = hidden_states((*self._windows.shape, table.shape[1]), self._work_dir)
        for window, token_ids in enumerate(self._windows.long()):
            states[window] = table[token_ids]
        return states

    def _block_arguments(self) -> Arguments:
        """What the model gives to every block besides the hidden states: masks and angles.

        Windows are all of one length and have no padding, so these are the same for all.
        """
        caught: list[Arguments] = []

        def catch(_block: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            caught.append((args[1:], kwargs))
            raise _EnoughError

        model = self._model.transformer
        width = self._checkpoint.architecture.geometry.hidden_size
        states = torch.zeros(1, self._windows.shape[1], width, device=self._device)
        hook = model.h[0].register_forward_pre_hook(catch, with_kwargs=True)
        with suppress(_EnoughError):
            model(inputs_embeds=states, use_cache=False)
        hook.remove()
        if not caught:
            raise StageError("the modeling file's first block is never called")
        return caught[0]


class _EnoughError(Exception):
    """Ends a pass through a layer once all that was wanted of it has been seen."""


def hidden_states(shape: tuple[int, int, int], folder: Path) -> torch.Tensor:
    """An fp32 tensor (W, S, E) in a file without a name in `folder`, gone with the tensor.

    The system keeps as much of it in memory as there is room for.

    Raises:
        StageError: the disk has too little.
    """
    size_bytes = 4 * prod(shape)
    folder.mkdir(parents=True, exist_ok=True)
    # macOS has no fallocate; without it, a disk that fills up later ends the process.
    allocate = getattr(os, "posix_fallocate", lambda file, _, size: os.truncate(file, size))
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            allocate(file.fileno(), 0, size_bytes)
        except OSError as error:
            raise StageError(
                f"hidden states of {shape[0]} calibration windows take {size_bytes / 1e9:.2f} GB, "
                f"more than {folder} can hold: {error.strerror}",
                "free some disk, or set calibration.samples or calibration.seqlen lower",
            ) from error
        return torch.from_numpy(np.memmap(file, np.float32, "r+", shape=shape))


def device_of(name: str | None) -> torch.device:
    """The device that a recipe names, the CPU where it names none.

    Raises:
        StageError: there is no such device here.
    """
    device = torch.device(name or "cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise StageError(
            f"quantization.device is {name}, but PyTorch sees {torch.cuda.device_count()} GPUs",
            "set quantization.device to cpu in vacc.yaml, or install a PyTorch built for CUDA",
        )
    return device
