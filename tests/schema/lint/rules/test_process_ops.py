"""Branches of the rules about `process_ops` that their examples do not show."""

import pytest

from tests.schema.lint.examples import findings

MEAN, STD = "[0.485, 0.456, 0.406]", "[0.229, 0.224, 0.225]"
GREY = "[123.675, 116.28, 103.53]"
BGR = "[0.406, 0.456, 0.485]"
LONG = "{type: Resize, size: [224, -1], adaptive_side: long}"
SHORT = "{type: Resize, size: [-1, 256], adaptive_side: short}"
SQUARE = "{type: Pad, pad_to_square: true}"
CROP = "{type: CenterCrop, crop_size: [224, 200]}"
FUNCTION = "{type: CustomFunc, module_path: a.py, func_name: f}"
SPLIT = "{type: ChannelSplit, index: 0}, "


def found(code, ops, shape="[1, 3, 224, 224]"):
    """Return findings at `process_ops`, as `line:column message | hint`."""
    text = f"frontend: {{shape: {{input: {shape}}}}}\ndataset: {{process_ops: [{ops}]}}"
    return findings(code, text)


def is_only(reported, part):
    """Return whether the one finding contains a part, or none was expected and made."""
    return len(reported) == 1 and part in reported[0] if part else reported == []


def sized(*ops):
    return ", ".join(("{type: DecodeImage}", *ops, "{type: ToTensor}"))


def resized(size):
    return f"{{type: Resize, size: {size}}}"


@pytest.mark.parametrize(
    ("ops", "shape", "part"),
    [
        *(
            (ops, "[1, 3, 224, 224]", None)
            for ops in (
                *([LONG, SQUARE], [resized("[200, 224]"), SQUARE], [resized("[224, 200]"), SQUARE]),
                *([SHORT], [SHORT, SQUARE], [resized("[-1, 256]")], [FUNCTION]),
                ["{type: Resize, size: [-1, -1], adaptive_side: long}"],
                [CROP, resized("[224, 224]")],
                [resized("[224, 224]"), "{type: Clip, min: 0}"],
                [resized("[200, 200]"), "{type: Pad, size_divisor: 32, pad_val: [0, 0]}"],
                [resized("[200, 200]"), FUNCTION],
            )
        ),
        ([resized("[9, 9]")], "[1, 512]", None),
        ([resized("[9, 9]")], "[1, 3, 224, 224], other: [1, 3, 9, 9]", None),
        ([CROP], "[1, 3, 200, 224]", "25:5 the images end at [224, 200], but the input is [200, "),
        ([LONG], "[1, 3, 224, 224]", "25:5 the images end at [224, -1], but the input is [224, "),
        ([CROP, SQUARE, "{type: Clip}"], "[1, 3, 9, 9]", "25:5 the images end at [224, 224], but"),
        ([], "[1, 224, 200, 3]", "21:3 no op brings the images to [224, 200] | add a Resize"),
    ],
)
def test_images_end_at_the_inputs_size_or_at_one_that_the_file_decides(ops, shape, part):
    assert is_only(found("VG503", sized(*ops), shape), part)


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
    assert is_only(found("VG504", ops), reported and f"size {size} {reported} `adaptive_side`")


@pytest.mark.parametrize(
    ("values", "wrong", "meant"),
    [
        (f"mean: {GREY}, std: [58.4]", "29:5 `mean`", 255),
        ("mean: [127.5]", "29:5 `mean`", 255),
        ("mean: [0], std: [255]", "31:5 `std`", 255),
        ("div255: true, mean: [9], std: [0.5]", "30:5 `mean`", 255),
        (f"div255: false, mean: {MEAN}, std: {STD}", "30:5 `mean`", 1),
        ("div255: false, mean: [9], std: [0.5]", "32:5 `std`", 1),
        ("div255: false, mean: [0], std: [1]", None, None),
        ("mean: [0], std: [1]", None, None),
        ("mean: [-1.5], std: [1.5]", None, None),
        ("div255: null, mean: [127.5], std: [128]", None, None),
        ("norm_type: null", None, None),
    ],
)
def test_mean_and_std_are_for_the_range_of_the_values(values, wrong, meant):
    used, div255 = (1, "false") if meant == 255 else (255, "true")
    message = f"{wrong} is for values of 0 to {meant}, but here they are 0 to {used}"
    hint = f"write `div255: {div255}`, or scale mean and std"
    reported = found("VG505", f"{{type: Normalize, {values}}}")
    assert reported == ([f"{message} | {hint}"] if wrong else [])


@pytest.mark.parametrize(
    ("before", "shape", "values", "part"),
    [
        ("", "[1, 3, 9, 9]", "mean: [0.5], std: [0.5, 0.5]", "31:5 `std` has 2 values for 3"),
        (SPLIT, "[1, 3, 9, 9]", "mean: [0.5, 0.5]", "31:5 `mean` has 2 values for 1"),
        ("", "[1, 3, 9, 9]", "norm_type: null", None),
        ("", "[1, 2]", "mean: [0.5, 0.5], std: [0.5, 0.5, 0.5]", None),
    ],
)
def test_mean_and_std_fit_the_channels(before, shape, values, part):
    assert is_only(found("VG506", f"{before}{{type: Normalize, {values}}}", shape), part)


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
