"""How a graph knows where its tokens stand: the mask, ALiBi, and the rotary angles.

All of it is fp32 and computed once for all layers. Legend of shapes: see falcon.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto

from vacc_gen.generator.backends.onnxruntime.graph.builder import GraphBuilder

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

    @property
    def static(self) -> bool:
        """Whether every size is known."""
        return isinstance(self.batch, int)


def mask_bias(g: GraphBuilder, axes: Axes) -> str:
    """What masks scores, (B, 1, 1, S, T): 0 where a query may look, `MASKED` elsewhere."""
    counted = g.node("Cast", "attention_mask", name="mask/bool", to=TensorProto.BOOL)
    allowed = g.node("Unsqueeze", counted, g.ints(1, 2, 3), name="mask/padding")
    if axes.sequence != 1:
        allowed = g.node("And", allowed, _causal(g, axes), name="mask/allowed")
    zero = g.constant("zero", 0.0, np.float32)
    return g.node(
        "Where", allowed, zero, g.constant("masked", MASKED, np.float32), name="mask/bias"
    )


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


def alibi_bias(g: GraphBuilder, kv_heads: int, queries: int, head_size: int) -> str:
    """ALiBi over sqrt(D), (B, KV, G, 1, T), rounded to bf16 where transformers rounds it.

    A token's position is how many tokens before it the mask counts, wherever padding lies.
    """
    mask = g.node("Cast", "attention_mask", name="alibi/mask", to=TensorProto.FLOAT)
    seen = g.node("CumSum", mask, g.constant("int_one", 1, np.int64), name="alibi/seen")
    before = g.node("Sub", seen, g.constant("one", 1.0, np.float32), name="alibi/before")
    position = _bf16(g, g.node("Mul", before, mask, name="alibi/position"))
    position = g.node("Unsqueeze", position, g.ints(1, 2, 3), name="alibi/position_5d")
    slopes = alibi_slopes(kv_heads * queries).reshape(1, kv_heads, queries, 1, 1)
    slopes = g.constant("alibi/slopes", slopes, np.float32)
    product = _bf16(g, g.node("Mul", position, slopes, name="alibi/product"))
    root = g.constant("alibi/sqrt_head_size", math.sqrt(head_size), np.float32)
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
    whole = g.node(
        "Round", g.node("Div", value, unit, name=f"{value}/units"), name=f"{value}/whole"
    )
    return g.node("Mul", whole, unit, name=f"{value}/rounded")


def alibi_slopes(heads: int) -> Any:
    """The slope of each head as transformers' `build_alibi_tensor` has it: bf16 values in fp32."""
    import torch

    def powers(count: int, base_heads: int, step: int) -> torch.Tensor:
        base = torch.tensor(2.0 ** (-(2.0 ** -(math.log2(base_heads) - 3))), dtype=torch.float32)
        return torch.pow(base, torch.arange(1, 1 + step * count, step, dtype=torch.int32))

    whole = 2 ** math.floor(math.log2(heads))
    slopes = torch.cat([powers(whole, whole, 1), powers(heads - whole, 2 * whole, 2)])
    return slopes.bfloat16().float().numpy()


def rotation(g: GraphBuilder, head_size: int, theta: float) -> tuple[str, str]:
    """Cosines and signed sines of the rotary angles, (B, 1, 1, S, D).

    The sines' first half is negated, so that rotating is `x * cos + swap(x) * sin`, where swap
    exchanges the halves of D.
    """
    frequencies = g.constant("rotary/frequencies", _frequencies(head_size, theta), np.float32)
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


def rotation_tables(
    g: GraphBuilder, head_size: int, theta: float, positions: int
) -> tuple[str, str]:
    """Cosines and sines of the rotary angles of every position, (positions, D/2)."""
    angles = np.arange(positions, dtype=np.float32)[:, None] * _frequencies(head_size, theta)
    return (
        g.constant("rotary/cos_table", np.cos(angles), np.float32),
        g.constant("rotary/sin_table", np.sin(angles), np.float32),
    )


def _frequencies(head_size: int, theta: float) -> Any:
    """What a position is multiplied with, (D/2).

    The very expression that transformers uses: numpy's float32 power differs in the last bit,
    which 2048 positions turn into 1e-4 radians.
    """
    import torch

    return (1.0 / theta ** (torch.arange(0, head_size, 2).float() / head_size)).numpy()
