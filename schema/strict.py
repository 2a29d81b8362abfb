"""The base of every typed part of a recipe: strict, closed, immutable."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A model that refuses unknown keys and silent conversions (`"4"` is not 4)."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)
