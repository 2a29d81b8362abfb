"""How far a compiled model may be from the model that it was made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from vacc_gen.schema.strict import Strict

Tolerance = Annotated[float, Field(gt=0)]


class Thresholds(Strict):
    """Largest absolute difference of any logit, by precision."""

    fp16: Tolerance = Field(default=0.05, description="fp16 graph against torch in fp32")
    int8: Tolerance = Field(default=1.0, description="int8 graph against the fp16 graph")
    int4: Tolerance = Field(default=5.0, description="int4 graph against the fp16 graph")
    kv8: Tolerance = Field(default=1.0, description="int8 KV cache against the fp16 graph")


class Verification(Strict):
    """What `build` compares at its end."""

    decode_steps: int = Field(default=32, ge=32, description="decode steps that are compared")
    text: str | None = Field(
        default=None, description="text file to compare on; unset: the one that ships"
    )
    perplexity_windows: int = Field(
        default=16,
        ge=1,
        description="windows of 128 tokens of the text that perplexity is measured on, at the most",
    )
    max_abs_diff: Thresholds = Field(default_factory=Thresholds)
