"""What the typed models refuse: each error at its token, with the nearest legal name beside it."""

import pytest
from pydantic import BaseModel, model_validator

from tests.published import FOLDER
from vacc_gen.schema.lint import structure
from vacc_gen.schema.lint.check import check_text
from vacc_gen.schema.lint.document import load
from vacc_gen.schema.lint.fixes import fixed

FALCON = (FOLDER / "llm/falcon/build_in/build/hf_falcon_int8.yaml").read_text(encoding="utf-8")
IMAGES = (FOLDER / "cv/classification/cspnet/build_in/build/timm_cspnet.yaml").read_text("utf-8")
IGNORED = "The compiler ignores keys that it does not know."


def reported(text, old, new):
    assert text.count(old) == 1, (text.count(old), old)
    changed = text.replace(old, new)
    return changed, check_text(changed, "build/x.yaml")


@pytest.mark.parametrize(
    ("old", "new", "line", "column", "message", "hint", "right"),
    [
        (
            "    b2s: true", "    b2z: true", 11, 5,
            "unknown key `b2z` in `frontend.model_kwargs`",
            f"did you mean `b2s`? {IGNORED}", "    b2s: true",
        ),
        (
            "    b2s: true", "    b2z: [1]", 11, 5,  # no value of b2s: nothing is sure
            "unknown key `b2z` in `frontend.model_kwargs`",
            f"did you mean `b2s`? {IGNORED}", None,
        ),
        (
            "    b2s: true", "    tpp: 2", 11, 5,
            "unknown key `tpp` in `frontend.model_kwargs`",
            f"did you mean `tp`? It is on line 10 already. {IGNORED}", None,
        ),
        (
            "name: falcon", "model: falcon", 1, 1, "unknown key `model` at the top level",
            f"did you mean `name`? {IGNORED}", None,  # another word, not a misspelling
        ),
        (
            "    b2s: true", "    workers: 4", 11, 5,
            "`workers` does not belong in `frontend.model_kwargs`",
            f"it belongs in `workspace`. {IGNORED}", None,
        ),
        (
            "backend:", "bakcend:", 16, 1, "unknown key `bakcend` at the top level",
            f"did you mean `backend`? {IGNORED}", "backend:",
        ),
        (
            "  type: tvm_vacc\n", "", 16, 1, "`type` is missing in `backend`",
            "one of tvm_vacc, tvm_runmodel", None,
        ),
        (
            "  type: tvm_vacc", "  type: tvm_vcac", 17, 9,
            "'tvm_vcac' is not a value of `backend.type`", "did you mean `tvm_vacc`?",
            "  type: tvm_vacc",
        ),
        (
            "  dtype: int8", "  dtype: int4", 18, 10, "'int4' is not a value of `backend.dtype`",
            "did you mean `int8`?", None,  # another number of bits is another thing
        ),
        (
            "    data_type: 0", "    data_type: 1", 21, 16,
            "1 is not a value of `backend.compile.data_type`", "one of 0, 2", None,
        ),
        (
            "    data_type: 0", "    data_type: true", 21, 16,
            "`backend.compile.data_type` is true or false, not a whole number", None, None,
        ),
        (
            "    tp: 4", '    tp: "4"', 10, 9,
            "`frontend.model_kwargs.tp` is the text '4', not a whole number",
            "write 4 without quotes", "    tp: 4",
        ),
        (
            "    tp: 4", "    tp: [4]", 10, 9,
            "`frontend.model_kwargs.tp` is a list, not a whole number", None, None,
        ),
        (
            "    tp: 4", "    tp: 0", 10, 9,
            "`frontend.model_kwargs.tp` must be greater than or equal to 1, got 0", None, None,
        ),
        (
            "  path: ./vacc_deploy", "  path:", 24, 1, "`path` is missing in `workspace`", None,
            None,
        ),
        (
            "    type: w8a16_gptq", "    type:w8a16_gptq", 14, 5,
            "`frontend.quantize` is the text 'type:w8a16_gptq', not a mapping",
            "a space is missing after the colon: write `type: w8a16_gptq`", None,
        ),
        (
            "[[1024], [2048]]", "[[1024], 2048]", 8, 25,
            "`frontend.shape.input_ids[1]` is the whole number 2048, not a list",
            "a shape is a list of sizes; a language model's is [[prefill], [total]]", None,
        ),
    ],
)  # fmt: skip
def test_one_finding_at_the_token(old, new, line, column, message, hint, right):
    changed, found = reported(FALCON, old, new)
    errors = [one for one in found if one.severity.value == "error"]
    ((at, start, said, advice, fix),) = [
        (one.line, one.column, one.message, one.hint, one.fix) for one in errors
    ]
    assert (at, start, said, advice) == (line, column, message, hint)
    assert (fix is None) == (right is None)
    if right is not None:
        assert fix.safe
        assert fixed(load(changed), [fix]) == changed.replace(new, right)


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("type: Resize", "type: Resise", 35, "'Resise' is not a value of `dataset.process_ops[1]"),
        ("- type: Resize", "- tipe: Resize", 35, "unknown key `tipe` in `dataset.process_ops[1]`"),
        ("suffix: JPEG", "suffix: [JPEG]", 31, "`dataset.sampler.suffix` is a list, not text"),
        ("get_data_num: 50", "get_data_num:", 32, "`dataset.sampler.get_data_num` is null"),
        ("type: tvm\n", "type: tvn\n", 28, "'tvn' is not a value of `dataset.type`"),
    ],
)
def test_ops_and_data_sets_are_chosen_by_their_type(old, new, line, message):
    _, found = reported(IMAGES, old, new)
    assert [(one.line, one.message[: len(message)]) for one in found] == [(line, message)]


def test_keys_that_strayed_together_are_one_finding_and_nothing_is_called_missing():
    text = FALCON.replace("workspace:\n  path: ./vacc_deploy\n  workers: 4", "path: x\nworkers: 4")
    found = check_text(text, "build/x.yaml")
    assert [(one.line, one.message) for one in found] == [
        (24, "`path` does not belong at the top level"),
        (25, "`workers` does not belong at the top level"),
    ]


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
