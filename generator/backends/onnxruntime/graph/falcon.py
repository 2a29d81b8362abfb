"""Emits the ONNX graph of a Falcon directly: the same nodes for every layer, nothing traced.

Legend of shapes:
    B  batch               H  hidden size            KV  heads of the cache
    S  tokens fed          D  head size              G   query heads a KV head
    L  tokens in the past  V  vocabulary
    T  tokens attended to = L + S

The residual stream, norms, softmax and rotary angles are fp32 in every graph; linear layers, the
products of attention and the cache are in the graph's own dtype (fp16, or fp32 where weights are
fp32 or int). Queries of one KV head are folded into one matrix (G*S, D), so that grouped-query
and multi-query attention read the cache once and never broadcast it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto

from vacc_gen.generator.backends.onnxruntime.graph.builder import CONTRIB_DOMAIN, GraphBuilder
from vacc_gen.generator.backends.onnxruntime.graph.positions import (
    Axes,
    alibi_bias,
    mask_bias,
    rotation,
)
from vacc_gen.generator.backends.onnxruntime.weights.weight_file import Layout
from vacc_gen.schema.falcon import EMBEDDING, FINAL_NORM, HEAD, Architecture

FLOAT, FLOAT16 = TensorProto.FLOAT, TensorProto.FLOAT16
INT64 = TensorProto.INT64

DYNAMIC_AXES = Axes(
    "batch_size",
    "sequence_length",
    "past_sequence_length",
    "past_sequence_length + sequence_length",
)
"""One graph for every length; the names are those that Optimum gives."""

SCORING_AXES = Axes("batch_size", "sequence_length", None, "sequence_length")
"""No past, any length, the logits of every position: for measuring, not for serving."""


def falcon_graph(
    name: str,
    architecture: Architecture,
    layout: Layout,
    axes: Axes,
    accuracy_level: int,
    metadata: Mapping[str, str],
) -> onnx.ModelProto:
    """Emit the graph called `name`.

    Inputs: `input_ids` (B, S), `attention_mask` (B, T) with 1 for tokens that count,
    `position_ids` (B, S), `past_key_values.{i}.key` and `.value` (B, KV, L, D).
    Outputs: `logits` (B, S, V), of static graphs (B, 1, V): those of the last position that the
    mask counts; `present.{i}.key` and `.value` (B, KV, T, D).
    Past and present are of the dtype of the graph.
    The mask alone says which slots of the past count, so a cache may be padded anywhere; ALiBi
    counts positions along the mask, so there slots must be in the order of the text.
    """
    graph = _Emitter(GraphBuilder(name), architecture, layout, axes, accuracy_level).emit()
    return graph.model({"vacc_gen.dtype": layout.dtype, **metadata})


@dataclass
class _Emitter:
    """Holds what all parts of one graph share."""

    g: GraphBuilder
    arch: Architecture
    layout: Layout
    axes: Axes
    accuracy_level: int

    def __post_init__(self) -> None:
        geometry = self.arch.geometry
        self.dtype = FLOAT16 if self.layout.dtype == "fp16" else FLOAT
        self.numpy_dtype = np.float16 if self.layout.dtype == "fp16" else np.float32
        self.kv_heads, self.head_size = geometry.kv_heads, geometry.head_size
        self.queries = geometry.attention_heads // geometry.kv_heads

    def emit(self) -> GraphBuilder:
        g, axes, geometry = self.g, self.axes, self.arch.geometry
        g.input("input_ids", INT64, (axes.batch, axes.sequence))
        g.input("attention_mask", INT64, (axes.batch, axes.total))
        g.input("position_ids", INT64, (axes.batch, axes.sequence))
        cache = (axes.batch, self.kv_heads, axes.past or 0, self.head_size)
        for layer in range(geometry.layers) if axes.past is not None else ():
            g.input(f"past_key_values.{layer}.key", self.dtype, cache)
            g.input(f"past_key_values.{layer}.value", self.dtype, cache)
        g.output(
            "logits",
            self.dtype,
            (axes.batch, 1 if axes.static else axes.sequence, geometry.vocab_size),
        )
        self._shapes()
        self.bias = mask_bias(g, axes)  # (B, 1, 1, S, T)
        self.rotation: tuple[str, str] | None = None
        if self.arch.alibi:
            alibi = alibi_bias(g, self.kv_heads, self.queries, self.head_size)
            self.bias = g.node("Add", self.bias, alibi, name="bias")  # (B, KV, G, S, T)
        else:
            cos, sin = rotation(g, self.head_size, self.arch.rope_theta)
            self.rotation = self._cast(cos, self.dtype), self._cast(sin, self.dtype)
        hidden = self._embed()  # (B*S, H) fp32
        for layer in range(geometry.layers):
            hidden = self._layer(layer, hidden)
            present = (axes.batch, self.kv_heads, axes.total, self.head_size)
            g.output(f"present.{layer}.key", self.dtype, present)
            g.output(f"present.{layer}.value", self.dtype, present)
        self._head(hidden)
        return g

    def _shapes(self) -> None:
        """Prepare the targets of Reshape that depend on the lengths."""
        g, axes, vocabulary = self.g, self.axes, self.arch.geometry.vocab_size
        batch, sequence, total = axes.batch, axes.sequence, axes.total
        if not axes.static:
            batch = g.node("Shape", "input_ids", name="batch", start=0, end=1)
            sequence = g.node("Shape", "input_ids", name="sequence", start=1, end=2)
            total = g.node("Shape", "attention_mask", name="total", start=1, end=2)

        def join(name: str, *sizes: int | str) -> str:
            if axes.static:
                return g.ints(*map(int, sizes))
            parts = [g.ints(size) if isinstance(size, int) else size for size in sizes]
            return g.node("Concat", *parts, name=name, axis=0)

        self.qkv_shape = join(
            "qkv_shape", batch, sequence, self.kv_heads, self.queries + 2, self.head_size
        )
        self.scores_shape = join(
            "scores_shape", batch, self.kv_heads, self.queries, sequence, total
        )
        self.folded_scores_shape = join("folded_scores_shape", batch, self.kv_heads, -1, total)
        positions = 1 if axes.static else sequence
        self.logits_shape = join("logits_shape", batch, positions, vocabulary)

    # --- layers -----------------------------------------------------------------------------

    def _layer(self, layer: int, hidden: str) -> str:
        """One decoder layer, (B*S, H) fp32 to the same."""
        g, arch, prefix = self.g, self.arch, f"transformer.h.{layer}."
        norms = arch.layer_norms()
        normed = self._norm(hidden, prefix + norms[0])
        attended = self._cast(self._attention(layer, normed), FLOAT)
        residual = g.node("Add", hidden, attended, name=f"{prefix}attention_residual")
        if not arch.parallel_attn:
            normed = self._norm(residual, prefix + norms[1])
        elif arch.separate_norms:
            normed = self._norm(hidden, prefix + norms[1])
        wide = self._activation(self._linear(normed, f"{prefix}mlp.dense_h_to_4h"))
        narrow = self._cast(self._linear(wide, f"{prefix}mlp.dense_4h_to_h"), FLOAT)
        return g.node("Add", residual, narrow, name=f"{prefix}mlp_residual")

    def _attention(self, layer: int, hidden: str) -> str:
        """Attention of one layer, (B*S, H) to the same; declares this layer's present."""
        g, prefix = self.g, f"transformer.h.{layer}.self_attention."
        fused = self._linear(hidden, f"{prefix}query_key_value")
        fused = g.node("Reshape", fused, self.qkv_shape, name=f"{prefix}heads")
        fused = g.node(
            "Transpose", fused, name=f"{prefix}heads_first", perm=(0, 2, 3, 1, 4)
        )  # (B, KV, G + 2, S, D)
        query, key, value = self._split_heads(prefix, fused)
        scale = g.constant("query_scale", 1 / math.sqrt(self.head_size), self.numpy_dtype)
        query = g.node("Mul", query, scale, name=f"{prefix}query_scaled")
        query = self._fold(query, f"{prefix}query_folded")  # (B, KV, G*S, D)
        key = self._append(layer, "key", key)  # (B, KV, T, D)
        value = self._append(layer, "value", value)
        key = g.node("Transpose", key, name=f"{prefix}key_transposed", perm=(0, 1, 3, 2))
        scores = g.node("MatMul", query, key, name=f"{prefix}scores")  # (B, KV, G*S, T)
        scores = self._cast(scores, FLOAT)
        scores = g.node("Reshape", scores, self.scores_shape, name=f"{prefix}scores_5d")
        scores = g.node("Add", scores, self.bias, name=f"{prefix}scores_masked")
        weights = g.node("Softmax", scores, name=f"{prefix}weights", axis=-1)
        weights = self._cast(weights, self.dtype)
        weights = g.node(
            "Reshape", weights, self.folded_scores_shape, name=f"{prefix}weights_folded"
        )
        context = g.node("MatMul", weights, value, name=f"{prefix}context")  # (B, KV, G*S, D)
        unfolded = g.ints(0, 0, self.queries, -1, self.head_size)
        context = g.node("Reshape", context, unfolded, name=f"{prefix}context_5d")
        context = g.node("Transpose", context, name=f"{prefix}tokens_first", perm=(0, 3, 1, 2, 4))
        merged = g.ints(-1, self.arch.geometry.hidden_size)
        context = g.node("Reshape", context, merged, name=f"{prefix}merged")  # (B*S, H)
        return self._linear(context, f"{prefix}dense")

    def _split_heads(self, prefix: str, fused: str) -> tuple[str, str, str]:
        """Queries (B, KV, G, S, D), key and value (B, KV, 1, S, D), rotated where rotary."""
        names = [f"{prefix}query_key", f"{prefix}value"]
        queries_key, value = self.g.split(fused, 2, names, self.queries + 1, 1)
        if self.rotation is not None:
            queries_key = self._rotate(prefix, queries_key)
        names = [f"{prefix}query", f"{prefix}key"]
        query, key = self.g.split(queries_key, 2, names, self.queries, 1)
        return query, key, value

    def _rotate(self, prefix: str, heads: str) -> str:
        """Rotary embedding of (B, KV, G + 1, S, D); see `rotation` for the signs."""
        assert self.rotation is not None
        g, (cos, sin) = self.g, self.rotation
        first, second = g.split(heads, -1, [f"{prefix}first_half", f"{prefix}second_half"])
        swapped = g.node("Concat", second, first, name=f"{prefix}swapped", axis=-1)
        straight = g.node("Mul", heads, cos, name=f"{prefix}times_cos")
        crossed = g.node("Mul", swapped, sin, name=f"{prefix}times_sin")
        return g.node("Add", straight, crossed, name=f"{prefix}rotated")

    def _fold(self, value: str, name: str) -> str:
        """(B, KV, n, S, D) to (B, KV, n*S, D)."""
        return self.g.node("Reshape", value, self.g.ints(0, 0, -1, self.head_size), name=name)

    def _append(self, layer: int, kind: str, value: str) -> str:
        """Put the new keys or values behind the past: the layer's present, (B, KV, T, D)."""
        present = f"present.{layer}.{kind}"
        if self.axes.past is None:
            return self._fold(value, present)
        new = self._fold(value, f"{value}_new")  # (B, KV, S, D)
        past = f"past_key_values.{layer}.{kind}"
        return self.g.node("Concat", past, new, name=present, axis=2)

    # --- ends -------------------------------------------------------------------------------

    def _embed(self) -> str:
        """Token embeddings, (B*S, H) fp32. int8 reads the head's own codes where they are tied."""
        g, tensors, hidden_size = self.g, self.layout.tensors, self.arch.geometry.hidden_size
        grid = self.layout.grids.get(EMBEDDING)
        if grid is None:
            rows = g.node("Gather", g.weight(tensors[EMBEDDING]), "input_ids", name="embeddings")
        else:
            codes = tensors[f"{EMBEDDING}.codes"]
            rows = g.node(
                "GatherBlockQuantized",
                g.weight(codes),
                "input_ids",
                g.weight(tensors[f"{EMBEDDING}.scales"]),
                name="embeddings",
                domain=CONTRIB_DOMAIN,
                bits=grid.bits,
                block_size=grid.group_size,
                gather_axis=0,
                quantize_axis=1,
            )
        rows = g.node("Reshape", rows, g.ints(-1, hidden_size), name="embeddings_2d")
        return self._cast(rows, FLOAT)

    def _head(self, hidden: str) -> None:
        """Final norm and logits; static graphs keep the last position that the mask counts."""
        g = self.g
        if self.axes.static and self.axes.sequence != 1:
            mask = g.node("Cast", "attention_mask", name="last/mask", to=FLOAT)
            last = g.node(
                "ArgMax", mask, name="last/position", axis=1, keepdims=0, select_last_index=1
            )
            hidden = g.node("Gather", hidden, last, name="last/hidden", axis=0)  # (1, H)
        normed = self._norm(hidden, FINAL_NORM)
        head = EMBEDDING if self.arch.tie_word_embeddings else HEAD
        flat = self._linear(normed, head.removesuffix(".weight"))
        g.node("Reshape", flat, self.logits_shape, name="logits")

    # --- parts ------------------------------------------------------------------------------

    def _norm(self, hidden: str, module: str) -> str:
        """LayerNorm of (B*S, H) fp32, in the graph's dtype."""
        g, tensors = self.g, self.layout.tensors
        normed = g.node(
            "LayerNormalization",
            hidden,
            g.weight(tensors[f"{module}.weight"]),
            g.weight(tensors[f"{module}.bias"]),
            name=module,
            axis=-1,
            epsilon=self.arch.layer_norm_epsilon,
        )
        return self._cast(normed, self.dtype)

    def _linear(self, value: str, module: str) -> str:
        """(rows, inputs) times a stored matrix (outputs, inputs), plus the bias if any."""
        g, tensors, weight = self.g, self.layout.tensors, f"{module}.weight"
        grid, bias = self.layout.grids.get(weight), tensors.get(f"{module}.bias")
        addend = [] if bias is None else [g.weight(bias)]
        if grid is None:
            # Gemm reads [outputs, inputs] as it lies; Transpose + MatMul would be folded to a copy.
            return g.node("Gemm", value, g.weight(tensors[weight]), *addend, name=module, transB=1)
        codes = tensors[f"{weight}.codes"]
        scales = tensors[f"{weight}.scales"]
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
            accuracy_level=self.accuracy_level,
        )

    def _activation(self, value: str) -> str:
        """The MLP's non-linearity, under the name that config.json gives it."""
        kind = self.arch.activation

        def node(op: str, *inputs: str, name: str) -> str:
            return self.g.node(op, *inputs, name=f"{value}/{name}")

        def number(name: str, n: float) -> str:
            return self.g.constant(f"{kind}/{name}", n, self.numpy_dtype)

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

    def _cast(self, value: str, dtype: int) -> str:
        """To fp32 and back, in graphs of another dtype."""
        if self.dtype == FLOAT:
            return value
        name = f"{value}/{'fp32' if dtype == FLOAT else 'fp16'}"
        return self.g.node("Cast", value, name=name, to=dtype)
