"""Emits the ONNX graph of a Falcon directly: the same nodes for every layer, nothing traced.

Legend of shapes:
    B  batch               H  hidden size            KV  heads of the cache
    S  tokens fed          D  head size              G   query heads a KV head
    L  tokens in the past  V  vocabulary
    T  tokens attended to = L + S

The residual stream, norms, softmax and rotary angles are fp32 in every graph; linear layers, the
products of attention and the cache are in the graph's own dtype (fp16, or fp32 where weights are
fp32 or int).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx
from onnx import TensorProto

from vacc_gen.generator.backends.onnxruntime.graph.attention import (
    PAST,
    PRESENT,
    FusedAttention,
    PlainAttention,
)
from vacc_gen.generator.backends.onnxruntime.graph.builder import GraphBuilder
from vacc_gen.generator.backends.onnxruntime.graph.linear import Linears
from vacc_gen.generator.backends.onnxruntime.graph.positions import Axes
from vacc_gen.generator.backends.onnxruntime.weights.weight_file import Layout
from vacc_gen.schema.falcon import EMBEDDING, FINAL_NORM, HEAD, Architecture

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64

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
    g = GraphBuilder(name, is_half=layout.dtype == "fp16")
    _Emitter(g, architecture, layout, axes, activations).emit()
    return g.model({"vacc_gen.dtype": layout.dtype, **metadata})


class _Emitter:
    """Holds what all parts of one graph share."""

    def __init__(
        self,
        g: GraphBuilder,
        arch: Architecture,
        layout: Layout,
        axes: Axes,
        activations: str,
    ) -> None:
        self.g, self.arch, self.axes, self.tensors = g, arch, axes, layout.tensors
        self._declare()
        self.linears = Linears(g, layout, activations)
        kind = PlainAttention if axes.cache is None else FusedAttention
        self.attention = kind(g, arch, axes)

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
        rows, width = self.linears.embed("input_ids"), g.ints(-1, geometry.hidden_size)
        hidden = g.widened(g.node("Reshape", rows, width, name="embeddings_2d"))  # (B*S, H) fp32
        for layer in range(geometry.layers):
            hidden = self._layer(layer, hidden)
        self._head(hidden)

    def _layer(self, layer: int, hidden: str) -> str:
        """One decoder layer, (B*S, H) fp32 to the same."""
        g, arch, prefix = self.g, self.arch, f"transformer.h.{layer}."
        norms = arch.layer_norms()
        normed = self._norm(hidden, prefix + norms[0])
        attended = g.widened(self._attention(layer, normed))
        residual = g.node("Add", hidden, attended, name=f"{prefix}attention_residual")
        if not arch.parallel_attn:
            normed = self._norm(residual, prefix + norms[1])
        elif arch.separate_norms:
            normed = self._norm(hidden, prefix + norms[1])
        wide = self._activation(self.linears.product(normed, f"{prefix}mlp.dense_h_to_4h"))
        narrow = g.widened(self.linears.product(wide, f"{prefix}mlp.dense_4h_to_h"))
        return g.node("Add", residual, narrow, name=f"{prefix}mlp_residual")

    def _attention(self, layer: int, hidden: str) -> str:
        """Attention of one layer, (B*S, H) to the same."""
        prefix = f"transformer.h.{layer}.self_attention."
        fused = self.linears.product(hidden, f"{prefix}query_key_value")
        return self.linears.product(self.attention.context(layer, fused, prefix), f"{prefix}dense")

    def _head(self, hidden: str) -> None:
        """Final norm and logits, of every position or of the last."""
        g, axes, geometry = self.g, self.axes, self.arch.geometry
        if axes.last_only and axes.sequence != 1:
            hidden = self._last(hidden)
        normed = self._norm(hidden, FINAL_NORM)
        head = EMBEDDING if self.arch.tie_word_embeddings else HEAD
        flat = self.linears.product(normed, head.removesuffix(".weight"))
        positions = 1 if axes.last_only else g.size(axes.sequence)
        shape = g.shape(g.size(axes.batch), positions, geometry.vocab_size)
        g.node("Reshape", flat, shape, name="logits")

    def _last(self, hidden: str) -> str:
        """Rows (B, H) of the last position; in static graphs, of the last that the mask counts."""
        g, axes = self.g, self.axes
        if axes.static:
            mask = g.node("Cast", "attention_mask", name="last/mask", to=FLOAT)
            last = g.node(
                "ArgMax", mask, name="last/position", axis=1, keepdims=0, select_last_index=1
            )
            return g.node("Gather", hidden, last, name="last/hidden", axis=0)
        batch, sequence = g.size(axes.batch), g.size(axes.sequence)
        texts = g.shape(batch, sequence, self.arch.geometry.hidden_size)
        texts = g.node("Reshape", hidden, texts, name="last/texts")
        return g.node(
            "Gather", texts, g.constant("last/position", -1, np.int64), name="last/hidden", axis=1
        )

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
