"""The recipe: the one file that a user writes, `vacc.yaml`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vacc_gen.schema.calibration import Calibration
from vacc_gen.schema.environment import Environment
from vacc_gen.schema.geometry import Model
from vacc_gen.schema.precision import Precision, Quantization
from vacc_gen.schema.strict import Strict
from vacc_gen.schema.target import Target
from vacc_gen.schema.verification import Verification

RECIPE_FILE = "vacc.yaml"
RECIPE_VERSION: Literal[2] = 2


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
