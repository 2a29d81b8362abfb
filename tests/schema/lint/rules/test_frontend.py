import pytest

from tests.published import FOLDER
from vacc_gen.schema.lint.check import check_text

FALCON = (FOLDER / "llm/falcon/build_in/build/hf_falcon_int8.yaml").read_text(encoding="utf-8")
IMAGES = (FOLDER / "cv/classification/cspnet/build_in/build/timm_cspnet.yaml").read_text("utf-8")
LENGTHS = "[[1024], [2048]]"
LINE = 1 + FALCON[: FALCON.index("input_ids:")].count("\n")
SHAPES = """\
  shape:
    input_ids: [1, 256]
    attention_mask: [1, 256]
    token_type_ids: [1, 256]
"""


def model(checkpoint, kind=None, shape="{input: [1, 3, 64, 64]}", more=""):
    typed = f"  type: {kind}\n" if kind else ""
    return (
        f"name: model\nfrontend:\n  checkpoint: {checkpoint}\n{typed}  shape: {shape}\n{more}"
        "backend: {type: tvm_vacc, dtype: fp16}\nworkspace: {path: ./out}\n"
    )


BERT = model("bert.onnx", more="  dtype: int64\n").replace(
    "  shape: {input: [1, 3, 64, 64]}\n", SHAPES
)


def with_shapes(shapes):
    return model("bert.onnx", shape=f"{{{shapes}}}", more="  dtype: int64\n")


def found(text, code=""):
    result = check_text(text, "x.yaml")
    return [(one.line, one.column, one.message) for one in result if one.code.startswith(code)]


def codes(text):
    return [one.code for one in check_text(text, "x.yaml")]


def test_healthy_models_have_no_findings():
    assert codes(BERT) == codes(FALCON) == codes(IMAGES) == []


@pytest.mark.parametrize(
    ("kind", "checkpoint", "place", "hint"),
    [
        ("onnx", "model.PT", (3, 15, "the checkpoint is a .pt file, the type is onnx"), "a .pt file is read with `type: pytorch`"),  # noqa: E501
        ("huggingface", "model.onnx", (3, 15, "the checkpoint is a .onnx file, the type is huggingface"), "a .onnx file is read with `type: onnx`"),  # noqa: E501
        ("huggingface", "w/config.json", (3, 15, "the checkpoint is a file, and huggingface reads a folder"), "name the folder that it is in"),  # noqa: E501
        ("onnx", "https://example.com/model.pt", (3, 15, "the checkpoint is a URL"), "download it first, and name the file or folder"),  # noqa: E501
        ("pytorch", "model.torchscript.pt", None, None),
        ("pytorch", "model.bin", None, None),
        ("tensorflow", "saved_model", None, None),
        (None, "model.pth", (2, 1, "`type` is missing in `frontend`"), "write `type: pytorch`"),
        (None, "saved_model", (2, 1, "`type` is missing in `frontend`"), "write what kind of checkpoint it is"),  # noqa: E501
        (None, "model.onnx", None, None),
        (None, "graph.pb", None, None),
    ],
)  # fmt: skip
def test_a_type_and_its_checkpoint(kind, checkpoint, place, hint):
    result = check_text(model(checkpoint, kind), "x.yaml")
    assert [(one.line, one.column, one.message) for one in result] == ([place] if place else [])
    assert [(one.code, one.hint) for one in result] == ([("VG301", hint)] if place else [])
    is_error = kind is not None and "://" not in checkpoint
    assert all((one.severity.value == "error") == is_error for one in result)


@pytest.mark.parametrize(
    ("text", "section"),
    [
        (FALCON.replace("huggingface", "keras", 1), "model_kwargs"),
        (model("m.h5", "keras", more="  quantize: {type: w16kv8}\n"), "quantize"),
    ],
)
def test_what_is_for_huggingface_is_reported_once(text, section):
    (one,) = [one for one in check_text(text, "x.yaml") if one.code[:3] == "VG3"]
    line = 1 + text[: text.index("  type: keras")].count("\n")
    message = f"the type is keras, and `{section}` is for huggingface"
    assert (one.code, one.line, one.column, one.message) == ("VG301", line, 9, message)
    line = 1 + text[: text.index(f"  {section}")].count("\n")
    assert one.hint == f"`{section}` is on line {line}"


def test_model_kwargs_make_it_a_hugging_face_model():
    (one,) = check_text(FALCON.replace("  type: huggingface\n", "", 1), "x.yaml")
    assert (one.code, one.line, one.hint) == ("VG301", 3, "write `type: huggingface`")


@pytest.mark.parametrize("name", ["falcon-7b-instruct-int8", "falcon-7b-instruct-int8-tp4"])
def test_a_language_model_without_tp(name):
    lines = [line for line in FALCON.splitlines() if not line.strip().startswith(("tp:", "name:"))]
    at = next(at for at, line in enumerate(lines) if "model_kwargs" in line) + 2
    (one,) = check_text("\n".join([f"name: {name}", *lines]), "x.yaml")
    assert (one.code, one.line, one.column) == ("VG308", at, 3)
    assert one.message == "`tp` is missing in `frontend.model_kwargs`"
    said = "the name says tp4: write `tp: 4`"
    general = "write `tp: N`, the number of dies that the model runs on"
    assert one.hint == (said if name.endswith("tp4") else general)


@pytest.mark.parametrize(
    ("lengths", "quantize", "reported"),
    [
        ("[[512], []]", "", []),
        ("[[512], [1024]]", "{type: w16kv8, device: 'cuda:0'}", []),
        ("[[512], [1024]]", "{type: w16kv8}", ["VG308"]),
    ],
    ids=["encoder", "vamc quant", "vamc compile"],
)
def test_what_needs_tp(lengths, quantize, reported):
    more = f"  quantize: {quantize}\n" if quantize else ""
    text = model("model", "huggingface", f"{{input_ids: {lengths}}}", more)
    assert [code for code in codes(text) if code[:3] == "VG3"] == reported


def test_options_without_model_arch():
    text = "\n".join(line for line in FALCON.splitlines() if "model_arch" not in line)
    assert codes(text) == ["VG307"]
    assert codes(text.replace("huggingface", "onnx", 1)) == ["VG301"]


@pytest.mark.parametrize(
    ("lengths", "column", "length", "hint", "text"),
    [
        ("[[1024], [2040]]", 26, 2040, "the nearest are 2032 and 2048", "2048"),
        ("[[8], [2048]]", 18, 8, "the least is 16", "16"),
        ("[[1023], []]", 18, 1023, "the nearest are 1008 and 1024", "1024"),
    ],
)
def test_a_length_that_is_no_multiple_of_16(lengths, column, length, hint, text):
    (one,) = check_text(FALCON.replace(LENGTHS, lengths), "x.yaml")
    assert (one.code, one.line, one.column, one.hint) == ("VG302", LINE, column, hint)
    assert one.message == f"{length} is not a multiple of 16"
    assert [edit.text for edit in one.fix.edits] == [text]


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ("[[2064], [2048]]", "prefill 2064 is longer than total 2048"),
        ("[[2048], [2048]]", None),
        ("[[4096], []]", None),
    ],
)
def test_prefill_is_at_most_total(lengths, message):
    result = found(FALCON.replace(LENGTHS, lengths), "VG303")
    assert result == ([(LINE, 18, message)] if message else [])


@pytest.mark.parametrize(
    "shape",
    ["[1, 1024]", "[1024]", "[[1, 1024], [1, 2048]]", "[[1024], [2048], [4096]]",
     "[[1024], [2048, 1]]", "{'min': [1], 'max': [2]}"],
)  # fmt: skip
def test_a_language_model_has_two_lengths(shape):
    message = f"{shape} is not the shape of a language model"
    assert found(FALCON.replace(LENGTHS, shape), "VG304") == [(LINE, 16, message)]


def test_other_models_have_other_shapes():
    text = FALCON.replace(LENGTHS, "[1, 1024]")
    assert codes(text.replace("/path/to/falcon-7b-instruct", "w/falcon.onnx")) == ["VG301"]
    assert "VG304" not in codes(text.replace("    tp: 4", "    build_visual: true"))


LARGER = "the smallest shape of `x` is larger than the largest"


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ("[[2, 64], [1, 64]]", LARGER),
        ("[[1, 64], [2, 32]]", LARGER),
        ("[[1], [2], [1]]", LARGER),
        ("[[1, 64], [64]]", "the shapes of `x` have 2 and 1 dimensions"),
        ("{min: [2], max: [1]}", LARGER),
        ("{min: [1], opt: [4], max: [2]}", LARGER),
        ("[[1, 64], [1, 64]]", None),
        ("{min: [1], max: [2]}", None),
        ("[2, 1]", None),
    ],
)
def test_a_range_goes_from_smallest_to_largest(shape, message):
    expected = [(4, 14, message)] if message else []
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
    assert found(text, "VG306") == ([(5, 10, message)] if message else [])


@pytest.mark.parametrize(
    ("checkpoint", "shape", "columns"),
    [
        ("YOLOv11n", "[1, 3, 640, 672]", [30]),
        ("yolo12", "[1, 3, 100, 672]", [25, 30]),
        ("yolov11", "[1, 3, 640, 1280]", []),
        ("yolov10", "[1, 3, 100, 672]", []),
        ("yolov12", "[1, 100, 672]", []),
    ],
)
def test_sizes_of_recent_yolos(checkpoint, shape, columns):
    text = model(f"{checkpoint}.onnx", shape=f"{{input: {shape}}}")
    assert [place[:2] for place in found(text, "VG309")] == [(4, column) for column in columns]
    by_name = text.replace(f"{checkpoint}.onnx", "a.onnx").replace(
        "name: model", f"name: {checkpoint}"
    )
    assert len(found(by_name, "VG309")) == len(columns)


@pytest.mark.parametrize(
    ("name", "shape", "place", "message"),
    [
        ("attention_mask", "[1, 128]", (6, 25), "`attention_mask` is 128 tokens long, `input_ids` is 256"),  # noqa: E501
        ("token_type_ids", "[1, 255]", (7, 25), "`token_type_ids` is 255 tokens long, `input_ids` is 256"),  # noqa: E501
        ("input_ids", "[2, 512]", (5, 20), "`input_ids` is 512 tokens long, `attention_mask` is 256"),  # noqa: E501
        ("attention_mask", "[1, 1, 128]", (6, 28), "`attention_mask` is 128 tokens long, `input_ids` is 256"),  # noqa: E501
        ("attention_mask", "[1, 1, 256, 256]", None, None),
    ],
)  # fmt: skip
def test_inputs_of_unequal_length_are_reported_at_the_odd_one(name, shape, place, message):
    text = BERT.replace(f"{name}: [1, 256]", f"{name}: {shape}")
    assert found(text, "VG310") == ([(*place, message)] if place else [])
    for cache in ("past_key", "kv_cache"):
        assert found(text.replace("token_type_ids", cache), "VG310") == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("input_id", "input_ids"),
        ("inptu_ids", "input_ids"),
        ("Input", "input"),
        ("input-ids", "input_ids"),
        ("attention_masks_1", "attention_mask_1"),
        ("token_type_id", "token_type_ids"),
        ("pixel_value", "pixel_values"),
        ("iamges.1", "images.1"),
    ],
)
def test_a_misspelled_input_is_reported_with_its_name(name, meant):
    (one,) = [one for one in check_text(with_shapes(f"{name}: [1, 8]"), "") if one.code == "VG311"]
    assert (one.line, one.column, one.hint) == (4, 11, f"did you mean `{meant}`?")
    assert one.message == f"the input `{name}` looks misspelled"
    assert found(with_shapes(f"{name}: [1, 8], {meant}: [1, 8]"), "VG311") == []


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


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("input_idss", "the input `input_idss` looks misspelled"),
        ("tokens", "a language model has no input `tokens`"),
    ],
)
def test_a_language_model_has_the_one_input(name, message):
    assert found(FALCON.replace("    input_ids:", f"    {name}:"), "VG311") == [(LINE, 5, message)]
