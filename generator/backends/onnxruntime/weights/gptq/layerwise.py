"""GPTQ over a whole model, one decoder layer in memory at a time.

The layers are those of the workspace's own modeling file. For each, calibration windows go through
it as far as its linear layers' inputs, whose Hessians are summed; the linear layers are quantized;
and the windows go through the quantized layer, which makes the next one's input. For GPTAQ they
also go through the layer as it was, beside it.

Legend of shapes: W windows of S tokens, B of them at once, E hidden size, K inputs of a linear
layer, M its outputs, N groups a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vacc_gen.generator.backends.onnxruntime.reference import build_on_meta
from vacc_gen.generator.backends.onnxruntime.weights.gptq.activations import Activations
from vacc_gen.generator.backends.onnxruntime.weights.gptq.block import Arguments, Block
from vacc_gen.generator.backends.onnxruntime.weights.gptq.gptq import Gptq, QuantizedMatrix
from vacc_gen.generator.backends.onnxruntime.weights.gptq.hessian import Hessian
from vacc_gen.generator.backends.onnxruntime.weights.quantize import Grid, RoundToNearest
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

Stage = tuple[tuple[str, ...], ...]
"""Sets of linear layers that are quantized after one pass; those of a set share their input."""


@dataclass(frozen=True)
class LinearError:
    """What quantizing one linear layer does to its output on the calibration data."""

    layer: int
    linear: str
    """Such as `mlp.dense_4h_to_h`."""
    gptq: float
    """Squared error of the output over the squared output."""
    rtn: float
    """The same, had its weights been rounded to nearest."""
    damp_percent: float
    """The damping that was needed."""


def stages_of(architecture: Architecture, true_sequential: bool) -> tuple[Stage, ...]:
    """In which order the linear layers of a block are quantized.

    With `true_sequential`, none before those whose output reaches its input.
    """
    stages: tuple[Stage, ...]
    if not architecture.parallel:
        stages = ((QKV,),), ((DENSE,),), ((UP,),), ((DOWN,),)
    elif architecture.separate_norms:
        stages = ((QKV,), (UP,)), ((DENSE,), (DOWN,))
    else:
        stages = ((QKV, UP),), ((DENSE,), (DOWN,))
    return stages if true_sequential else (tuple(s for stage in stages for s in stage),)


class GptqQuantizer:
    """A `Quantizer` whose linear layers are GPTQ's; embedding and head are rounded to nearest."""

    def __init__(
        self,
        modeling_file: Path,
        checkpoint: Checkpoint,
        windows: torch.Tensor,
        settings: Quantization,
        spill_to: Path,
        progress: Progress,
    ) -> None:
        """Take calibration `windows`, int32 (W, S); work begins when a layer is asked for.

        Raises:
            StageError: the modeling file does not fit the checkpoint, or the device is not there.
        """
        self.errors: list[LinearError] = []
        """Of every linear layer that was quantized so far."""
        self._checkpoint, self._settings, self._progress = checkpoint, settings, progress
        self._device = device_of(settings.device)
        self._true_sequential = settings.true_sequential is not False
        self._model = build_on_meta(modeling_file, checkpoint)
        self._windows, self._spill_to = windows, spill_to
        widest = max(inputs for _, inputs in checkpoint.architecture.linears().values())
        self._threads = torch.get_num_threads() if widest >= THREADED_INPUTS else 1
        self._states: Activations | None = None
        self._unquantized: Activations | None = None
        """Hidden states of the model as it was, where they are aimed at."""
        self._gptaq = False
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
            with all_threads(self._threads), torch.inference_mode():
                self._quantize_layer(grid)
        made = self._ready.pop(name)
        yield 0, made.codes, made.scales

    def settings_told(self) -> dict[str, object]:
        """The settings in force, for a report."""
        windows, tokens = self._windows.shape
        return {
            "desc_act": self._settings.desc_act,
            "damp_percent": self._settings.damp_percent,
            "true_sequential": self._true_sequential,
            "gptaq": self._gptaq,
            "device": str(self._device),
            "windows": windows,
            "seqlen": tokens,
            "spilled": self._states is not None and self._states.spilled,
        }

    def close(self) -> None:
        """Give the hidden states' memory or disk back."""
        for states in (self._states, self._unquantized):
            if states is not None:
                states.close()

    def _quantize_layer(self, grid: Grid) -> None:
        """Quantize the next layer, and move the hidden states through it."""
        layer, layers = self._next_layer, self._checkpoint.architecture.geometry.layers
        self._next_layer += 1
        self._progress.say(f"GPTQ: layer {layer + 1} of {layers}")
        if self._states is None:
            wanted = self._settings.gptaq
            self._gptaq = grid.bits == 4 if wanted is None else wanted
            self._states = self._embed()
            self._unquantized = self._embed() if self._gptaq else None
            self._arguments = self._block_arguments()
        block = Block(self._checkpoint, layer, self._model.transformer.h[layer], self._device)
        for stage in stages_of(self._checkpoint.architecture, self._true_sequential):
            hessians = self._hessians(block, stage)
            for names in stage:
                # Taken out, so that its memory is free before the next one's factor takes some.
                self._quantize_set(block, names, hessians.pop(names), grid)
        if layer + 1 < layers:
            for first, states, unquantized in self._batches():
                self._states.write(first, block.run(states, self._arguments))
                if self._unquantized is not None:
                    with block.unquantized():
                        after = block.run(unquantized, self._arguments)
                    self._unquantized.write(first, after)
        block.drop()

    def _quantize_set(
        self, block: Block, names: tuple[str, ...], hessian: Hessian, grid: Grid
    ) -> None:
        gptq = Gptq(hessian, self._settings.damp_percent, self._settings.desc_act)
        for name in names:
            made = gptq.quantize(block.linears[name].stored, grid)
            block.linears[name].use(made, grid, keep=self._gptaq)
            parameter = f"transformer.h.{block.layer}.{name}.weight"
            self._ready[parameter] = made
            self.errors.append(
                LinearError(block.layer, name, made.gptq_error, made.rtn_error, gptq.damp_percent)
            )

    def _hessians(self, block: Block, stage: Stage) -> dict[tuple[str, ...], Hessian]:
        """Run the windows through the block until every set of `stage` has had its inputs."""
        hessians: dict[tuple[str, ...], Hessian] = {}
        waiting: set[tuple[str, ...]] = set()
        aims: dict[tuple[str, ...], torch.Tensor] = {}

        def listen(names: tuple[str, ...]) -> Callable[..., None]:
            def hear(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
                x = inputs[0].reshape(-1, inputs[0].shape[-1])
                if block.linears[names[0]].unquantized:
                    aims[names] = x
                else:
                    if names not in hessians:  # not before: attention has large matrices of its own
                        hessians[names] = Hessian(x.shape[1], self._device)
                    hessians[names].add(x, aims.pop(names, None))
                waiting.discard(names)
                if not waiting:
                    raise _EnoughError

            return hear

        hooks = [
            block.linears[names[0]].register_forward_pre_hook(listen(names)) for names in stage
        ]
        try:
            for _, states, unquantized in self._batches():
                if self._gptaq:
                    with block.unquantized():
                        self._run_into(block, unquantized, waiting, stage)
                self._run_into(block, states, waiting, stage)
        finally:
            for hook in hooks:
                hook.remove()
        return hessians

    def _run_into(
        self, block: Block, states: torch.Tensor, waiting: set[tuple[str, ...]], stage: Stage
    ) -> None:
        """Run `states` into the block, until those who listen are no longer `waiting`."""
        waiting.update(stage)
        try:
            block.run(states, self._arguments)
        except _EnoughError:
            return
        unused = sorted(name for names in waiting for name in names)
        raise StageError(f"layer {block.layer} does not use {' and '.join(unused)}")

    def _batches(self) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
        """Yield (first window, hidden states, those of the unquantized model or the same)."""
        assert self._states is not None
        tokens = self._windows.shape[1]
        scores_bytes = 4 * tokens**2 * self._checkpoint.architecture.geometry.attention_heads
        windows = min(BATCH_TOKENS // tokens, SCORES_BYTES // scores_bytes)
        for first, states in self._states.batches(max(1, windows)):
            beside = states
            if self._unquantized is not None:
                beside = self._unquantized.read(first, len(states))
            yield first, states.to(self._device), beside.to(self._device)

    def _embed(self) -> Activations:
        """The windows' token embeddings, picked out of the table as it is read."""
        count, tokens = self._windows.shape
        width = self._checkpoint.architecture.geometry.hidden_size
        states = Activations(count, tokens, width, self._spill_to)
        wanted, places = self._windows.long().unique(return_inverse=True)
        table = torch.empty(len(wanted), width)
        for first, rows in self._checkpoint.chunks(EMBEDDING):
            begin, end = torch.searchsorted(
                wanted, torch.tensor([first, first + len(rows)])
            ).tolist()
            table[begin:end] = rows[wanted[begin:end] - first]
        for window in range(count):
            states.write(window, table[places[window]][None])
        return states

    def _block_arguments(self) -> Arguments:
        """What the model gives to every block besides the hidden states: masks and angles.

        Windows are all of one length and have no padding, so these are the same for all.
        """
        caught: list[Arguments] = []

        def catch(_block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            caught.append((args[1:], kwargs))
            raise _EnoughError

        model = self._model.transformer
        hook = model.h[0].register_forward_pre_hook(catch, with_kwargs=True)
        width = self._checkpoint.architecture.geometry.hidden_size
        nothing = torch.zeros(1, self._windows.shape[1], width, device=self._device)
        try:
            model(inputs_embeds=nothing, use_cache=False)
        except _EnoughError:
            return caught[0]
        finally:
            hook.remove()
        raise StageError("the modeling file's first block is never called")


class _EnoughError(Exception):
    """Ends a pass through a layer once all that was wanted of it has been seen."""


def device_of(name: str | None) -> torch.device:
    """The device that a recipe names, the CPU where it names none.

    Raises:
        StageError: there is no such device here.
    """
    device = torch.device(name or "cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise StageError(
            f"quantization.device is {name}, and PyTorch sees {torch.cuda.device_count()} GPUs",
            "set quantization.device to cpu in vacc.yaml, or install a PyTorch built for CUDA",
        )
    return device


@contextmanager
def all_threads(threads: int) -> Iterator[None]:
    """Let PyTorch use `threads` threads in the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
