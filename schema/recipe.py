"""The recipe, `vacc.yaml`, whole: the one file that a user writes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from vacc_gen.schema.precision import Precision
from vacc_gen.schema.strict import Strict, optional

LENGTH_STEP_TOKENS = 16
"""The compiler takes sequence lengths that are multiples of 16 (vendor's LLM README)."""

PLACEHOLDER = "/path/to/"
"""How a path begins that is still to be filled in; published configs begin theirs so."""

Length = Annotated[int, Field(ge=LENGTH_STEP_TOKENS, multiple_of=LENGTH_STEP_TOKENS)]


class Target(Strict):
    """Card, tensor parallelism and static lengths."""

    card: str | None = optional("name of a card; see presets/cards")
    tp: int = optional("tensor parallelism, in dies", 4, ge=1, le=64)
    prefill: Length = optional("prompt length in tokens", 1024)
    total: Length = optional("prompt and answer together, in tokens", 2048)
    optimize_for: Literal["throughput", "latency"] = optional(
        "throughput compiles with `b2s: true`, latency without", "throughput"
    )
    align_qkv: bool = optional("pad grouped-query heads so that they split over tp", False)
    workers: int = optional("processes that the compiler may start", 4, ge=1)

    @model_validator(mode="after")
    def _check_lengths(self) -> Target:
        if problem := lengths_problem(self.prefill, self.total):
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


class TextSource(Strict):
    """Texts of one set: of c4, ceval or alpaca as published, or of your own files."""

    set: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="name of a set (see presets/calibration), or a name of your own for .txt, "
        ".jsonl and .json files",
    )
    path: str = Field(min_length=1, description="file or folder, absolute or relative to vacc.yaml")
    split: Literal["train", "validation", "dev", "val", "test"] | None = optional(
        "c4: train, validation; ceval: val, dev, test; unset: the first of these"
    )
    subjects: tuple[str, ...] = optional("C-Eval subjects to read, such as law; unset: all", ())
    weight: float = optional(
        "share of the windows, in proportion to the weights of the other sets",
        1.0,
        gt=0,
        allow_inf_nan=False,
    )


class Calibration(TextSource):
    """The texts and how they are drawn.

    Without `mix` this is the `dataset` block of a compile config; the compiler reads no split,
    subjects or seed. The sets of `mix` reach the embedded backend alone.
    """

    samples: int = optional("windows to draw (`nsamples`)", 128, ge=1)
    seqlen: int = Field(ge=1, description="length of a window in tokens")
    seed: int = optional("decides which texts are drawn, and their order", 0, ge=0)
    packing: Literal["concatenate", "one_text"] = optional(
        "concatenate: texts run on, an end-of-text token after each; one_text: a window is cut "
        "from one text, shorter texts are passed over; never padded",
        "concatenate",
    )
    mix: tuple[TextSource, ...] = optional("further sets to draw from, on the embedded backend", ())

    @property
    def sources(self) -> tuple[TextSource, ...]:
        """Every set that windows are drawn from, the main one first."""
        return (self, *self.mix)


def _checked(requirement: str) -> str:
    from vacc_gen.schema.packages import parse_pin  # most recipes have no pins of their own

    parse_pin(requirement)
    return requirement


Requirement = Annotated[str, AfterValidator(_checked)]
"""Names and bounds of versions, as pip takes them; no marker and no URL."""


class Environment(Strict):
    """Python and packages for the compiler; ours may differ."""

    preset: str = optional("pins that ship; see presets/environments", "falcon-py310", min_length=1)
    python: Literal["3.8", "3.9", "3.10", "3.11", "3.12", "3.13"] = optional(
        "the interpreter's version", "3.10"
    )
    platform: str = optional(
        "what the lock is resolved for", "x86_64-unknown-linux-gnu", pattern=r"^[a-z0-9_-]+$"
    )
    pins: tuple[Requirement, ...] = optional(
        "requirements in pip's notation, in place of the preset's of the same packages",
        (),
    )


Tolerance = Annotated[float, Field(gt=0)]


class Thresholds(Strict):
    """Largest absolute difference of any logit, by precision."""

    fp16: Tolerance = optional("fp16 graph against torch in fp32", 0.05)
    int8: Tolerance = optional("int8 graph against torch in fp32", 1.0)
    int4: Tolerance = optional("int4 graph against torch in fp32", 5.0)
    kv8: Tolerance = optional("int8 KV cache against the fp16 graph", 1.0)


class Verification(Strict):
    """What `build` compares at its end."""

    decode_steps: int = optional("decode steps that are compared", 32, ge=32)
    text: str | None = optional("text file to compare on; unset: the one that ships")
    window: int | None = optional(
        "tokens of a window of the text that perplexity is measured on; unset: 512, or as many as "
        "target.total, a text of at least eight windows, and the model's size allow",
        ge=2,
    )
    stride: int | None = optional(
        "tokens from a window to the next, `window` at most; unset: `window`. Only tokens that no "
        "window before had are predicted",
        ge=1,
    )
    perplexity_windows: int = optional("windows to measure at the most", 16, ge=1)
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
    name: str | None = optional(
        "what compiled models are called, before precision, tp and lengths; unset: the last part "
        "of `checkpoint`",
        pattern=f"^{NAME_PATTERN}$",
    )


class Recipe(Strict):
    """Everything that vacc-gen needs to know to make, build and check one model."""

    version: Literal[2] = Field(description="schema of this file")
    model: Model
    precisions: tuple[Precision, ...] = optional(
        "one compile config is made for each", (Precision.FP16, Precision.INT8), min_length=1
    )
    target: Target = Field(default_factory=Target)
    quantization: Quantization = Field(default_factory=Quantization)
    calibration: Calibration | None = optional("unset: int8 is left to the compiler's default data")
    environment: Environment = Field(default_factory=Environment)
    verification: Verification = Field(default_factory=Verification)
