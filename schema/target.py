"""What the model is compiled for: card, tensor parallelism, lengths."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vacc_gen.schema.strict import Strict

LENGTH_STEP_TOKENS = 16
"""The compiler takes sequence lengths that are multiples of 16 (vendor's LLM README)."""

Length = Annotated[int, Field(ge=LENGTH_STEP_TOKENS, multiple_of=LENGTH_STEP_TOKENS)]


class Target(Strict):
    """Card, tensor parallelism and static lengths."""

    card: str | None = Field(default=None, description="name of a card; see presets/cards")
    tp: int = Field(default=4, ge=1, le=64, description="tensor parallelism, in dies")
    prefill: Length = Field(default=1024, description="prompt length in tokens")
    total: Length = Field(default=2048, description="prompt and answer together, in tokens")
    optimize_for: Literal["throughput", "latency"] = Field(
        default="throughput", description="throughput compiles with `b2s: true`, latency without"
    )
    align_qkv: bool = Field(
        default=False,
        description="pad grouped-query heads so that they split over tp (`align_qkv`)",
    )
    workers: int = Field(default=4, ge=1, description="processes that the compiler may start")

    @model_validator(mode="after")
    def _check_lengths(self) -> Target:
        problem = lengths_problem(self.prefill, self.total)
        if problem is not None:
            raise ValueError(problem)
        return self


def lengths_problem(prefill: int, total: int) -> str | None:
    """Return what is wrong with a prompt length and a total length in tokens, None if nothing is.

    The only place that says so. A second line says what to do.
    """
    for name, tokens in (("prefill", prefill), ("total", total)):
        if tokens < LENGTH_STEP_TOKENS or tokens % LENGTH_STEP_TOKENS:
            return f"{name} length {tokens} is not a positive multiple of {LENGTH_STEP_TOKENS}"
    if prefill > total:
        return f"prefill {prefill} is longer than total {total}\ntotal counts prompt and answer"
    return None
