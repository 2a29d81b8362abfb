"""The precisions that a model can be compiled to. Loads nothing: the shell's completion asks."""

from __future__ import annotations

from enum import Enum

GROUP_SIZES = (64, 32, 16)
"""Quantization groups that we try, widest first: 64 divides falcon-7b's 4544, 128 does not."""

PER_CHANNEL = -1
"""The group size that means one scale for each output channel, as GPTQ tools write it."""


class Precision(str, Enum):
    """What the compiled model computes with; the name is the one in file and config names."""

    FP16 = "fp16"
    INT8 = "int8"
    INT4 = "int4"
    KV8 = "kv8"


EMBEDDED_ONLY = frozenset({Precision.INT4})
"""Precisions that the vendor's compiler does not make: no compile config is written for them."""
