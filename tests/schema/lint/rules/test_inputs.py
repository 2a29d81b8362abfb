import pytest

from tests.published import FOLDER
from vacc_gen.schema.lint.check import check_text

SHAPES = """\
  shape:
    input_ids: [1, 256]
    attention_mask: [1, 256]
    token_type_ids: [1, 256]
"""
BERT = f"""\
name: bert_fp16
frontend:
  type: pytorch
  checkpoint: /models/bert.pt
{SHAPES}  dtype: int64
backend: {{type: tvm_vacc, dtype: fp16}}
workspace: {{path: ./out}}
"""
LANGUAGE = (FOLDER / "llm/falcon/build_in/build/hf_falcon_fp16.yaml").read_text(encoding="utf-8")
LINE = 1 + LANGUAGE[: LANGUAGE.index("input_ids:")].count("\n")
LENGTHS = "[[1024], [2048]]"


def found(text, code):
    result = check_text(text, "bert_fp16.yaml")
    return [(one.line, one.column, one.message) for one in result if one.code == code]


def with_shapes(shapes):
    return BERT.replace(SHAPES, f"  shape: {{{shapes}}}\n")


def test_healthy_models_have_no_findings():
    assert check_text(BERT, "bert_fp16.yaml") == []
    assert check_text(LANGUAGE, "hf_falcon_fp16.yaml") == []


@pytest.mark.parametrize(
    ("lengths", "column", "length", "hint", "text"),
    [
        ("[[1024], [2040]]", 26, 2040, "the nearest are 2032 and 2048", "2048"),
        ("[[8], [2048]]", 18, 8, "the least is 16", "16"),
        ("[[1023], []]", 18, 1023, "the nearest are 1008 and 1024", "1024"),
    ],
)
def test_a_length_that_is_no_multiple_of_16(lengths, column, length, hint, text):
    (one,) = check_text(LANGUAGE.replace(LENGTHS, lengths), "hf_falcon_fp16.yaml")
    assert (one.code, one.line, one.column, one.hint) == ("VG302", LINE, column, hint)
    assert one.message == f"{length} is not a multiple of 16"
    assert one.fix.text == text


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ("[[2064], [2048]]", "prefill 2064 is longer than total 2048"),
        ("[[2048], [2048]]", None),
        ("[[4096], []]", None),
    ],
)
def test_prefill_is_at_most_total(lengths, message):
    result = found(LANGUAGE.replace(LENGTHS, lengths), "VG303")
    assert result == ([(LINE, 18, message)] if message else [])


@pytest.mark.parametrize(
    ("shape", "shown"),
    [
        ("[1, 1024]", "[1, 1024]"),
        ("[1024]", "[1024]"),
        ("[[1, 1024], [1, 2048]]", "[[1, 1024], [1, 2048]]"),
        ("[[1024], [2048], [4096]]", "[[1024], [2048], [4096]]"),
        ("[[1024], [2048, 1]]", "[[1024], [2048, 1]]"),
        ("{min: [1], max: [2]}", "{'min': [1], 'max': [2]}"),
    ],
)
def test_a_language_model_has_two_lengths(shape, shown):
    message = f"{shown} is not the shape of a language model"
    assert found(LANGUAGE.replace(LENGTHS, shape), "VG304") == [(LINE, 16, message)]


def test_other_models_have_other_shapes():
    for checkpoint in ("/models/falcon.onnx", "/models/w/model.safetensors"):
        text = LANGUAGE.replace(LENGTHS, "[1, 1024]").replace(
            "/path/to/falcon-7b-instruct", checkpoint
        )
        assert [one.code for one in check_text(text, "falcon.yaml")] == ["VG301"]
    text = LANGUAGE.replace(LENGTHS, "[1, 1024]").replace("    tp: 4", "    build_visual: true")
    assert found(text, "VG304") == found(text, "VG311") == []


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ("[[2, 64], [1, 64]]", "the smallest shape of `x` is larger than the largest"),
        ("[[1, 64], [2, 32]]", "the smallest shape of `x` is larger than the largest"),
        ("[[1], [2], [1]]", "the smallest shape of `x` is larger than the largest"),
        ("[[1, 64], [64]]", "the shapes of `x` have 2 and 1 dimensions"),
        ("{min: [2], max: [1]}", "the smallest shape of `x` is larger than the largest"),
        ("{min: [1], opt: [4], max: [2]}", "the smallest shape of `x` is larger than the largest"),
        ("[[1, 64], [1, 64]]", None),
        ("{min: [1], max: [2]}", None),
        ("[2, 1]", None),
    ],
)
def test_a_range_goes_from_smallest_to_largest(shape, message):
    expected = [(5, 14, message)] if message else []
    assert found(with_shapes(f"x: {shape}"), "VG305") == expected


@pytest.mark.parametrize(
    ("shapes", "dtype", "message"),
    [
        ("input_ids: [1, 8]", "fp16", "`input_ids` is declared as fp16"),
        ("x: [1], att_mask: [1], position_ids_2: [1]", "fp32", "`att_mask` and `position_ids_2` are declared as fp32"),  # noqa: E501
        ("input_ids: [1, 8]", "int32", None),
        ("inputs: [1, 8]", "fp32", None),
    ],
)  # fmt: skip
def test_token_ids_are_whole_numbers(shapes, dtype, message):
    text = with_shapes(shapes).replace("dtype: int64", f"dtype: {dtype}")
    assert found(text, "VG306") == ([(6, 10, message)] if message else [])


@pytest.mark.parametrize(
    ("name", "shape", "columns"),
    [
        ("YOLOv11n", "[1, 3, 640, 672]", [30]),
        ("yolo12", "[1, 3, 100, 672]", [25, 30]),
        ("yolov11", "[1, 3, 640, 1280]", []),
        ("yolov10", "[1, 3, 100, 672]", []),
        ("yolov12", "[1, 100, 672]", []),
    ],
)
def test_sizes_of_recent_yolos(name, shape, columns):
    text = with_shapes(f"input: {shape}").replace("bert_fp16", f"{name}_fp16")
    assert [place[:2] for place in found(text, "VG309")] == [(5, column) for column in columns]
    by_file = with_shapes(f"input: {shape}").replace("bert.pt", f"{name}.pt")
    assert len(found(by_file, "VG309")) == len(columns)


@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [
        ("attention_mask: [1, 256]", "attention_mask: [1, 128]", (7, 25), "`attention_mask` is [1, 128], `input_ids` is [1, 256]"),  # noqa: E501
        ("token_type_ids: [1, 256]", "token_type_ids: [1, 255]", (8, 25), "`token_type_ids` is [1, 255], `input_ids` is [1, 256]"),  # noqa: E501
        ("input_ids: [1, 256]", "input_ids: [1, 512]", (6, 20), "`input_ids` is [1, 512], `attention_mask` is [1, 256]"),  # noqa: E501
        ("input_ids: [1, 256]", "input_ids: [2, 256]", (6, 17), "`input_ids` is [2, 256], `attention_mask` is [1, 256]"),  # noqa: E501
        ("input_ids: [1, 256]", "input_ids: [2, 512]", (6, 20), "`input_ids` is [2, 512], `attention_mask` is [1, 256]"),  # noqa: E501
        ("token_type_ids: [1, 256]", "token_type_ids: [256]", (8, 21), "`token_type_ids` is [256], `input_ids` is [1, 256]"),  # noqa: E501
        ("attention_mask: [1, 256]", "attention_mask: [1, 1, 128]", (7, 21), "`attention_mask` is [1, 1, 128], `input_ids` is [1, 256]"),  # noqa: E501
    ],
)  # fmt: skip
def test_inputs_of_unequal_shape_are_reported_at_the_odd_one(old, new, place, message):
    assert found(BERT.replace(old, new), "VG310") == [(*place, message)]


@pytest.mark.parametrize("shape", ["[1, 1, 256]", "[1, 1, 256, 256]", "[256]"])
def test_a_mask_may_have_axes_of_its_own(shape):
    assert (
        found(BERT.replace("attention_mask: [1, 256]", f"attention_mask: {shape}"), "VG310") == []
    )
    text = with_shapes(f"attention_mask: {shape}, input_ids: [1, 256]")
    assert found(text, "VG310") == []


@pytest.mark.parametrize("name", ["past_key", "kv_cache"])
def test_a_mask_over_a_cache_may_be_longer(name):
    text = BERT.replace("attention_mask: [1, 256]", "attention_mask: [1, 512]")
    assert found(text, "VG310") != []
    assert found(text.replace("token_type_ids", name), "VG310") == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("input_id", "input_ids"),
        ("inptu_ids", "input_ids"),
        ("Input_Ids", "input_ids"),
        ("Input", "input"),
        ("input-ids", "input_ids"),
        ("attention_maks", "attention_mask"),
        ("attention_masks_1", "attention_mask_1"),
        ("token_type_id", "token_type_ids"),
        ("attention_maskx", "attention_mask"),
        ("pixel_value", "pixel_values"),
        ("iamges", "images"),
    ],
)
def test_a_misspelled_input_is_reported_with_its_name(name, meant):
    text = BERT.replace(SHAPES, f"  shape:\n    {name}: [1, 3, 64, 64]\n")
    (one,) = [one for one in check_text(text, "x.yaml") if one.code == "VG311"]
    assert (one.line, one.column, one.hint) == (6, 5, f"did you mean `{meant}`?")
    assert one.message == f"the input `{name}` looks misspelled"


@pytest.mark.parametrize(
    "name",
    [
        *("input", "input.1", "input_1", "inputs", "image", "images", "img", "x", "y_hat", "data"),
        *("input_ids_1", "segment_ids_2", "att_mask", "mask", "text", "onnx::Reshape_2979"),
        *("/9/Add_output_0", "voxel_coords_xyz", "points", "position_ids", "batched_inputs.1"),
    ],
)
def test_a_name_that_models_have_is_left_alone(name):
    assert found(with_shapes(f'"{name}": [1, 256]'), "VG311") == []


def test_a_name_beside_the_one_it_resembles_is_left_alone():
    assert found(with_shapes("pixel_value: [1, 2], pixel_values: [1, 2]"), "VG311") == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("input_idss", "the input `input_idss` looks misspelled"),
        ("tokens", "a language model has no input `tokens`"),
    ],
)
def test_a_language_model_has_the_one_input(name, message):
    text = LANGUAGE.replace("    input_ids:", f"    {name}:")
    assert found(text, "VG311") == [(LINE, 5, message)]
