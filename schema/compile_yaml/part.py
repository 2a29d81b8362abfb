"""The base of every part of a compile YAML: strict, closed, and null only where null is legal."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BeforeValidator, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from vacc_gen.schema.strict import Strict


class VamcPart(Strict):
    """A mapping of the compile YAML.

    A field with the default None is one that may be left out. Writing `key: null` instead is an
    error, except for the fields named in `NULLABLE`, where null means something to the compiler.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    NULLABLE: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _refuse_null(cls, values: Any) -> Any:
        if isinstance(values, dict):
            for key, value in values.items():
                if value is None and key not in cls.NULLABLE:
                    raise PydanticCustomError("null", "`{key}` is null", {"key": key})
        return values


def _whole(value: Any) -> Any:
    if type(value) is not int:
        raise PydanticCustomError("whole", "not a whole number")
    return value


WholeNumber = BeforeValidator(_whole)
"""For a Literal of numbers: false equals 0 and 1.0 equals 1 in Python, so Literal takes them."""


def also_written(*names: str) -> dict[str, Any]:
    """Mark a field with names that people write by mistake, for suggestions."""
    return {"x-aliases": list(names)}
