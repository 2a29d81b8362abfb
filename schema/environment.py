"""The dependency pins of the environment that the vendor's compiler runs in."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from vacc_gen.schema.strict import Strict

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
