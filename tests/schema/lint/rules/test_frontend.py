import pytest

from tests.published import FOLDER
from tests.schema.lint.examples import findings
from vacc_gen.schema.lint.check import check_text

IMAGES = (FOLDER / "cv/classification/cspnet/build_in/build/timm_cspnet.yaml").read_text("utf-8")

NO_TP = "`tp` is missing in `frontend.model_kwargs`"
TWO_LENGTHS = "write [[prefill], [total]], or [[length], []] for an encoder"
NO_SHAPE = f"is not the shape of a language model | {TWO_LENGTHS}"
PREFILL_FIRST = "the shape is [[prefill], [total]]; total holds prompt and answer"
SMALLEST_FIRST = "write the smallest shape first, then the largest, with as many dimensions"
LARGER = f"the smallest shape of `x` is larger than the largest | {SMALLEST_FIRST}"
WHOLE = "token ids and masks are int64 numbers"
STEP_OF_YOLO = (
    "is not a multiple of 128 | YOLO 11 and 12 take heights and widths that are multiples of 128"
)
SAME_TOKENS = "inputs about the same tokens have the same length"

TYPES = [
    ("VG301", "type: onnx, checkpoint: a.PT", "3:15 the checkpoint is a .pt file, the type is onnx | a .pt file is read with `type: pytorch`"),  # noqa: E501
    ("VG301", "type: huggingface, checkpoint: w/config.json", "3:15 the checkpoint is a file, and huggingface reads a folder | name the folder that it is in"),  # noqa: E501
    ("VG301", "type: onnx, checkpoint: 'https://x.org/a.pt'", "3:15 the checkpoint is a URL | download it first, and name the file or folder"),  # noqa: E501
    ("VG301", "type: keras", "4:9 the type is keras, and `model_kwargs` is for huggingface | `model_kwargs` is on line 9"),  # noqa: E501
    ("VG301", "type: keras, checkpoint: m.h5, quantize: {type: w16kv8}", "4:9 the type is keras, and `quantize` is for huggingface | `quantize` is on line 11"),  # noqa: E501
    ("VG301", "type: pytorch, checkpoint: a.torchscript.pt", None),
    ("VG301", "type: pytorch, checkpoint: a.bin", None),
    ("VG301", "type: tensorflow, checkpoint: saved_model, model_kwargs: null", None),
    ("VG307", "type: onnx, model_kwargs: {tp: 4}", None),
    ("VG308", "model_kwargs: {model_arch: vacc}, shape: {input_ids: [[512], []]}", None),
    ("VG308", "model_kwargs: {model_arch: vacc}, quantize: {type: w16kv8, device: 'cuda:0'}", None),
    ("VG308", "model_kwargs: {model_arch: vacc}, quantize: {type: w16kv8}", f"9:3 {NO_TP} | write `tp: N`, the number of dies that the model runs on"),  # noqa: E501
]  # fmt: skip
LENGTHS = [
    (
        "VG302",
        "[[1024], [2040]]",
        "8:9 2040 is not a multiple of 16 | the nearest are 2032 and 2048",
    ),
    ("VG302", "[[8], [2048]]", "7:9 8 is not a multiple of 16 | the least is 16"),
    ("VG302", "[[1023], []]", "7:9 1023 is not a multiple of 16 | the nearest are 1008 and 1024"),
    ("VG303", "[[2064], [2048]]", f"7:9 prefill 2064 is longer than total 2048 | {PREFILL_FIRST}"),
    ("VG303", "[[2048], [2048]]", None),
    ("VG303", "[[4096], []]", None),
    ("VG304", "[1024]", f"7:5 [1024] {NO_SHAPE}"),
    ("VG304", "[[1, 8], [1, 16]]", f"7:5 [[1, 8], [1, 16]] {NO_SHAPE}"),
    ("VG304", "[[16], [32], [64]]", f"7:5 [[16], [32], [64]] {NO_SHAPE}"),
    ("VG304", "[[16], [32, 1]]", f"7:5 [[16], [32, 1]] {NO_SHAPE}"),
    ("VG304", "{min: [1], max: [2]}", f"7:7 {{'min': [1], 'max': [2]}} {NO_SHAPE}"),
]
RANGES = [
    ("VG305", "x: [[1, 64], [2, 32]]", f"7:5 {LARGER}"),
    ("VG305", "x: [[1], [2], [1]]", f"7:5 {LARGER}"),
    ("VG305", "x: [[1, 64], [64]]", f"7:5 the shapes of `x` have 2 and 1 dimensions | {SMALLEST_FIRST}"),  # noqa: E501
    ("VG305", "x: {min: [2], max: [1]}", f"7:7 {LARGER}"),
    ("VG305", "x: {min: [1], opt: [4], max: [2]}", f"7:7 {LARGER}"),
    ("VG305", "x: {min: [1], max: [2]}", None),
    ("VG305", "x: [[1, 64], [1, 64]]", None),
    ("VG305", "x: [2, 1]", None),
]  # fmt: skip
ENCODERS = [
    ("VG306", "input_ids: [8]", "8:10 `input_ids` is declared as fp16 | " + WHOLE),
    ("VG306", "x: [1], att_mask: [1], position_ids_2: [1]", f"12:10 `att_mask` and `position_ids_2` are declared as fp16 | {WHOLE}"),  # noqa: E501
    ("VG306", "inputs: [1, 8]", None),
    ("VG310", "input_ids: [1, 8], attention_mask: [1, 4], token_type_ids: [1, 8]", f"11:7 `attention_mask` is 4 tokens long, `input_ids` is 8 | {SAME_TOKENS}"),  # noqa: E501
    ("VG310", "input_ids: [1, 4], attention_mask: [1, 8], token_type_ids: [1, 8]", f"8:7 `input_ids` is 4 tokens long, `attention_mask` is 8 | {SAME_TOKENS}"),  # noqa: E501
    ("VG310", "input_ids: [1, 8], attention_mask: [1, 1, 4, 4]", f"13:7 `attention_mask` is 4 tokens long, `input_ids` is 8 | {SAME_TOKENS}"),  # noqa: E501
    ("VG310", "input_ids: [1, 8], attention_mask: [1, 1, 8, 8]", None),
    ("VG310", "input_ids: [1, 8], attention_mask: [1, 9], past_key: [1]", None),
    ("VG310", "input_ids: [1, 8], attention_mask: [1, 9], kv_cache: [1]", None),
]  # fmt: skip
YOLOS = [
    (
        "VG309",
        "checkpoint: YOLOv11n.onnx, shape: {x: [1, 3, 640, 672]}",
        f"10:7 672 {STEP_OF_YOLO}",
    ),
    ("VG309", "checkpoint: yolo12.onnx, shape: {x: [1, 3, 100, 640]}", f"9:7 100 {STEP_OF_YOLO}"),
    ("VG309", "checkpoint: yolov11.onnx, shape: {x: [1, 3, 640, 1280]}", None),
    ("VG309", "checkpoint: yolov10.onnx, shape: {x: [1, 3, 100, 672]}", None),
    ("VG309", "checkpoint: yolov12.onnx, shape: {x: [1, 100, 672]}", None),
]
INPUTS = [
    ("tokens", "a language model has no input `tokens` | its input is `input_ids`"),
    ("input_idss", "the input `input_idss` looks misspelled | did you mean `input_ids`?"),
]
CASES = [
    *TYPES,
    *(("VG311", f"shape: {{{name}: [[16], [32]]}}", f"6:5 {said}") for name, said in INPUTS),
    *YOLOS,
    *((code, f"shape: {{input_ids: {shape}}}", said) for code, shape, said in LENGTHS),
    *(
        (code, f"checkpoint: a.onnx, dtype: fp16, shape: {{{shapes}}}", said)
        for code, shapes, said in (*RANGES, *ENCODERS)
    ),
]


@pytest.mark.parametrize(("code", "frontend", "said"), CASES)
def test_what_is_said_of_a_frontend(code, frontend, said):
    assert findings(code, f"frontend: {{{frontend}}}") == ([said] if said else [])


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
    text = "frontend: {{checkpoint: a.onnx, shape: {{{}: [1, 8]}}}}"
    said = f"6:5 the input `{name}` looks misspelled | did you mean `{meant}`?"
    assert findings("VG311", text.format(name)) == [said]
    assert findings("VG311", text.format(f"{meant}: [1, 8], {name}")) == []


@pytest.mark.parametrize(
    "name",
    [
        *("input", "input.1", "input_1", "inputs", "image", "images", "img", "x", "y_hat", "data"),
        *("input_ids_1", "segment_ids_2", "att_mask", "mask", "text", "onnx::Reshape_2979"),
        *("/9/Add_output_0", "voxel_coords_xyz", "points", "position_ids", "batched_inputs.1"),
    ],
)
def test_a_name_that_models_have_is_left_alone(name):
    frontend = f'{{checkpoint: a.onnx, shape: {{"{name}": [1, 256]}}}}'
    assert findings("VG311", f"frontend: {frontend}") == []


@pytest.mark.parametrize(
    ("checkpoint", "hint"),
    [
        ("model.pth", "write `type: pytorch`"),
        ("saved_model", "write what kind of checkpoint it is"),
        ("model.onnx", None),
        ("graph.pb", None),
    ],
)
def test_a_type_that_is_missing(checkpoint, hint):
    text = IMAGES.replace("  type: onnx\n", "", 1)
    path = text.partition("  checkpoint: ")[2].partition("\n")[0]
    result = check_text(text.replace(path, checkpoint), "x.yaml")
    places = [(one.code, one.severity.value, one.message, one.hint) for one in result]
    said = ("VG301", "warning", "`type` is missing in `frontend`", hint)
    assert places == ([said] if hint else [])


def test_a_yolo_is_known_by_its_name_too():
    frontend = "frontend: {checkpoint: a.onnx, shape: {x: [1, 3, 640, 100]}}"
    assert findings("VG309", f"name: yolo12\n{frontend}") == [f"10:7 100 {STEP_OF_YOLO}"]
    assert findings("VG309", f"name: yolo8\n{frontend}") == []
