"""Branches of the rules about `process_ops` that their examples do not show."""

import pytest

from tests.schema.lint.examples import findings

MEAN, STD = "[0.485, 0.456, 0.406]", "[0.229, 0.224, 0.225]"
GREY = "[123.675, 116.28, 103.53]"
BGR = "[0.406, 0.456, 0.485]"


def found(code, ops, shape="[1, 3, 224, 224]", columns=False):
    """Return findings at `process_ops`, with columns or without places."""
    text = f"frontend: {{shape: {{input: {shape}}}}}\ndataset: {{process_ops: [{ops}]}}"
    return [one if columns else one.split(" ", 1)[1] for one in findings(code, text)]


def sized(*ops):
    return ", ".join(("{type: DecodeImage}", *ops, "{type: ToTensor}"))


LONG = "{type: Resize, size: [224, -1], adaptive_side: long}"
SHORT = "{type: Resize, size: [-1, 256], adaptive_side: short}"
SQUARE = "{type: Pad, pad_to_square: true}"
CROP = "{type: CenterCrop, crop_size: [224, 200]}"
FUNCTION = "{type: CustomFunc, module_path: a.py, func_name: f}"


@pytest.mark.parametrize(
    "ops",
    [
        [LONG, SQUARE],
        ["{type: Resize, size: [200, 224]}", SQUARE],
        ["{type: Resize, size: [224, 200]}", SQUARE],
        [SHORT],
        [SHORT, SQUARE],
        ["{type: Resize, size: [-1, 256]}"],
        ["{type: Resize, size: [-1, -1], adaptive_side: long}"],
        [CROP, "{type: Resize, size: [224, 224]}"],
        ["{type: Resize, size: [224, 224]}", "{type: Clip, min: 0}"],
        ["{type: Resize, size: [200, 200]}", "{type: Pad, size_divisor: 32, pad_val: [0, 0]}"],
        ["{type: Resize, size: [200, 200]}", FUNCTION],
        [FUNCTION],
    ],
)
def test_ops_that_end_at_the_inputs_size_or_at_one_that_the_file_decides(ops):
    assert found("VG503", sized(*ops)) == []


@pytest.mark.parametrize(
    ("ops", "wanted", "size"),
    [
        ([CROP], [200, 224], [224, 200]),
        ([LONG], [224, 224], [224, -1]),
        ([CROP, SQUARE, "{type: Clip}"], [9, 9], [224, 224]),
    ],
)
def test_images_of_another_size(ops, wanted, size):
    (reported,) = found("VG503", sized(*ops), str([1, 3, *wanted]), columns=True)
    assert reported.startswith(f"25:5 the images end at {size}, but the input is {wanted} | ")


def test_images_of_any_size():
    (reported,) = found("VG503", sized(), "[1, 224, 200, 3]", columns=True)
    assert reported.startswith("21:3 no op brings the images to [224, 200] | add a Resize")


@pytest.mark.parametrize("shape", ["[1, 512]", "[1, 3, 224, 224], other: [1, 3, 9, 9]"])
def test_inputs_that_are_not_one_image_have_no_size(shape):
    assert found("VG503", sized("{type: Resize, size: [9, 9]}"), shape) == []


@pytest.mark.parametrize(
    ("size", "side", "reported"),
    [
        ("[-1, 224]", "", "without"),
        ("[-1, 224]", ", adaptive_side: null", "without"),
        ("[-1, -1]", ", adaptive_side: short", "with"),
        ("[-1, 224]", ", adaptive_side: short", None),
        ("[224, 224]", ", adaptive_side: null", None),
    ],
)
def test_one_side_is_free_with_adaptive_side(size, side, reported):
    ops = sized(f"{{type: Resize, size: {size}{side}}}")
    messages = [one.split(" | ")[0] for one in found("VG504", ops)]
    assert messages == ([f"size {size} {reported} `adaptive_side`"] if reported else [])


@pytest.mark.parametrize(
    ("values", "wrong", "meant"),
    [
        (f"mean: {GREY}, std: [58.4]", "29:5 `mean`", 255),
        ("mean: [127.5]", "29:5 `mean`", 255),
        ("mean: [0], std: [255]", "31:5 `std`", 255),
        ("div255: true, mean: [9], std: [0.5]", "30:5 `mean`", 255),
        (f"div255: false, mean: {MEAN}, std: {STD}", "30:5 `mean`", 1),
        ("div255: false, mean: [9], std: [0.5]", "32:5 `std`", 1),
    ],
)
def test_mean_and_std_are_for_the_range_of_the_values(values, wrong, meant):
    used, div255 = (1, "false") if meant == 255 else (255, "true")
    message = f"{wrong} is for values of 0 to {meant}, but here they are 0 to {used}"
    hint = f"write `div255: {div255}`, or scale mean and std"
    ops = f"{{type: Normalize, {values}}}"
    assert found("VG505", ops, columns=True) == [f"{message} | {hint}"]


@pytest.mark.parametrize(
    "values",
    [
        "div255: false, mean: [0], std: [1]",
        "mean: [0], std: [1]",
        "mean: [-1.5], std: [1.5]",
        "div255: null, mean: [127.5], std: [128]",
        "norm_type: null",
    ],
)
def test_mean_and_std_that_fit_or_cannot_be_judged(values):
    assert found("VG505", f"{{type: Normalize, {values}}}") == []


SPLIT = "{type: ChannelSplit, index: 0}, "


@pytest.mark.parametrize(
    ("before", "shape", "values", "reported"),
    [
        ("", "[1, 3, 9, 9]", "mean: [0.5], std: [0.5, 0.5]", "31:5 `std` has 2 values for 3"),
        (SPLIT, "[1, 3, 9, 9]", "mean: [0.5, 0.5]", "31:5 `mean` has 2 values for 1"),
        ("", "[1, 3, 9, 9]", "norm_type: null", None),
        ("", "[1, 2]", "mean: [0.5, 0.5], std: [0.5, 0.5, 0.5]", None),
    ],
)
def test_mean_and_std_fit_the_channels(before, shape, values, reported):
    ops = f"{before}{{type: Normalize, {values}}}"
    messages = [one.split(" channel")[0] for one in found("VG506", ops, shape, columns=True)]
    assert messages == ([reported] if reported else [])


@pytest.mark.parametrize(
    ("kinds", "is_reported"),
    [
        ("Clip DecodeImage ToTensor", True),
        ("DecodeImage DecodeImage ToTensor", True),
        ("DecodeImage ToTensor ToTensor", True),
        ("DecodeImage ToTensor Clip", True),
        ("DecodeImage Clip", True),
        ("DecodeImage ToTensor", False),
        ("DecodeImage Clip ToTensor", False),
    ],
)
def test_images_are_decoded_first_and_become_tensors_last(kinds, is_reported):
    ops = ", ".join(f"{{type: {kind}}}" for kind in kinds.split())
    assert bool(found("VG507", ops)) is is_reported


def test_the_order_around_a_custom_function_is_its_authors():
    assert found("VG507", FUNCTION + ", {type: Clip}, {type: ToTensor}, {type: Clip}") == []


@pytest.mark.parametrize(
    ("code", "mean", "is_reported"),
    [
        (None, BGR, True),
        (None, "[104, 117, 123]", True),
        (None, MEAN, False),
        (None, GREY, False),
        (None, "[103.939, 116.779, 123.68]", True),
        (None, "[0.5]", False),
        ("RGB2BGR", BGR, False),
        ("BGR2RGB", BGR, True),
    ],
)
def test_the_order_of_channels(code, mean, is_reported):
    before = f"{{type: CvtColor, code: COLOR_{code}}}, " if code else ""
    assert bool(found("VG509", f"{before}{{type: Normalize, mean: {mean}}}")) is is_reported
