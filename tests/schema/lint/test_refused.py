"""What a validator of a typed model refuses, in its own words."""

from pydantic import BaseModel, model_validator

from vacc_gen.schema.lint import structure
from vacc_gen.schema.lint.document import load


class Lengths(BaseModel):
    first: int
    last: int

    @model_validator(mode="after")
    def _in_order(self):
        if self.first > self.last:
            raise ValueError("first is after last\nexchange them")
        return self


class Whole(BaseModel):
    lengths: Lengths


def test_values_that_do_not_go_together_are_placed_at_the_key_above_them():
    text = "lengths:\n  first: 2\n  last: 1\n"
    (fault,) = structure.check(load(text), Whole).of(structure.Refused)
    assert (fault.reason, fault.hint) == ("first is after last", "exchange them")
    assert (fault.span.line, fault.span.column, fault.span.end) == (1, 1, len("lengths"))
