"""The recipe, `vacc.yaml`, whole: the one file that a user writes."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from vacc_gen.schema.precision import Precision, Quantization
from vacc_gen.schema.strict import Strict

LENGTH_STEP_TOKENS = 16
"""The compiler takes sequence lengths that are multiples of 16 (vendor's LLM README)."""

PLACEHOLDER = "/path/to/"
"""How a path begins that is still to be filled in; published configs begin theirs so."""

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
    """Return what is wrong with lengths in tokens, None if nothing is; a second line is a hint."""
    for name, tokens in (("prefill", prefill), ("total", total)):
        if tokens < LENGTH_STEP_TOKENS or tokens % LENGTH_STEP_TOKENS:
            return f"{name} length {tokens} is not a positive multiple of {LENGTH_STEP_TOKENS}"
    if prefill > total:
        return f"prefill {prefill} is longer than total {total}\ntotal counts prompt and answer"
    return None


Split = Literal["train", "validation", "dev", "val", "test"]


class Calibration(Strict):
    """Texts of c4, ceval or alpaca as published, or of your own files, and how they are drawn.

    This is the `dataset` block of a compile config; the compiler reads no split, subjects or seed.
    """

    set: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="name of a set (see presets/calibration), or a name of your own for .txt, "
        ".jsonl and .json files",
    )
    path: str = Field(
        min_length=1,
        description="the set's file or folder, absolute or relative to vacc.yaml",
    )
    split: Split | None = Field(
        default=None,
        description="c4: train, validation; ceval: val, dev, test; unset: the first of these",
    )
    subjects: tuple[str, ...] = Field(
        default=(), description="C-Eval subjects to read, such as law; unset: all"
    )
    samples: int = Field(default=128, ge=1, description="windows to draw (`nsamples`)")
    seqlen: int = Field(
        ge=1,
        description="length of a window in tokens; texts run on, an end-of-text token after each",
    )
    seed: int = Field(default=0, ge=0, description="decides which texts are drawn, and their order")


DEFAULT_PLATFORM = "x86_64-unknown-linux-gnu"
"""A target triple, as uv names platforms: the machines that the vendor's cards sit in."""

_LONE_EQUALS = re.compile(r"\s*([A-Za-z0-9._-]+)\s*=\s*([A-Za-z0-9.+*]+)\s*")
"""Conda's notation of a version."""


def _checked(requirement: str) -> str:
    from vacc_gen.schema.packages import parse_pin  # most recipes have no pins of their own

    try:
        parse_pin(requirement)
    except ValueError as error:
        of_conda = _LONE_EQUALS.fullmatch(requirement)
        advice = f"\ndid you mean `{of_conda[1]}=={of_conda[2]}`?" if of_conda else ""
        raise ValueError(f"{error}{advice}") from error
    return requirement


Requirement = Annotated[str, AfterValidator(_checked)]
"""Names and bounds of versions, as pip takes them; no marker and no URL."""


class Environment(Strict):
    """Python and packages for the compiler; ours may differ."""

    preset: str = Field(
        default="falcon-py310",
        min_length=1,
        description="a set of pins that ships with vacc-gen; see presets/environments",
    )
    python: Literal["3.8", "3.9", "3.10", "3.11", "3.12", "3.13"] = Field(
        default="3.10", description="the interpreter's version"
    )
    platform: str = Field(
        default=DEFAULT_PLATFORM,
        pattern=r"^[a-z0-9_-]+$",
        description="what the lock is resolved for, such as aarch64-unknown-linux-gnu",
    )
    pins: tuple[Requirement, ...] = Field(
        default=(),
        description="requirements in pip's notation; a package named here has these in place of "
        "the preset's, and is added where the preset has none",
    )


Tolerance = Annotated[float, Field(gt=0)]


class Thresholds(Strict):
    """Largest absolute difference of any logit, by precision."""

    fp16: Tolerance = Field(default=0.05, description="fp16 graph against torch in fp32")
    int8: Tolerance = Field(default=1.0, description="int8 graph against torch in fp32")
    int4: Tolerance = Field(default=5.0, description="int4 graph against torch in fp32")
    kv8: Tolerance = Field(default=1.0, description="int8 KV cache against the fp16 graph")


class Verification(Strict):
    """What `build` compares at its end."""

    decode_steps: int = Field(default=32, ge=32, description="decode steps that are compared")
    text: str | None = Field(
        default=None, description="text file to compare on; unset: the one that ships"
    )
    window: int | None = Field(
        default=None,
        ge=2,
        description="tokens of a window of the text that perplexity is measured on; unset: 512, or "
        "as many as target.total, a text of at least eight windows, and the model's size allow",
    )
    stride: int | None = Field(
        default=None,
        ge=1,
        description="tokens from a window to the next, `window` at most; unset: `window`. Only "
        "tokens that no window before had are predicted",
    )
    perplexity_windows: int = Field(default=16, ge=1, description="windows to measure at the most")
    max_abs_diff: Thresholds = Field(default_factory=Thresholds)

    @model_validator(mode="after")
    def _check_stride(self) -> Verification:
        if self.stride is not None and self.stride > (self.window or 0):
            window = f"`window` is {self.window}" if self.window else "`window` is not set"
            raise ValueError(f"`stride` is {self.stride}, {window}\nset `window` to at least that")
        return self


RECIPE_FILE = "vacc.yaml"
RECIPE_VERSION: Literal[2] = 2

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]*"
"""Of `model.name`, which becomes part of a folder's name."""


class Model(Strict):
    """Which model the recipe is for, and where its weights are."""

    preset: str = Field(min_length=1, description="name of a preset; see `vacc-gen presets list`")
    checkpoint: str = Field(
        min_length=1,
        description="weight folder, absolute or relative to vacc.yaml: config.json, tokenizer.json "
        "and safetensors shards; need not be there until `build`, and `fetch` fills it",
    )
    name: str | None = Field(
        default=None,
        pattern=f"^{NAME_PATTERN}$",
        description="what compiled models are called, before precision, tp and lengths; unset: "
        "the last part of `checkpoint`",
    )


class Recipe(Strict):
    """Everything that vacc-gen needs to know to make, build and check one model."""

    version: Literal[2] = Field(description="schema of this file")
    model: Model
    precisions: tuple[Precision, ...] = Field(
        default=(Precision.FP16, Precision.INT8),
        min_length=1,
        description="one compile config is made for each",
    )
    target: Target = Field(default_factory=Target)
    quantization: Quantization = Field(default_factory=Quantization)
    calibration: Calibration | None = Field(
        default=None, description="unset: int8 is left to the compiler's default data"
    )
    environment: Environment = Field(default_factory=Environment)
    verification: Verification = Field(default_factory=Verification)
