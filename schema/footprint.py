"""What a compiled model keeps in the memory of each die: weights and KV cache. An estimate.

Legend, all counted for one die of `tp`:
    L layers, D hidden size, H attention heads, K KV heads, S head size, F FFN width, V vocabulary
    heads      H' = ceil(H / tp), K' = ceil(K / tp): a die holds whole heads
    attention  D·(H' + 2·K')·S + H'·S·D
    mlp        m·D·ceil(F / tp), m = 3 with a gate, else 2
    embedding  e·D·ceil(V / tp), e = 1 where the head is tied, else 2
    weights    w·L·(attention + mlp) + 2·embedding, w = b/8 + 2/64 in b bits, else 2
    KV cache   2·L·K'·S·tokens·requests·c, c = 2, or 1 in kv8

The compiler is closed: how it splits a tensor, and what it keeps beside these two (activations,
buffers, code), is not published. docs/explanation/memory.md explains the formula.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from vacc_gen.schema.errors import plural
from vacc_gen.schema.geometry import Geometry
from vacc_gen.schema.precision import Precision
from vacc_gen.schema.preset import Card

TP_CHOICES = (1, 2, 4, 8, 16, 32)
"""Numbers of dies that are worth considering; published configs use 4 and 8."""

SERVED_BATCH = 16
"""Requests that `vastgenx serve` takes at once unless told otherwise (tools/vastgenx/README.md)."""

FP16_BYTES = 2
GROUP_SIZE = 64
SCALE_BYTES = 2
"""One fp16 scale for each group of int8 or int4 weights."""

WEIGHT_BITS = {"int8": 8, "int4": 4}
"""Of a weight in a linear layer, where weights are quantized."""


@dataclass(frozen=True)
class HeadSplit:
    """What tensor parallelism does to the heads: a die holds whole ones."""

    tp: int
    attention_heads: int
    kv_heads: int

    def per_die(self) -> tuple[int, int]:
        """Return the most attention heads and KV heads of one die; KV heads are copied if fewer."""
        return _ceil(self.attention_heads, self.tp), _ceil(self.kv_heads, self.tp)

    @property
    def is_even(self) -> bool:
        """Whether every die has as many heads: dies share each KV head, or KV heads each die."""
        shares = self.kv_heads % self.tp == 0 or self.tp % self.kv_heads == 0
        return self.attention_heads % self.tp == 0 and shares

    def even_tp(self) -> int:
        """Return the next larger tp that splits evenly, or else the next smaller."""
        even = [tp for tp in TP_CHOICES if replace(self, tp=tp).is_even]
        return next((tp for tp in even if tp >= self.tp), even[-1])

    def sentence(self) -> str:
        """Return what the fullest die has, such as `18 attention heads and 1 KV head a die`."""
        attention, kv = self.per_die()
        heads = f"{plural(attention, 'attention head')} and {plural(kv, 'KV head')} a die"
        return heads if self.is_even else f"up to {heads}"


@dataclass(frozen=True)
class Footprint:
    """Memory of the fullest die, in bytes."""

    precision: Precision
    tp: int
    weights_bytes: int
    kv_cache_bytes: int

    @property
    def total_bytes(self) -> int:
        return self.weights_bytes + self.kv_cache_bytes

    def left_bytes(self, card: Card) -> int:
        """What is left of a die for everything else; negative where it does not fit."""
        return card.die_memory_bytes - self.total_bytes


def footprint(geometry: Geometry, precision: Precision, tp: int, total_tokens: int) -> Footprint:
    """Estimate the memory of the fullest die; `total_tokens` are those of prompt and answer."""
    g = geometry
    heads, kv_heads = HeadSplit(tp, g.attention_heads, g.kv_heads).per_die()
    linear, embedding = _weights(g, heads, kv_heads, dies=tp)
    linear_bytes = linear * FP16_BYTES
    if precision in WEIGHT_BITS:
        linear_bytes = linear * WEIGHT_BITS[precision] // 8 + linear * SCALE_BYTES // GROUP_SIZE
    cache_values = 2 * g.layers * kv_heads * g.head_size * total_tokens * SERVED_BATCH
    return Footprint(
        precision=precision,
        tp=tp,
        weights_bytes=linear_bytes + embedding * FP16_BYTES,
        kv_cache_bytes=cache_values * (1 if precision == "kv8" else FP16_BYTES),
    )


def least_tp(
    geometry: Geometry, precision: Precision, total_tokens: int, die_memory_bytes: int
) -> int | None:
    """Return the least of `TP_CHOICES` with which a model fits dies; None where none does."""
    estimates = (footprint(geometry, precision, tp, total_tokens) for tp in TP_CHOICES)
    return next((one.tp for one in estimates if one.total_bytes <= die_memory_bytes), None)


def parameter_count(geometry: Geometry) -> int:
    """Number of weights with a tied head counted once; norms and biases are left out."""
    return sum(_weights(geometry, geometry.attention_heads, geometry.kv_heads, dies=1))


def _weights(geometry: Geometry, heads: int, kv_heads: int, dies: int) -> tuple[int, int]:
    """Count the weights of one die: in the linear layers, and in embedding and head."""
    g = geometry
    qkv = g.hidden_size * (heads + 2 * kv_heads) * g.head_size
    attention = qkv + heads * g.head_size * g.hidden_size
    mlp = (3 if g.gated_mlp else 2) * g.hidden_size * _ceil(g.ffn_hidden_size, dies)
    matrices = 1 if g.tied_embeddings else 2
    return g.layers * (attention + mlp), matrices * g.hidden_size * _ceil(g.vocab_size, dies)


def _ceil(count: int, parts: int) -> int:
    return -(-count // parts)
