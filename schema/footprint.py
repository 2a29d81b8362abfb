"""What a compiled model keeps in the memory of each die: weights and KV cache. An estimate.

Legend, all counted for one die of `tp`:
    L layers, D hidden size, H attention heads, K KV heads, S head size, F FFN width, V vocabulary
    heads      H' = ceil(H / tp), K' = ceil(K / tp): a die holds whole heads
    attention  D·(H' + 2·K')·S + H'·S·D
    mlp        m·D·ceil(F / tp), m = 3 with a gate, else 2
    embedding  e·D·ceil(V / tp), e = 1 where the head is tied, else 2
    weights    w·L·(attention + mlp) + 2·embedding, w = b/8 + 2/group in b bits, else 2
    KV cache   2·L·K'·S·tokens·batch·c, c = 2, or 1 in kv8

The compiler is closed: how it splits a tensor, and what it keeps beside these two (activations,
buffers, code), is not published. docs/memory.md explains the formula.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # `validate` computes this too, and does without pydantic
    from vacc_gen.schema.geometry import Geometry
    from vacc_gen.schema.precision import Precision
    from vacc_gen.schema.preset import Card

TP_CHOICES = (1, 2, 4, 8, 16, 32)
"""Numbers of dies that are worth considering; published configs use 4 and 8."""

SERVED_BATCH = 16
"""Requests that `vastgenx serve` takes at once unless told otherwise (tools/vastgenx/README.md)."""

FP16_BYTES = 2
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

    @property
    def attention_heads_per_die(self) -> int:
        """Most heads that one die computes."""
        return _ceil(self.attention_heads, self.tp)

    @property
    def kv_heads_per_die(self) -> int:
        """Most KV heads that one die caches; fewer KV heads than dies are copied."""
        return _ceil(self.kv_heads, self.tp)

    @property
    def is_even(self) -> bool:
        """Whether every die has as many heads: dies share each KV head, or KV heads each die."""
        shares = self.kv_heads % self.tp == 0 or self.tp % self.kv_heads == 0
        return self.attention_heads % self.tp == 0 and shares

    def even_tp(self) -> int:
        """Return the tp to take instead: the next larger that splits evenly, or else smaller."""
        even = [tp for tp in TP_CHOICES if replace(self, tp=tp).is_even]
        return next((tp for tp in even if tp >= self.tp), even[-1])

    def sentence(self) -> str:
        """Return what the fullest die has, such as `18 attention heads and 1 KV head a die`."""
        attention, kv = self.attention_heads_per_die, self.kv_heads_per_die
        heads = f"{count_of(attention, 'attention head')} and {count_of(kv, 'KV head')} a die"
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
        """Weights and KV cache together."""
        return self.weights_bytes + self.kv_cache_bytes

    def left_bytes(self, card: Card) -> int:
        """What is left of a die for everything else; negative where it does not fit."""
        return card.die_memory_bytes - self.total_bytes


def footprint(
    geometry: Geometry,
    precision: Precision,
    tp: int,
    total_tokens: int,
    batch: int = SERVED_BATCH,
    group_size: int = 64,
) -> Footprint:
    """Estimate the memory of the fullest die.

    `total_tokens` is the length of prompt and answer, `batch` how many requests are served at
    once, `group_size` how many int8 or int4 weights share a scale.
    """
    g = geometry
    split = HeadSplit(tp, g.attention_heads, g.kv_heads)
    linear, embedding = _weights(g, split.attention_heads_per_die, split.kv_heads_per_die, dies=tp)
    cache_values = 2 * g.layers * split.kv_heads_per_die * g.head_size * total_tokens * batch
    return Footprint(
        precision=precision,
        tp=tp,
        weights_bytes=_linear_bytes(linear, precision, group_size) + embedding * FP16_BYTES,
        kv_cache_bytes=cache_values * (1 if precision == "kv8" else FP16_BYTES),
    )


def least_tp(geometry: Geometry, precision: Precision, total_tokens: int, card: Card) -> int | None:
    """Return the least of `TP_CHOICES` with which a model fits a card; None where none does."""
    for tp in TP_CHOICES:
        if footprint(geometry, precision, tp, total_tokens).left_bytes(card) >= 0:
            return tp
    return None


def parameter_count(geometry: Geometry) -> int:
    """Number of weights with a tied head counted once; norms and biases are left out."""
    return sum(_weights(geometry, geometry.attention_heads, geometry.kv_heads, dies=1))


def compiled_bytes(geometry: Geometry, precision: Precision) -> int:
    """Estimate what the weights of one compiled model take on disk, in bytes."""
    return footprint(geometry, precision, tp=1, total_tokens=0).weights_bytes


def _weights(geometry: Geometry, heads: int, kv_heads: int, dies: int) -> tuple[int, int]:
    """Count the weights of one die: in the linear layers, and in embedding and head."""
    g = geometry
    qkv = g.hidden_size * (heads + 2 * kv_heads) * g.head_size
    attention = qkv + heads * g.head_size * g.hidden_size
    mlp = (3 if g.gated_mlp else 2) * g.hidden_size * _ceil(g.ffn_hidden_size, dies)
    matrices = 1 if g.tied_embeddings else 2
    return g.layers * (attention + mlp), matrices * g.hidden_size * _ceil(g.vocab_size, dies)


def _linear_bytes(weights: int, precision: Precision, group_size: int) -> int:
    """Bytes of `weights` of linear layers, with their scales."""
    bits = WEIGHT_BITS.get(precision)
    if bits is None:
        return weights * FP16_BYTES
    return weights * bits // 8 + weights * SCALE_BYTES // group_size


def count_of(count: int, noun: str) -> str:
    """Return `1 KV head` or `2 KV heads`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _ceil(count: int, parts: int) -> int:
    return -(-count // parts)
