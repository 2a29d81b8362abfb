"""Which texts int8 quantization is calibrated on."""

from __future__ import annotations

from pydantic import Field

from vacc_gen.schema.base import Strict


class Calibration(Strict):
    """A calibration set: the `dataset` block of a compile config for a language model."""

    set: str = Field(min_length=1, description="name of a set; see presets/calibration")
    path: str = Field(min_length=1, description="the set's file or folder on this machine")
    samples: int = Field(default=128, ge=1, description="windows to draw (`nsamples`)")
    seqlen: int = Field(ge=1, description="length of a window in tokens")
