"""The base of every part of a compile YAML: strict and closed."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from vacc_gen.schema.strict import Strict


class ConfigPart(Strict):
    """A mapping of the compile YAML.

    A field with the default None may be left out. Its value may be null too, of which `validate`
    warns: what the compiler makes of a null is not published.
    """

    model_config = ConfigDict(allow_inf_nan=False)


def _whole(value: Any) -> Any:
    if value is not None and type(value) is not int:
        raise PydanticCustomError("int_type", "not a whole number")
    return value


WholeNumber = BeforeValidator(_whole)
"""For a Literal of numbers: false equals 0 and 1.0 equals 1 in Python, so Literal takes them."""


def also_written(*names: str) -> dict[str, Any]:
    """Mark a field with the names that other tools have for it, for suggestions."""
    return {"x-aliases": list(names)}


Unverified = Annotated[
    Any, Field(description="named by a third party only (for vamc 3.4.3); taken as it is")
]
"""The value of a key that no published config has."""
