"""The dependency pins of the environment that the vendor's compiler runs in."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vacc_gen.schema.base import Strict

Requirement = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9,._-]+\])?\s*([<>=!~].*)?$"),
]


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
    pins: tuple[Requirement, ...] = Field(
        default=(), description="requirements beyond the preset's, in pip's notation"
    )
