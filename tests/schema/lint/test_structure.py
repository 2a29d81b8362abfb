"""What the typed models refuse and allow; test_messages.py has their errors in real files."""

from pydantic import BaseModel, model_validator

from tests.published import FOLDER
from vacc_gen.schema.lint import structure
from vacc_gen.schema.lint.check import check_text
from vacc_gen.schema.lint.document import load

FALCON = (FOLDER / "llm/falcon/build_in/build/hf_falcon_int8.yaml").read_text(encoding="utf-8")


def test_a_top_level_key_for_anchors_is_allowed():
    text = "x-common: &all {tp: 4}\n" + FALCON.replace("    tp: 4\n", "    <<: *all\n")
    assert check_text(text, "build/x.yaml") == []


def test_meaning_waits_for_form():
    text = FALCON.replace("-int8-", "-fp16-").replace("  workers: 4", "  wokers: 4")
    assert [one.code for one in check_text(text, "build/x.yaml")] == ["VG101"]


def test_a_recipe_is_held_to_its_model_by_name():
    text = (
        "version: 2\nmodel: {preset: falcon-7b, chekpoint: x}\nprecisions: [fp61]\ntarget: {tp: x}"
    )
    found = check_text(text, "vacc.yaml")
    assert [(one.line, one.column, one.message, one.hint) for one in found] == [
        (2, 28, "unknown key `chekpoint` in `model`", "did you mean `checkpoint`?"),
        (3, 14, "'fp61' is not a value of `precisions[0]`", "did you mean `fp16`?"),
        (4, 14, "`target.tp` is the text 'x', not a whole number", None),
    ]


def test_a_list_as_a_key_is_not_fixed():
    (found,) = check_text("backend: {[a, b]: 1}", "x.yaml")
    assert (found.code, found.column, found.fix) == ("VG008", 11, None)
    assert found.message == "a list as a key"


def test_a_missing_key_has_its_values_beside_it_if_it_is_the_only_one():
    frontend = "\nname: x\nworkspace: {path: .}\nfrontend: {checkpoint: x, shape: {x: [1]}}"
    texts = ("backend: {type: tvm_vacc}", "backend: {}")
    hints = [check_text(text + frontend, "x.yaml")[0].hint for text in texts]
    assert hints == ["one of fp16, int8", None]


def test_a_null_in_a_recipe_is_a_value():
    text = "version: 2\nmodel: {preset: falcon-7b, checkpoint: x}\ncalibration: null\n"
    assert check_text(text, "vacc.yaml") == []


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
