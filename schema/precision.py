"""The precisions that a model can be compiled to, and how int8 and int4 are made."""

from __future__ import annotations

from enum import Enum
from typing import Literal

from vacc_gen.schema.strict import Strict, optional

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


class Quantization(Strict):
    """How int8 and int4 weights are made: by GPTQ where there is calibration data."""

    group_size: Literal[16, 32, 64] | None = optional(
        "weights that share one scale, along the input; unset: the widest of 64, 32 and 16 that "
        "divides every width of the model. Of int4 on the embedded backend, and of int8 with float "
        "activations; otherwise int8 has one scale an output channel, as the vendor's has"
    )
    desc_act: bool = optional(
        "GPTQ on the embedded backend rounds the inputs with the largest activations first, not in "
        "natural order; scales stay where they are, so it costs nothing at run time",
        True,
    )
    damp_percent: float = optional(
        "share of the Hessian's mean diagonal that the embedded GPTQ adds to it", 0.01, gt=0, lt=1
    )
    activations: Literal["int8", "float"] = optional(
        "what the embedded backend multiplies int8 and int4 weights with: int8 rounds each token's "
        "activations to 8 bits, float is exact and, with int8 weights, 45 to 70 times slower",
        "int8",
    )
    device: str | None = optional(
        "where GPTQ runs, the vendor's (`frontend.quantize.device`) and the embedded one; unset: "
        "the vendor's default, and cpu",
        pattern=r"^(cpu|cuda(:\d+)?)$",
    )
    true_sequential: bool | None = optional(
        "GPTQ quantizes the layers of a block one after the other, each on what the quantized ones "
        "before it put out; unset: the vendor's default, and true on the embedded backend"
    )
    separate_pass: bool = optional(
        "run `vamc quant` before `vamc compile`, as older versions of vamc want it", False
    )
