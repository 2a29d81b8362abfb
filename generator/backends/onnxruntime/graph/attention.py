"""Attention: from fused queries, keys and values, (B*S, KV * (G + 2) * D), to heads' contexts.

`PlainAttention` is made of standard operators. Queries of one KV head are folded into one matrix
(G*S, D), so that grouped-query and multi-query attention read the cache once and never broadcast
it. `FusedAttention` is ONNX Runtime's GroupQueryAttention: its cache is one buffer for past and
present, and it reads no more of that than is filled.

Below, how they know where tokens stand: the mask, ALiBi, and the rotary angles, in fp32 and once
for all layers. Legend of shapes: see falcon.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto

from vacc_gen.generator.backends.onnxruntime.graph.builder import CONTRIB_DOMAIN, GraphBuilder
from vacc_gen.schema.falcon import Architecture
from vacc_gen.schema.geometry import Geometry

PAST, PRESENT = "past_key_values", "present"
"""Of each layer and kind: `past_key_values.0.key`, `present.0.value`."""

MASKED = -1e30
"""Added to scores that do not count: finite, so that a fully masked row yields no NaN."""


@dataclass(frozen=True)
class Axes:
    """Sizes of a graph's axes; a string is symbolic. `past` None: the graph takes no past."""

    batch: int | str
    sequence: int | str
    past: int | str | None
    total: int | str
    cache: str | None = None
    """Slots of the cache where past and present share it; then `past` is what is filled of it."""
    last_only: bool = False
    """Whether logits are those of the last position."""


class PlainAttention:
    """Any batch, mask and padding; ALiBi or rotary."""

    def __init__(self, g: GraphBuilder, arch: Architecture, axes: Axes) -> None:
        geometry = arch.geometry
        self.g, self.axes, self.hidden_size = g, axes, geometry.hidden_size
        self.kv_heads, self.head_size = geometry.kv_heads, geometry.head_size
        self.queries = geometry.attention_heads // geometry.kv_heads
        sequence, total, batch = map(g.size, (axes.sequence, axes.total, axes.batch))
        self.qkv_shape = g.shape(batch, sequence, self.kv_heads, self.queries + 2, self.head_size)
        self.scores_shape = g.shape(batch, self.kv_heads, self.queries, sequence, total)
        self.folded_scores_shape = g.shape(batch, self.kv_heads, -1, total)
        self.bias = mask_bias(g, axes)  # (B, 1, 1, S, T)
        self.rotation: tuple[str, str] | None = None
        if arch.alibi:
            alibi = alibi_bias(g, geometry)
            self.bias = g.node("Add", self.bias, alibi, name="bias")  # (B, KV, G, S, T)
        else:
            cos, sin = rotation(g, arch)
            self.rotation = g.narrowed(cos), g.narrowed(sin)

    def context(self, layer: int, fused: str, prefix: str) -> str:
        """What the heads of a layer attend to, (B*S, H); computes the layer's present."""
        g = self.g
        fused = g.node("Reshape", fused, self.qkv_shape, name=f"{prefix}heads")
        # (B, KV, G + 2, S, D)
        fused = g.node("Transpose", fused, name=f"{prefix}heads_first", perm=(0, 2, 3, 1, 4))
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
        folded = self.folded_scores_shape
        weights = g.node("Reshape", g.narrowed(weights), folded, name=f"{prefix}weights_folded")
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
        grouped = self.kv_heads, self.queries + 2, self.head_size
        self.packed_shape = g.shape(batch, sequence, math.prod(grouped))
        self.grouped_shape = g.shape(batch, sequence, *grouped)
        tokens = g.node("ReduceSum", "attention_mask", g.ints(1), name="tokens", keepdims=1)
        last = g.node("Sub", tokens, g.constant("int_one", 1, "int64"), name="last_token")
        total = g.node("Squeeze", str(g.size(axes.total)), name="total/scalar")
        cos, sin = rotation_tables(g, arch)
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


def mask_bias(g: GraphBuilder, axes: Axes) -> str:
    """What masks scores, (B, 1, 1, S, T): 0 where a query may look, `MASKED` elsewhere."""
    counted = g.node("Cast", "attention_mask", name="mask/bool", to=TensorProto.BOOL)
    allowed = g.node("Unsqueeze", counted, g.ints(1, 2, 3), name="mask/padding")
    if axes.sequence != 1:
        allowed = g.node("And", allowed, _causal(g, axes), name="mask/allowed")
    zero, masked = g.constant("zero", 0.0, np.float32), g.constant("masked", MASKED, np.float32)
    return g.node("Where", allowed, zero, masked, name="mask/bias")


def _causal(g: GraphBuilder, axes: Axes) -> str:
    """Which of T each of the S queries may see, (S, T): query s stands at L + s."""
    sequence, total = g.size(axes.sequence), g.size(axes.total)
    if isinstance(sequence, int) or isinstance(total, int):
        keys = queries = g.constant("keys", np.arange(axes.total), np.int64)
    else:
        zero, one = g.constant("int_zero", 0, np.int64), g.constant("int_one", 1, np.int64)
        total = g.node("Squeeze", total, name="total/scalar")
        sequence = g.node("Squeeze", sequence, name="sequence/scalar")
        past = g.node("Sub", total, sequence, name="past/scalar")
        keys = g.node("Range", zero, total, one, name="mask/keys")
        queries = g.node("Range", past, total, one, name="mask/queries")
    column = g.node("Unsqueeze", queries, g.ints(1), name="mask/queries_column")
    return g.node("LessOrEqual", keys, column, name="mask/causal")


def alibi_bias(g: GraphBuilder, geometry: Geometry) -> str:
    """ALiBi over sqrt(D), (B, KV, G, 1, T), rounded to bf16 where transformers rounds it.

    A token's position is how many tokens before it the mask counts, wherever padding lies.
    """
    mask = g.node("Cast", "attention_mask", name="alibi/mask", to=TensorProto.FLOAT)
    seen = g.node("CumSum", mask, g.constant("int_one", 1, np.int64), name="alibi/seen")
    before = g.node("Sub", seen, g.constant("one", 1.0, np.float32), name="alibi/before")
    position = _bf16(g, g.node("Mul", before, mask, name="alibi/position"))
    position = g.node("Unsqueeze", position, g.ints(1, 2, 3), name="alibi/position_5d")
    slopes = alibi_slopes(geometry.attention_heads).reshape(1, geometry.kv_heads, -1, 1, 1)
    slopes = g.constant("alibi/slopes", slopes, np.float32)
    product = _bf16(g, g.node("Mul", position, slopes, name="alibi/product"))
    root = g.constant("alibi/sqrt_head_size", math.sqrt(geometry.head_size), np.float32)
    return g.node("Div", product, root, name="alibi/bias")


def _bf16(g: GraphBuilder, value: str) -> str:
    """Round fp32, not negative, to the 8 significant bits of bf16, staying fp32.

    As the modeling file does: ONNX Runtime 1.13 cuts bits off where it casts to bf16.
    """

    def step(op: str, x: str, *constant: float) -> str:
        inputs = [g.constant(f"bf16/{number}", number, np.float32) for number in constant]
        return g.node(op, x, *inputs, name=f"{x}/{op.lower()}")

    log2 = step("Div", step("Log", step("Max", value, 2.0**-14)), math.log(2))
    exponent = step("Sub", step("Floor", log2), 7.0)  # of the last bit
    two = g.constant("bf16/2.0", 2.0, np.float32)
    unit = g.node("Pow", two, exponent, name=f"{value}/unit")
    units = g.node("Div", value, unit, name=f"{value}/units")
    whole = g.node("Round", units, name=f"{value}/whole")
    return g.node("Mul", whole, unit, name=f"{value}/rounded")


def alibi_slopes(heads: int) -> Any:
    """The slope of each head as transformers' `build_alibi_tensor` has it: bf16 values in fp32."""
    import torch

    whole = 2 ** math.floor(math.log2(heads))
    exponents = [-8 * i / whole for i in range(1, whole + 1)]
    exponents += [-4 * i / whole for i in range(1, 2 * (heads - whole), 2)]
    return (2.0 ** torch.tensor(exponents, dtype=torch.float64)).bfloat16().float().numpy()


def rotation(g: GraphBuilder, arch: Architecture) -> tuple[str, str]:
    """Cosines and signed sines of the rotary angles, (B, 1, 1, S, D).

    The sines' first half is negated, so that rotating is `x * cos + swap(x) * sin`, where swap
    exchanges the halves of D.
    """
    frequencies = g.constant("rotary/frequencies", _frequencies(arch), np.float32)
    positions = g.node("Cast", "position_ids", name="rotary/positions", to=TensorProto.FLOAT)
    positions = g.node("Unsqueeze", positions, g.ints(1, 2, 4), name="rotary/positions_5d")
    angles = g.node("Mul", positions, frequencies, name="rotary/angles")  # (B, 1, 1, S, D/2)
    cos = g.node("Cos", angles, name="rotary/half_cos")
    sin = g.node("Sin", angles, name="rotary/half_sin")
    minus_sin = g.node("Neg", sin, name="rotary/half_minus_sin")
    return (
        g.node("Concat", cos, cos, name="rotary/cos", axis=-1),
        g.node("Concat", minus_sin, sin, name="rotary/sin", axis=-1),
    )


def rotation_tables(g: GraphBuilder, arch: Architecture) -> tuple[str, str]:
    """Cosines and sines of the rotary angles of every position, (positions, D/2)."""
    positions = np.arange(arch.geometry.max_positions, dtype=np.float32)
    angles = positions[:, None] * _frequencies(arch)
    return (
        g.constant("rotary/cos_table", np.cos(angles), np.float32),
        g.constant("rotary/sin_table", np.sin(angles), np.float32),
    )


def _frequencies(arch: Architecture) -> Any:
    """What a position is multiplied with, (D/2).

    The very expression that transformers uses: numpy's float32 power differs in the last bit,
    which 2048 positions turn into 1e-4 radians.
    """
    import torch

    width = arch.geometry.head_size
    return (1.0 / arch.rope_theta ** (torch.arange(0, width, 2).float() / width)).numpy()
