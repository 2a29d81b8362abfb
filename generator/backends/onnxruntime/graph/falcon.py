"""Emits the ONNX graph of a Falcon directly: the same nodes for every layer, nothing traced.

Legend of shapes:
    B  batch               H  hidden size            KV  heads of the cache
    S  tokens fed          D  head size              G   query heads a KV head
    L  tokens in the past  V  vocabulary
    T  tokens attended to = L + S
    R  rows (tokens), K inputs and M outputs of a matrix

The residual stream, norms, softmax and rotary angles are fp32 in every graph; linear layers, the
products of attention and the cache are in the graph's own dtype (fp16, or fp32 where weights are
fp32 or int).

A matrix is multiplied by how it is stored:
    float   Gemm reads (outputs, inputs) as it lies.
    groups  MatMulNBits and GatherBlockQuantized: codes (outputs, inputs), a scale for each group.
    int8    MatMulInteger: codes (inputs, outputs) and a scale for each output, times activations
            that are rounded to 8 bits row by row. These are uint8 with their zero at 128: with int8
            activations, ONNX Runtime has no fast kernel on x86.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from vacc_gen.generator.backends.onnxruntime.graph.attention import (
    PAST,
    PRESENT,
    Axes,
    FusedAttention,
    PlainAttention,
)
from vacc_gen.generator.backends.onnxruntime.graph.builder import CONTRIB_DOMAIN, GraphBuilder
from vacc_gen.generator.backends.onnxruntime.weights.quantize import Grid
from vacc_gen.generator.backends.onnxruntime.weights.weight_file import Layout
from vacc_gen.schema.falcon import EMBEDDING, FINAL_NORM, HEAD, Architecture

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64

ZERO_CODE, MAX_CODE = 128, 127
"""Of activations: codes from 1 to 255, the same to either side of zero."""

SMALLEST_SCALE = 1e-30
"""Of a row of zeros, so that none divides by zero."""

ACCURACY_LEVELS = {"int8": 4, "float": 0}
"""What MatMulNBits calls the activations that it computes with."""

DYNAMIC_AXES = Axes(
    "batch_size",
    "sequence_length",
    "past_sequence_length",
    "past_sequence_length + sequence_length",
)
"""One graph for every length; the names are those that Optimum gives."""

SCORING_AXES = Axes("batch_size", "sequence_length", None, "sequence_length")
"""No past, any length, the logits of every position: for measuring, not for serving."""


def runtime_axes(architecture: Architecture) -> Axes:
    """Of the graph that is deployed: any number of new tokens after any number of cached ones.

    Rotary models keep the cache in one buffer, which the caller gives as past and as present.
    """
    cache = None if architecture.alibi else "cache_length"
    return replace(DYNAMIC_AXES, cache=cache, last_only=True)


def falcon_graph(
    name: str,
    architecture: Architecture,
    layout: Layout,
    axes: Axes,
    activations: str,
    metadata: Mapping[str, str],
) -> onnx.ModelProto:
    """Emit the graph called `name`.

    Inputs: `input_ids` (B, S), `attention_mask` (B, T) with 1 for tokens that count,
    `position_ids` (B, S), `past_key_values.{i}.key` and `.value` (B, KV, L, D).
    Outputs: `logits` (B, S, V) or of the last position alone (B, 1, V), in static graphs of the
    last that the mask counts; `present.{i}.key` and `.value` (B, KV, T, D).
    Past and present are of the dtype of the graph.
    The mask alone says which slots of the past count, so a cache may be padded anywhere; ALiBi
    counts positions along the mask, so there slots must be in the order of the text.
    Where past and present share a cache, both are (B, KV, slots, D), a text begins at the first
    slot, and there are no `position_ids`.
    `activations`: what int weights are multiplied with, "int8" or "float".
    """
    emitter = _Emitter(name, architecture, layout, axes, activations)
    emitter.emit()
    return emitter.g.model({"vacc_gen.dtype": layout.dtype, **metadata})


class _Emitter:
    """Holds what all parts of one graph share."""

    def __init__(
        self, name: str, arch: Architecture, layout: Layout, axes: Axes, activations: str
    ) -> None:
        self.g = GraphBuilder(name, is_half=layout.dtype == "fp16")
        self.arch, self.axes, self.activations = arch, axes, activations
        self.tensors, self.grids = layout.tensors, layout.grids
        self.rounded: dict[str, tuple[str, str]] = {}
        """By value: its codes and the scales of its rows, for all products that share it."""
        self._declare()
        kind = PlainAttention if axes.cache is None else FusedAttention
        self.attention = kind(self.g, arch, axes)

    def _declare(self) -> None:
        """Declare inputs and outputs, in the order that callers know."""
        g, axes, geometry = self.g, self.axes, self.arch.geometry
        g.input("input_ids", INT64, (axes.batch, axes.sequence))
        g.input("attention_mask", INT64, (axes.batch, axes.total))
        if axes.cache is None:
            g.input("position_ids", INT64, (axes.batch, axes.sequence))
        positions = 1 if axes.last_only else axes.sequence
        g.output("logits", g.dtype, (axes.batch, positions, geometry.vocab_size))

        def cache(slots: int | str) -> tuple[int | str, ...]:
            return axes.batch, geometry.kv_heads, slots, geometry.head_size

        for layer in range(geometry.layers):
            for kind in ("key", "value"):
                if axes.past is not None:
                    g.input(f"{PAST}.{layer}.{kind}", g.dtype, cache(axes.cache or axes.past))
                g.output(f"{PRESENT}.{layer}.{kind}", g.dtype, cache(axes.cache or axes.total))

    def emit(self) -> None:
        g, geometry = self.g, self.arch.geometry
        rows, width = self._embed("input_ids"), g.ints(-1, geometry.hidden_size)
        hidden = g.widened(g.node("Reshape", rows, width, name="embeddings_2d"))  # (B*S, H) fp32
        for layer in range(geometry.layers):
            hidden = self._layer(layer, hidden)
        self._head(hidden)

    def _layer(self, layer: int, hidden: str) -> str:
        """One decoder layer, (B*S, H) fp32 to the same."""
        g, arch, prefix = self.g, self.arch, f"transformer.h.{layer}."
        norms = arch.layer_norms()
        normed = self._norm(hidden, prefix + norms[0])
        fused = self._product(normed, f"{prefix}self_attention.query_key_value")
        context = self.attention.context(layer, fused, f"{prefix}self_attention.")
        attended = g.widened(self._product(context, f"{prefix}self_attention.dense"))
        residual = g.node("Add", hidden, attended, name=f"{prefix}attention_residual")
        if not arch.parallel_attn:
            normed = self._norm(residual, prefix + norms[1])
        elif arch.separate_norms:
            normed = self._norm(hidden, prefix + norms[1])
        wide = self._activation(self._product(normed, f"{prefix}mlp.dense_h_to_4h"))
        narrow = g.widened(self._product(wide, f"{prefix}mlp.dense_4h_to_h"))
        return g.node("Add", residual, narrow, name=f"{prefix}mlp_residual")

    def _head(self, hidden: str) -> None:
        """Final norm and logits, of every position or of the last."""
        g, axes, geometry = self.g, self.axes, self.arch.geometry
        if axes.last_only and axes.sequence != 1:
            hidden = self._last(hidden)
        normed = self._norm(hidden, FINAL_NORM)
        head = EMBEDDING if self.arch.tie_word_embeddings else HEAD
        flat = self._product(normed, head.removesuffix(".weight"))
        positions = 1 if axes.last_only else g.size(axes.sequence)
        shape = g.shape(g.size(axes.batch), positions, geometry.vocab_size)
        g.node("Reshape", flat, shape, name="logits")

    def _last(self, hidden: str) -> str:
        """Rows (B, H) of the last position; in static graphs, of the last that the mask counts."""
        g, axes = self.g, self.axes
        if isinstance(axes.batch, int):  # static
            mask = g.node("Cast", "attention_mask", name="last/mask", to=FLOAT)
            last = g.node(
                "ArgMax", mask, name="last/position", axis=1, keepdims=0, select_last_index=1
            )
            return g.node("Gather", hidden, last, name="last/hidden", axis=0)
        batch, sequence = g.size(axes.batch), g.size(axes.sequence)
        texts = g.shape(batch, sequence, self.arch.geometry.hidden_size)
        texts = g.node("Reshape", hidden, texts, name="last/texts")
        last = g.constant("last/position", -1, np.int64)
        return g.node("Gather", texts, last, name="last/hidden", axis=1)

    def _norm(self, hidden: str, module: str) -> str:
        """LayerNorm of (B*S, H) fp32, in the graph's dtype."""
        g, tensors = self.g, self.tensors
        normed = g.node(
            "LayerNormalization",
            hidden,
            g.weight(tensors[f"{module}.weight"]),
            g.weight(tensors[f"{module}.bias"]),
            name=module,
            axis=-1,
            epsilon=self.arch.layer_norm_epsilon,
        )
        return g.narrowed(normed)

    def _activation(self, value: str) -> str:
        """The MLP's non-linearity, under the name that config.json gives it."""
        kind = self.arch.activation

        def node(op: str, *inputs: str, name: str) -> str:
            return self.g.node(op, *inputs, name=f"{value}/{name}")

        def number(name: str, n: float) -> str:
            return self.g.constant(f"{kind}/{name}", n, self.g.numpy_dtype)

        if kind == "relu":
            return node("Relu", value, name="relu")
        if kind == "silu":
            return node("Mul", value, node("Sigmoid", value, name="sigmoid"), name="silu")
        if kind == "gelu":
            inner = node("Div", value, number("sqrt_2", math.sqrt(2)), name="scaled")
            inner = node("Erf", inner, name="erf")
        else:  # the approximation by tanh
            cube = node("Mul", node("Mul", value, value, name="square"), value, name="cube")
            cube = node("Mul", cube, number("cubic", 0.044715), name="cubic")
            inner = node("Add", value, cube, name="polynomial")
            root = number("sqrt_2_over_pi", math.sqrt(2 / math.pi))
            inner = node("Tanh", node("Mul", inner, root, name="scaled"), name="tanh")
        gate = node("Add", inner, number("one", 1.0), name="plus_one")
        gated = node("Mul", value, gate, name="gated")
        return node("Mul", gated, number("half", 0.5), name=kind)

    def _product(self, value: str, module: str) -> str:
        """`value` (R, K) times a stored matrix (M, K), plus the bias if any: (R, M)."""
        g, tensors, weight = self.g, self.tensors, f"{module}.weight"
        grid, bias = self.grids.get(weight), tensors.get(f"{module}.bias")
        addend = [] if bias is None else [g.weight(bias)]
        if grid is None:
            # Gemm reads [outputs, inputs] as it lies; Transpose + MatMul would be folded to a copy.
            return g.node("Gemm", value, g.weight(tensors[weight]), *addend, name=module, transB=1)
        if grid.per_channel:
            return self._integer(value, module, addend)
        return self._grouped(value, module, grid, addend)

    def _embed(self, ids: str) -> str:
        """Rows of the embedding; those that a tied head reads too are the same bytes."""
        g, tensors, grid = self.g, self.tensors, self.grids.get(EMBEDDING)
        if grid is None:
            return g.node("Gather", g.weight(tensors[EMBEDDING]), ids, name="embeddings")
        return g.node(
            "GatherBlockQuantized",
            g.weight(tensors[f"{EMBEDDING}.codes"]),
            ids,
            g.weight(tensors[f"{EMBEDDING}.scales"]),
            name="embeddings",
            domain=CONTRIB_DOMAIN,
            bits=grid.bits,
            block_size=grid.group_size,
            gather_axis=0,
            quantize_axis=1,
        )

    def _grouped(self, value: str, module: str, grid: Grid, addend: list[str]) -> str:
        g, tensors = self.g, self.tensors
        codes, scales = (tensors[f"{module}.weight.{part}"] for part in ("codes", "scales"))
        outputs, groups = scales.shape
        blocks = (outputs, groups, grid.group_size * grid.bits // 8)
        return g.node(
            "MatMulNBits",
            value,
            g.weight(codes, f"{codes.name}.blocks", blocks),
            g.weight(scales),
            *(["", "", *addend] if addend else []),
            name=module,
            domain=CONTRIB_DOMAIN,
            K=groups * grid.group_size,
            N=outputs,
            bits=grid.bits,
            block_size=grid.group_size,
            accuracy_level=ACCURACY_LEVELS[self.activations],
        )

    def _integer(self, value: str, module: str, addend: list[str]) -> str:
        g, tensors = self.g, self.tensors
        if value not in self.rounded:
            self.rounded[value] = self._round(value)
        rounded, row_scales = self.rounded[value]
        # MatMulInteger, and its result times the channels' scales in one go. It takes one scale
        # for all activations, so those of the rows follow.
        product = g.node(
            "MatMulIntegerToFloat",
            rounded,
            g.weight(tensors[f"{module}.weight.codes"]),
            g.constant("one", 1.0, np.float32),
            g.weight(tensors[f"{module}.weight.scales"]),
            g.constant("activations/zero_code", ZERO_CODE, np.uint8),
            name=f"{module}/product",
            domain=CONTRIB_DOMAIN,
        )
        product = g.node("Mul", product, row_scales, name=f"{module}/rows_scaled")
        return g.node("Add", product, *addend, name=module) if addend else product

    def _round(self, value: str) -> tuple[str, str]:
        """`value` (R, K) as uint8 codes, and the scale of each row (R, 1)."""
        g = self.g
        size = g.node("Abs", value, name=f"{value}/size")
        largest = g.node("ReduceMax", size, name=f"{value}/largest", axes=[1], keepdims=0)
        step = g.constant("activations/step", 1 / MAX_CODE, np.float32)
        scales = g.node("Mul", largest, step, name=f"{value}/scales_or_zero")
        smallest = g.constant("activations/smallest_scale", SMALLEST_SCALE, np.float32)
        scales = g.node("Max", scales, smallest, name=f"{value}/scales")
        zero_codes = g.node(
            "ConstantOfShape",
            g.node("Shape", scales, name=f"{value}/rows"),
            name=f"{value}/zero_codes",
            value=numpy_helper.from_array(np.array([ZERO_CODE], np.uint8)),
        )
        codes = g.node("QuantizeLinear", value, scales, zero_codes, name=f"{value}/codes", axis=0)
        return codes, g.node("Unsqueeze", scales, g.ints(1), name=f"{value}/row_scales")
