"""The bases of every typed part of a file: closed, without silent conversions."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError


class Strict(BaseModel):
    """A model that refuses unknown keys and silent conversions (`"4"` is not 4)."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


class ConfigPart(Strict):
    """A mapping of the compile YAML.

    A field with the default None may be left out. Its value may be null too, of which `validate`
    warns: what the compiler makes of a null is not published.
    """

    model_config = ConfigDict(allow_inf_nan=False)


def required(description: str, *, aliases: tuple[str, ...] = (), **limits: Any) -> Any:
    """Return a field; `aliases` are the names that other tools have for it, for suggestions."""
    extra: Any = {"x-aliases": list(aliases)} if aliases else None
    return Field(description=description, json_schema_extra=extra, **limits)


def optional(description: str, **options: Any) -> Any:
    """Return a field that may be left out; `options` as for `required`.

    Of a `deprecated` one the description says what it is, and `deprecated` what to do instead.
    """
    return required(description, default=None, **options)


def _whole(value: Any) -> Any:
    if value is not None and type(value) is not int:
        raise PydanticCustomError("int_type", "not a whole number")
    return value


WholeNumber = BeforeValidator(_whole)
"""For a Literal of numbers: false equals 0 and 1.0 equals 1 in Python, so Literal takes them."""

UNPUBLISHED = "meaning not published; typed from use"

Unverified = Annotated[
    Any, Field(description="named by a third party only (for vamc 3.4.3); taken as it is")
]
"""The value of a key that no published config has."""
