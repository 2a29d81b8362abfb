"""The recipe: the one file that a user writes, `vacc.yaml`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vacc_gen.schema.calibration import Calibration
from vacc_gen.schema.environment import Environment
from vacc_gen.schema.precision import Precision, Quantization
from vacc_gen.schema.strict import Strict
from vacc_gen.schema.target import Target
from vacc_gen.schema.verification import Verification

RECIPE_FILE = "vacc.yaml"
RECIPE_VERSION: Literal[2] = 2

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]*"
"""What may stand in `model.name`: it becomes part of a folder's name."""


class Model(Strict):
    """Which model the recipe is for, and where its weights are."""

    preset: str = Field(min_length=1, description="name of a preset; see `vacc-gen presets list`")
    checkpoint: str = Field(
        min_length=1,
        description="weight folder, absolute or relative to vacc.yaml: config.json, tokenizer.json "
        "and safetensors shards; a placeholder such as /path/to/falcon-7b-instruct is fine until "
        "`build`",
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
