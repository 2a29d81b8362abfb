"""Branches of the rules about `frontend` that their examples do not show."""

import pytest

from tests.published import FOLDER
from tests.schema.lint.examples import assert_findings_on_record, findings
from vacc_gen.schema.lint.check import check_text

IMAGES = (FOLDER / "cv/classification/cspnet/build_in/build/timm_cspnet.yaml").read_text("utf-8")
CASES = {
    "VG301": [
        "type: onnx, checkpoint: a.PT",
        "type: huggingface, checkpoint: w/config.json",
        "type: onnx, checkpoint: 'https://x.org/a.pt'",
        "type: keras",
        "type: keras, checkpoint: m.h5, quantize: {type: w16kv8}",
        "type: pytorch, checkpoint: a.torchscript.pt",
        "type: pytorch, checkpoint: a.bin",
        "type: tensorflow, checkpoint: saved_model, model_kwargs: null",
    ],
    "VG307": ["type: onnx, model_kwargs: {tp: 4}"],
    "VG308": [
        "model_kwargs: {model_arch: vacc}, shape: {input_ids: [[512], []]}",
        "model_kwargs: {model_arch: vacc}, quantize: {type: w16kv8, device: 'cuda:0'}",
        "model_kwargs: {model_arch: vacc}, quantize: {type: w16kv8}",
    ],
    "VG309": [
        "checkpoint: YOLOv11n.onnx, shape: {x: [1, 3, 640, 672]}",
        "checkpoint: yolo12.onnx, shape: {x: [1, 3, 100, 640]}",
        "checkpoint: yolov11.onnx, shape: {x: [1, 3, 640, 1280]}",
        "checkpoint: yolov10.onnx, shape: {x: [1, 3, 100, 672]}",
        "checkpoint: yolov12.onnx, shape: {x: [1, 100, 672]}",
    ],
    "VG311": [f"shape: {{{name}: [[16], [32]]}}" for name in ("tokens", "input_idss")],
}
LANGUAGE_MODELS = {
    "VG302": ["[[1024], [2040]]", "[[8], [2048]]", "[[1023], []]"],
    "VG303": ["[[2064], [2048]]", "[[2048], [2048]]", "[[4096], []]"],
    "VG304": [
        *("[1024]", "[[1, 8], [1, 16]]", "[[16], [32], [64]]", "[[16], [32, 1]]"),
        "{min: [1], max: [2]}",
    ],
}
OTHERS = {
    "VG305": [
        "x: [[1, 64], [2, 32]]",
        "x: [[1], [2], [1]]",
        "x: [[1, 64], [64]]",
        "x: {min: [2], max: [1]}",
        "x: [[1, 64], [1, 64]]",
        "x: [2, 1]",
    ],
    "VG306": ["input_ids: [8]", "x: [1], att_mask: [1], position_ids_2: [1]", "inputs: [1, 8]"],
    "VG310": [
        "input_ids: [1, 8], attention_mask: [1, 4], token_type_ids: [1, 8]",
        "input_ids: [1, 4], attention_mask: [1, 8], token_type_ids: [1, 8]",
        "input_ids: [1, 8], attention_mask: [1, 1, 4, 4]",
        "input_ids: [1, 8], attention_mask: [1, 1, 8, 8]",
        "input_ids: [1, 8], attention_mask: [1, 9], past_key: [1]",
        "input_ids: [1, 8], attention_mask: [1, 9], kv_cache: [1]",
    ],
    "VG311": [
        f'"{name}": [1, 8]'
        for name in (
            *("input_id", "inptu_ids", "Input", "input-ids", "attention_masks_1", "token_type_id"),
            *("pixel_value", "iamges.1", 'input_ids": [1, 8], "input_id'),
            *("input", "input.1", "input_1", "inputs", "image", "images", "img", "x", "y_hat"),
            *("data", "input_ids_1", "segment_ids_2", "att_mask", "mask", "text", "points"),
            *("onnx::Reshape_2979", "/9/Add_output_0", "voxel_coords_xyz", "position_ids"),
            "batched_inputs.1",
        )
    ],
}


def test_what_is_said_of_a_frontend():
    cases = [(code, text) for code in CASES for text in CASES[code]]
    for code, shapes in LANGUAGE_MODELS.items():
        cases += [(code, f"shape: {{input_ids: {shape}}}") for shape in shapes]
    for code, shapes in OTHERS.items():
        cases += [(code, f"checkpoint: a.onnx, dtype: fp16, shape: {{{one}}}") for one in shapes]
    found = {f"{code} {text}": findings(code, f"frontend: {{{text}}}") for code, text in cases}
    assert_findings_on_record("frontend.txt", found)


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
