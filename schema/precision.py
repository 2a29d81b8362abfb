"""The precisions that a model can be compiled to, and how int8 is made."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Literal

from pydantic import Field

from vacc_gen.schema.base import Strict

GROUP_SIZES = (64, 32, 16)
"""Quantization groups that we try, widest first: 64 divides falcon-7b's 4544, 128 does not."""


class Precision(str, Enum):
    """What the compiled model computes with; the name is the one in file and config names."""

    FP16 = "fp16"
    INT8 = "int8"
    KV8 = "kv8"


class Quantization(Strict):
    """How int8 weights are made."""

    group_size: Literal[16, 32, 64] | None = Field(
        default=None,
        description="weights that share one scale, along the input; unset: the widest of 64, 32 "
        "and 16 that divides every width of the model",
    )
    accuracy_level: Literal[0, 1, 2, 3, 4] = Field(
        default=4,
        description="of ONNX Runtime's MatMulNBits on the embedded backend: 4 computes with int8 "
        "activations, 0 with those of the graph (exact and 45 to 70 times slower)",
    )
    device: str | None = Field(
        default=None,
        pattern=r"^(cpu|cuda(:\d+)?)$",
        description="where the vendor's GPTQ pass runs (`frontend.quantize.device`)",
    )
    true_sequential: bool | None = Field(
        default=None,
        description="GPTQ quantizes the layers of a block one after the other "
        "(`frontend.quantize.calib_args.true_sequential`)",
    )
    separate_pass: bool = Field(
        default=False,
        description="run `vamc quant` before `vamc compile`, as older versions of vamc want it",
    )


def widest_group(widths: Iterable[int], candidates: tuple[int, ...] = GROUP_SIZES) -> int | None:
    """Return the widest group size that divides every one of `widths`, or None."""
    sizes = tuple(widths)
    return next((group for group in candidates if all(w % group == 0 for w in sizes)), None)
