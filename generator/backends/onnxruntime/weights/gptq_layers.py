"""GPTQ over a whole model, one decoder layer in memory at a time.

Calibration windows go through a layer of the workspace's own modeling file as far as its linear
layers' inputs, whose Hessians are summed; these are quantized, and the windows then go through the
quantized layer, which makes the next one's input.

Shapes: W windows of S tokens, B of them at once, E hidden size, K inputs of a linear layer, M its
outputs, N groups a row.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property, partial
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn

from vacc_gen.generator.backends.onnxruntime.reference import build_on_meta, load_part
from vacc_gen.generator.backends.onnxruntime.weights.gptq import Gptq, Hessian, QuantizedMatrix
from vacc_gen.generator.backends.onnxruntime.weights.quantize import (
    CodesAndScales,
    Grid,
    Quantizer,
    torch_threads,
)
from vacc_gen.generator.backends.onnxruntime.weights.source import Checkpoint
from vacc_gen.generator.files import naming
from vacc_gen.generator.progress import Progress, SilentProgress
from vacc_gen.schema.errors import StageError
from vacc_gen.schema.falcon import EMBEDDING, HEAD, Architecture
from vacc_gen.schema.precision import Quantization

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


def quantization_order(
    architecture: Architecture, true_sequential: bool
) -> tuple[tuple[Linears, ...], ...]:
    """The linear layers of a block, in passes: those of one are quantized after the same run.

    With `true_sequential`, none before those whose output reaches its input.
    """
    passes: tuple[tuple[Linears, ...], ...]
    if not architecture.parallel_attn:
        passes = ((QKV,),), ((DENSE,),), ((UP,),), ((DOWN,),)
    elif architecture.separate_norms:
        passes = ((QKV,), (UP,)), ((DENSE,), (DOWN,))
    else:
        passes = ((QKV, UP),), ((DENSE,), (DOWN,))
    return passes if true_sequential else (tuple(s for each in passes for s in each),)


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
        self._true_sequential = settings.true_sequential is not False
        self._model = build_on_meta(modeling_file, checkpoint).transformer
        self._windows, self._work_dir = windows, work_dir
        widest = max(inputs for _, inputs in checkpoint.architecture.linears().values())
        self._threads = torch.get_num_threads() if widest >= THREADED_INPUTS else 1
        self._ready: dict[str, QuantizedMatrix] = {}

    def quantize(self, name: str, grid: Grid) -> Iterator[CodesAndScales]:
        if name in (EMBEDDING, HEAD):
            yield from super().quantize(name, grid)
            return
        if name not in self._ready:
            layer = int(name.split(".")[2])  # transformer.h.<layer>.
            with torch_threads(self._threads), torch.inference_mode():
                self._quantize_layer(layer, grid)
        made = self._ready.pop(name)
        yield made.codes, made.scales

    def settings(self) -> dict[str, object]:
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

    def _quantize_layer(self, layer: int, grid: Grid) -> None:
        """Quantize the next layer, and move the hidden states through it."""
        architecture, settings = self._checkpoint.architecture, self._settings
        layers, block = architecture.geometry.layers, self._model.h[layer]
        self._progress.say(f"GPTQ: layer {layer + 1} of {layers}")
        prefix = f"transformer.h.{layer}"
        load_part(block, prefix, self._checkpoint, SilentProgress(), self._device)
        linears = {name: block.get_submodule(name) for name in architecture.linears()}
        for sets in quantization_order(architecture, self._true_sequential):
            hessians = self._hessians(layer, linears, sets)
            for names in sets:
                gptq = Gptq(hessians.pop(names), settings.damp_percent, settings.desc_act)
                for name in names:
                    weight = linears[name].weight.data  # (M, K)
                    made = gptq.quantize(weight, grid)
                    weight.copy_(grid.restore(made.codes, made.scales))
                    self._ready[f"{prefix}.{name}.weight"] = made
                    errors = {"gptq": made.gptq_error, "rtn": made.rtn_error}
                    damping = {"damp_percent": gptq.damp_percent}
                    self.errors.append({"layer": layer, "linear": name} | errors | damping)
                del gptq  # so that its memory is free before the next one's factor takes some
        if layer + 1 < layers:
            for states in self._batches():
                states.copy_(self._run(block, states))
        self._model.h[layer] = nn.Identity()  # releases the weights

    def _hessians(
        self, layer: int, linears: dict[str, nn.Linear], sets: tuple[Linears, ...]
    ) -> dict[Linears, Hessian]:
        """Run the windows through the block until every set has had its inputs."""
        hessians: dict[Linears, Hessian] = {}
        waiting: set[Linears] = set()

        def add_inputs(names: Linears, linear: nn.Linear, inputs: tuple[torch.Tensor, ...]) -> None:
            if names not in hessians:  # not before: attention has large matrices of its own
                hessians[names] = Hessian(linear.in_features, self._device)
            hessians[names].add(inputs[0].reshape(-1, linear.in_features))
            waiting.discard(names)
            if not waiting:
                raise _EnoughError

        hooks = [
            linears[names[0]].register_forward_pre_hook(partial(add_inputs, names))
            for names in sets
        ]
        for states in self._batches():
            waiting.update(sets)
            with suppress(_EnoughError):
                self._run(self._model.h[layer], states)
            if waiting:
                unused = sorted(name for names in waiting for name in names)
                raise StageError(f"layer {layer} does not use {' and '.join(unused)}")
        for hook in hooks:
            hook.remove()
        return hessians

    def _run(self, block: Any, states: torch.Tensor) -> torch.Tensor:
        """Hidden states (B, S, E) after a block, from those before it."""
        args, kwargs = self._arguments
        after: torch.Tensor = block(states.to(self._device), *args, **kwargs)[0]
        return after

    def _batches(self) -> tuple[torch.Tensor, ...]:
        """The hidden states as views (B, S, E), each of the windows that fit in memory at once."""
        tokens = self._windows.shape[1]
        scores_bytes = 4 * tokens**2 * self._checkpoint.architecture.geometry.attention_heads
        windows = max(1, min(BATCH_TOKENS // tokens, SCORES_BYTES // scores_bytes))
        batches: tuple[torch.Tensor, ...] = self._states.split(windows)
        return batches

    @cached_property
    def _states(self) -> torch.Tensor:
        """Hidden states (W, S, E) before the next layer; at first, the token embeddings."""
        table = self._checkpoint.read(EMBEDDING)
        states = hidden_states((*self._windows.shape, table.shape[1]), self._work_dir)
        for window, token_ids in enumerate(self._windows.long()):
            states[window] = table[token_ids]
        return states

    @cached_property
    def _arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What the model gives to every block, and for every window, besides the hidden states."""
        caught: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

        def catch(_block: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            caught.append((args[1:], kwargs))
            raise _EnoughError

        width = self._checkpoint.architecture.geometry.hidden_size
        states = torch.zeros(1, self._windows.shape[1], width, device=self._device)
        hook = self._model.h[0].register_forward_pre_hook(catch, with_kwargs=True)
        with suppress(_EnoughError):
            self._model(inputs_embeds=states, use_cache=False)
        hook.remove()
        return caught[0]


class _EnoughError(Exception):
    """Ends a pass through a layer once all that was wanted of it has been seen."""


def hidden_states(shape: tuple[int, int, int], folder: Path) -> torch.Tensor:
    """An fp32 tensor (W, S, E) in a file without a name in `folder`, gone with the tensor."""
    folder.mkdir(parents=True, exist_ok=True)
    # macOS has no fallocate; without it, a disk that fills up later ends the process.
    allocate = getattr(os, "posix_fallocate", lambda file, _, size: os.truncate(file, size))
    with tempfile.TemporaryFile(dir=folder) as file, naming(folder / "hidden states"):
        allocate(file.fileno(), 0, 4 * prod(shape))
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
