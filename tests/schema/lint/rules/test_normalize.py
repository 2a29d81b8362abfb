"""Mean, std and the order of ops, in the style in which published configs write them."""

import pytest

from tests.published import FOLDER
from vacc_gen.schema.lint.check import check_text
from vacc_gen.schema.lint.repair import repaired

IMAGES = (FOLDER / "cv/classification/cspnet/build_in/build/timm_cspnet.yaml").read_text("utf-8")
MEAN = "    mean:\n    - 0.485\n    - 0.456\n    - 0.406\n"
STD = "    std:\n    - 0.229\n    - 0.224\n    - 0.225\n"
FLOW = "    mean: [0.485, 0.456, 0.406]\n    std: [0.229, 0.224, 0.225]\n"


def told(text):
    return [(one.code, one.message) for one in check_text(text, "x.yaml")]


def with_both(new):
    assert MEAN + STD in IMAGES
    return IMAGES.replace(MEAN + STD, new)


@pytest.mark.parametrize(("kept", "lost"), [(MEAN, "std"), (STD, "mean")])
def test_one_of_the_two_is_not_enough(kept, lost):
    key = "mean" if lost == "std" else "std"
    assert told(with_both(kept)) == [("VG511", f"`{key}` without `{lost}`")]


def test_neither_is_no_mistake():
    assert told(with_both("")) == []


def test_exchanged_values_are_told_and_turned_round_on_demand():
    wrong = FLOW.replace("mean", "x").replace("std", "mean").replace("x:", "std:")
    (found,) = check_text(with_both(wrong), "x.yaml")
    assert (found.code, found.line) == (
        "VG512",
        1 + with_both(wrong).split("mean:")[0].count("\n"),
    )
    assert not found.fix.safe
    right = repaired(with_both(wrong), "x.yaml", [found.fix])
    assert told(right) == []


@pytest.mark.parametrize(
    ("mean", "std"),
    [("[0.5, 0.5, 0.5]", "[0.5, 0.5, 0.5]"), ("[0, 0, 0]", "[1, 1, 1]"), ("[0.5]", "[0.25]")],
)
def test_other_values_are_left_alone(mean, std):
    codes = [code for code, _ in told(with_both(f"    mean: {mean}\n    std: {std}\n"))]
    assert not {"VG511", "VG512"} & set(codes)


def test_a_std_below_zero_is_told():
    wrong = with_both(FLOW.replace("[0.229", "[-0.229"))
    assert told(wrong) == [("VG506", "std -0.229 is below 0")]


def test_one_op_out_of_place_is_told_once():
    tensor = "  - type: ToTensor\n"
    assert IMAGES.count(tensor) == 1
    first = IMAGES.replace(tensor, "").replace(
        "  - type: DecodeImage\n", tensor + "  - type: DecodeImage\n"
    )
    assert told(first) == [("VG507", "the first op is not DecodeImage")]
    assert told(IMAGES.replace(tensor, tensor * 2)) == [("VG507", "ToTensor stands twice")]
