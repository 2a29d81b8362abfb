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
    ("ops", "height", "width", "size", "hint"),
    [
        ([CROP], 200, 224, "224 x 200", "sizes are [height, width]"),
        ([LONG], 224, 224, "224 at the longer side", "a Pad with `pad_to_square: true` fills"),
        ([LONG], 224, 200, "224 at the longer side", "resize or crop them to 224 x 200"),
        ([LONG], 256, 256, "224 at the longer side", "resize or crop them to 256 x 256"),
        ([CROP, SQUARE, "{type: Clip}"], 9, 9, "224 x 224", "resize or crop them to 9 x 9"),
    ],
)
def test_images_of_another_size(ops, height, width, size, hint):
    (reported,) = found("VG503", sized(*ops), f"[1, 3, {height}, {width}]", columns=True)
    message = f"25:5 the images end at {size}, but the input is {height} x {width} | {hint}"
    assert reported.startswith(message)


def test_images_of_any_size():
    hint = "add a Resize, unless all files have that size"
    assert found("VG503", sized(), "[1, 224, 200, 3]", columns=True) == [
        f"21:3 no op brings the images to 224 x 200 | {hint}"
    ]


@pytest.mark.parametrize("shape", ["[1, 512]", "[1, 3, 224, 224], other: [1, 3, 9, 9]"])
def test_inputs_that_are_not_one_image_have_no_size(shape):
    assert found("VG503", sized("{type: Resize, size: [9, 9]}"), shape) == []


@pytest.mark.parametrize(
    ("size", "side", "reported"),
    [
        (
            "[-1, 224]",
            "",
            "-1 without `adaptive_side` | add `adaptive_side: long` or `short`, or give both sides",
        ),
        ("[-1, -1]", ", adaptive_side: short", "both sides are free | give one side in pixels"),
        ("[-1, 224]", ", adaptive_side: short", None),
        ("[-1, 224]", ", adaptive_side: null", None),
        ("[224, 224]", ", adaptive_side: null", None),
    ],
)
def test_one_side_is_free_with_adaptive_side(size, side, reported):
    ops = sized(f"{{type: Resize, size: {size}{side}}}")
    assert found("VG504", ops) == ([reported] if reported else [])


GREY_AND_STD = f"mean {GREY} and std [58.4] are"
SMALL = f"mean {MEAN} and std {STD} are"


@pytest.mark.parametrize(
    ("values", "place", "wrong", "used", "hint"),
    [
        (f"mean: {GREY}, std: [58.4]", "29:5", GREY_AND_STD, 1, "write `div255: false`, or"),
        (f"div255: false, mean: {MEAN}, std: {STD}", "28:13", SMALL, 255, "write `div255: true`"),
        ("mean: [0], std: [255]", "31:5", "std [255] is", 1, "write `div255: false`, or"),
        ("div255: true, mean: [9], std: [0.5]", "30:5", "mean [9] is", 1, "scale `mean` to 0 to 1"),
        (
            *("div255: false, mean: [9], std: [0.5]", "32:5", "std [0.5] is", 255),
            "scale `std` to 0 to 255",
        ),
    ],
)
def test_mean_and_std_are_for_the_range_of_the_values(values, place, wrong, used, hint):
    (reported,) = found("VG505", f"{{type: Normalize, {values}}}", columns=True)
    message = f"{wrong} for values of 0 to {256 - used}, but here they are 0 to {used}"
    assert reported.startswith(f"{place} {message} | {hint}")


@pytest.mark.parametrize(
    "values",
    [
        "div255: false, mean: [0], std: [1]",
        "mean: [0], std: [1]",
        "mean: [-1.5], std: [1.5]",
        "div255: null, mean: [127.5], std: [128]",
        "mean: [127.5]",
        "std: [127.5]",
    ],
)
def test_mean_and_std_that_fit_or_cannot_be_judged(values):
    assert found("VG505", f"{{type: Normalize, {values}}}") == []


HINT = "one for each channel, or a single one"
SPLIT = "{type: ChannelSplit, index: 0}"


@pytest.mark.parametrize(
    ("before", "shape", "values", "reported"),
    [
        (
            "",
            "[1, 3, 9, 9]",
            "mean: [0.5], std: [0.5, 0.5]",
            [f"31:5 `std` has 2 values for 3 channels | {HINT}"],
        ),
        (
            SPLIT,
            "[1, 3, 9, 9]",
            "mean: [0.5, 0.5]",
            [f"31:5 `mean` has 2 values for 1 channel | {HINT}"],
        ),
        (
            "",
            "[1, 2]",
            "mean: [0.5, 0.5], std: [0.5, 0.5, 0.5]",
            [f"30:5 `mean` has 2 values, `std` has 3 | {HINT}"],
        ),
        ("", "[1, 2]", "mean: [0.5, 0.5], std: [0.5, 0.5]", []),
        ("", "[1, 2]", "mean: [0.5], std: [0.5, 0.5]", []),
        (
            "",
            "[1, 3, 9, 9]",
            "std: [0.5, 0.5, 0]",
            ["29:5 `std` has a value of 0 | it must be greater than 0"],
        ),
        (
            "",
            "[1, 3, 9, 9]",
            "std: [-0.5]",
            ["29:5 `std` has a value of -0.5 | it must be greater than 0"],
        ),
        ("", "[1, 3, 9, 9]", "norm_type: null", []),
    ],
)
def test_mean_and_std_fit_the_channels(before, shape, values, reported):
    ops = ", ".join(filter(None, (before, f"{{type: Normalize, {values}}}")))
    assert found("VG506", ops, shape, columns=True) == reported


@pytest.mark.parametrize(
    ("kinds", "reported"),
    [
        ("Clip DecodeImage ToTensor", "23:11 DecodeImage is not the first op | move or delete it"),
        (
            "DecodeImage DecodeImage ToTensor",
            "23:11 DecodeImage is not the first op | move or delete it",
        ),
        ("DecodeImage ToTensor ToTensor", "23:11 ToTensor is not the last op | move or delete it"),
        ("ToTensor Clip DecodeImage", "24:11 DecodeImage is not the first op | move or delete it"),
        ("Clip ToTensor", "21:3 DecodeImage is missing | add it as the first op"),
        ("DecodeImage Clip", "21:3 ToTensor is missing | add it as the last op"),
        ("DecodeImage ToTensor", None),
    ],
)
def test_images_are_decoded_first_and_become_tensors_last(kinds, reported):
    ops = ", ".join(f"{{type: {kind}}}" for kind in kinds.split())
    assert found("VG507", ops, columns=True) == ([reported] if reported else [])


def test_the_order_around_a_custom_function_is_its_authors():
    assert found("VG507", FUNCTION + ", {type: Clip}, {type: ToTensor}, {type: Clip}") == []


@pytest.mark.parametrize(
    ("code", "mean", "is_reported"),
    [
        (None, BGR, True),
        (None, "[104, 117, 123]", True),
        (None, MEAN, False),
        (None, GREY, False),
        (None, "[0.5]", False),
        ("RGB2BGR", BGR, False),
        ("BGR2RGB", BGR, True),
    ],
)
def test_the_order_of_channels(code, mean, is_reported):
    before = f"{{type: CvtColor, code: COLOR_{code}}}, " if code else ""
    assert bool(found("VG509", f"{before}{{type: Normalize, mean: {mean}}}")) is is_reported


@pytest.mark.parametrize(
    ("values", "reported"),
    [
        (
            f"std: {STD}",
            ["28:5 `std` without `mean` | add the `mean` that the model was trained with"],
        ),
        (f"mean: {MEAN}, std: null", []),
        ("mean: null", []),
        ("div255: true", []),
    ],
)
def test_mean_and_std_come_together(values, reported):
    assert found("VG511", f"{{type: Normalize, {values}}}", columns=True) == reported


@pytest.mark.parametrize(
    ("mean", "std", "is_reported"),
    [
        ("[58.395, 57.12, 57.375]", GREY, True),
        (MEAN, STD, False),
        (MEAN, MEAN, False),
        (STD, STD, False),
        (STD, BGR, False),
        ("[0.234, 0.224, 0.225]", MEAN, False),
        ("[0.229]", "[0.485]", False),
    ],
)
def test_mean_and_std_are_exchanged(mean, std, is_reported):
    assert bool(found("VG512", f"{{type: Normalize, mean: {mean}, std: {std}}}")) is is_reported
