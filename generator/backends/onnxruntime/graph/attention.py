"""Attention: from fused queries, keys and values, (B*S, KV * (G + 2) * D), to heads' contexts.

`PlainAttention` is made of standard operators. Queries of one KV head are folded into one matrix
(G*S, D), so that grouped-query and multi-query attention read the cache once and never broadcast
it. `FusedAttention` is ONNX Runtime's GroupQueryAttention: its cache is one buffer for past and
present, and it reads no more of that than is filled.

Legend of shapes: see falcon.py.
"""

from __future__ import annotations

import math

from onnx import TensorProto

from vacc_gen.generator.backends.onnxruntime.graph.builder import CONTRIB_DOMAIN, GraphBuilder
from vacc_gen.generator.backends.onnxruntime.graph.positions import (
    Axes,
    alibi_bias,
    mask_bias,
    rotation,
    rotation_tables,
)
from vacc_gen.schema.falcon import Architecture

PAST, PRESENT = "past_key_values", "present"
"""Of each layer and kind: `past_key_values.0.key`, `present.0.value`."""


class PlainAttention:
    """Any batch, mask and padding; ALiBi or rotary."""

    def __init__(self, g: GraphBuilder, arch: Architecture, axes: Axes) -> None:
        geometry = arch.geometry
        self.g, self.axes, self.hidden_size = g, axes, geometry.hidden_size
        self.kv_heads, self.head_size = geometry.kv_heads, geometry.head_size
        self.queries = geometry.attention_heads // geometry.kv_heads
        sequence, total = g.size(axes.sequence), g.size(axes.total)
        self.qkv_shape = g.shape(
            g.size(axes.batch), sequence, self.kv_heads, self.queries + 2, self.head_size
        )
        self.scores_shape = g.shape(
            g.size(axes.batch), self.kv_heads, self.queries, sequence, total
        )
        self.folded_scores_shape = g.shape(g.size(axes.batch), self.kv_heads, -1, total)
        self.bias = mask_bias(g, axes)  # (B, 1, 1, S, T)
        self.rotation: tuple[str, str] | None = None
        if arch.alibi:
            alibi = alibi_bias(g, self.kv_heads, self.queries, self.head_size)
            self.bias = g.node("Add", self.bias, alibi, name="bias")  # (B, KV, G, S, T)
        else:
            cos, sin = rotation(g, self.head_size, arch.rope_theta)
            self.rotation = g.narrowed(cos), g.narrowed(sin)

    def context(self, layer: int, fused: str, prefix: str) -> str:
        """What the heads of a layer attend to, (B*S, H); computes the layer's present."""
        g = self.g
        fused = g.node("Reshape", fused, self.qkv_shape, name=f"{prefix}heads")
        fused = g.node(
            "Transpose", fused, name=f"{prefix}heads_first", perm=(0, 2, 3, 1, 4)
        )  # (B, KV, G + 2, S, D)
        query, key, value = self._split_heads(prefix, fused)
        scale = g.constant("query_scale", 1 / math.sqrt(self.head_size), g.numpy_dtype)
        query = g.node("Mul", query, scale, name=f"{prefix}query_scaled")
        query = self._fold(query, f"{prefix}query_folded")  # (B, KV, G*S, D)
        key = self._append(layer, "key", key)  # (B, KV, T, D)
        value = self._append(layer, "value", value)
        key = g.node("Transpose", key, name=f"{prefix}key_transposed", perm=(0, 1, 3, 2))
        scores = g.node("MatMul", query, key, name=f"{prefix}scores")  # (B, KV, G*S, T)
        scores = g.widened(scores)
        scores = g.node("Reshape", scores, self.scores_shape, name=f"{prefix}scores_5d")
        scores = g.node("Add", scores, self.bias, name=f"{prefix}scores_masked")
        weights = g.node("Softmax", scores, name=f"{prefix}weights", axis=-1)
        weights = g.narrowed(weights)
        weights = g.node(
            "Reshape", weights, self.folded_scores_shape, name=f"{prefix}weights_folded"
        )
        context = g.node("MatMul", weights, value, name=f"{prefix}context")  # (B, KV, G*S, D)
        unfolded = g.ints(0, 0, self.queries, -1, self.head_size)
        context = g.node("Reshape", context, unfolded, name=f"{prefix}context_5d")
        context = g.node("Transpose", context, name=f"{prefix}tokens_first", perm=(0, 3, 1, 2, 4))
        return g.node("Reshape", context, g.ints(-1, self.hidden_size), name=f"{prefix}merged")

    def _split_heads(self, prefix: str, fused: str) -> tuple[str, str, str]:
        """Queries (B, KV, G, S, D), key and value (B, KV, 1, S, D), rotated where rotary."""
        names = [f"{prefix}query_key", f"{prefix}value"]
        queries_key, value = self.g.split(fused, 2, names, self.queries + 1, 1)
        if self.rotation is not None:
            queries_key = self._rotate(prefix, queries_key, *self.rotation)
        names = [f"{prefix}query", f"{prefix}key"]
        query, key = self.g.split(queries_key, 2, names, self.queries, 1)
        return query, key, value

    def _rotate(self, prefix: str, heads: str, cos: str, sin: str) -> str:
        """Rotary embedding of (B, KV, G + 1, S, D); see `rotation` for the signs."""
        g = self.g
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
        present = f"{PRESENT}.{layer}.{kind}"
        if self.axes.past is None:
            return self._fold(value, present)
        new = self._fold(value, f"{value}_new")  # (B, KV, S, D)
        return self.g.node("Concat", f"{PAST}.{layer}.{kind}", new, name=present, axis=2)


class FusedAttention:
    """Rotary only; texts begin at the cache's first slot, padding comes after them."""

    def __init__(self, g: GraphBuilder, arch: Architecture, axes: Axes) -> None:
        geometry = arch.geometry
        self.g, self.hidden_size = g, geometry.hidden_size
        self.heads, self.kv_heads = geometry.attention_heads, geometry.kv_heads
        self.head_size, self.queries = geometry.head_size, self.heads // self.kv_heads
        batch, sequence = g.size(axes.batch), g.size(axes.sequence)
        self.packed_shape = g.shape(
            batch, sequence, (self.heads + 2 * self.kv_heads) * self.head_size
        )
        self.grouped_shape = g.shape(
            batch, sequence, self.kv_heads, self.queries + 2, self.head_size
        )
        tokens = g.node("ReduceSum", "attention_mask", g.ints(1), name="tokens", keepdims=1)
        last = g.node("Sub", tokens, g.constant("int_one", 1, "int64"), name="last_token")
        total = g.node("Squeeze", str(g.size(axes.total)), name="total/scalar")
        cos, sin = rotation_tables(g, self.head_size, arch.rope_theta, geometry.max_positions)
        self.lengths = tuple(
            g.node("Cast", value, name=f"{value}/int32", to=TensorProto.INT32)
            for value in (last, total)
        )  # (B, 1) and ()
        self.tables = g.narrowed(cos), g.narrowed(sin)

    def context(self, layer: int, fused: str, prefix: str) -> str:
        """What the heads of a layer attend to, (B*S, H); computes the layer's present."""
        g = self.g
        inputs = self._split(fused, prefix)
        past = [f"{PAST}.{layer}.{kind}" for kind in ("key", "value")]
        context = g.node(
            "GroupQueryAttention",
            *inputs,
            *past,
            *self.lengths,
            *self.tables,
            name=f"{prefix}context",
            others=[f"{PRESENT}.{layer}.{kind}" for kind in ("key", "value")],
            domain=CONTRIB_DOMAIN,
            num_heads=self.heads,
            kv_num_heads=self.kv_heads,
            do_rotary=1,
        )  # (B, S, H)
        return g.node("Reshape", context, g.ints(-1, self.hidden_size), name=f"{prefix}merged")

    def _split(self, fused: str, prefix: str) -> tuple[str, str, str]:
        """All queries, keys and values, (B, S, heads * D), as the operator takes them."""
        g = self.g
        if self.kv_heads == 1:  # as they lie
            return g.node("Reshape", fused, self.packed_shape, name=f"{prefix}packed"), "", ""
        grouped = g.node("Reshape", fused, self.grouped_shape, name=f"{prefix}heads")
        names = [f"{prefix}{part}" for part in ("queries", "keys", "values")]
        parts = g.split(grouped, 3, names, self.queries, 1, 1)
        flat = [g.node("Reshape", part, g.ints(0, 0, -1), name=f"{part}/flat") for part in parts]
        return flat[0], flat[1], flat[2]
