"""Branches of the rules about `frontend` that their examples do not show."""

import json

from tests.published import FOLDER
from tests.schema.lint.examples import assert_findings_on_record, findings, findings_in

CASES = {
    "VG301": [
        *("type: onnx, checkpoint: a.PT", "type: huggingface, checkpoint: w/config.json"),
        *("type: onnx, checkpoint: 'https://x.org/a.pt'", "type: keras"),
        "type: keras, checkpoint: m.h5, quantize: {type: w16kv8}",
        *("type: pytorch, checkpoint: a.torchscript.pt", "type: pytorch, checkpoint: a.bin"),
        "type: tensorflow, checkpoint: saved_model, model_kwargs: null",
        *("type: null, checkpoint: model.pth", "type: null, checkpoint: model.onnx"),
        "type: null, checkpoint: saved_model, model_kwargs: null",
        "type: null, checkpoint: graph.pb",
    ],
    "VG307": [
        "type: onnx, model_kwargs: {tp: 4}",
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
    "VG601": ["checkpoint: /w/falcon-x, model_kwargs: {tp: 3}"],
    "VG603": ["checkpoint: /w/falcon-x, shape: {input_ids: [[1024], [20480]]}"],
}
LANGUAGE_MODELS = {
    "VG302": ["[[1024], [2040]]", "[[8], [2048]]", "[[1023], []]"],
    "VG303": [
        *("[[2064], [2048]]", "[[2048], [2048]]", "[[4096], []]"),
        *("[1024]", "[[1, 8], [1, 16]]", "[[16], [32], [64]]", "[[16], [32, 1]]"),
        "{min: [1], max: [2]}",
    ],
}
OTHERS = {
    "VG306": ["input_ids: [8]", "x: [1], att_mask: [1], position_ids_2: [1]", "inputs: [1, 8]"],
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


ALIGNED = "\n    align_qkv: true"
HEADS = [
    *((32, 8, "4"), (32, 2, "4"), (71, 1, "4"), (32, 8, "12"), (24, 8, "6")),
    *((24, 8, "6" + ALIGNED), (32, 8, "12" + ALIGNED), (40, 40, "16"), (12, 2, "8")),
]


def test_what_is_said_of_heads(tmp_path):
    text = (FOLDER / "llm/falcon/build_in/build/hf_falcon_fp16.yaml").read_text(encoding="utf-8")
    sizes = dict.fromkeys(("num_hidden_layers", "intermediate_size", "vocab_size"), 64)
    found = {}
    for heads, kv_heads, tp in HEADS:
        sizes |= {"num_attention_heads": heads, "num_key_value_heads": kv_heads}
        sizes |= {"hidden_size": heads * 16, "max_position_embeddings": 2048}
        config = text.replace("/path/to/falcon-7b-instruct", ".").replace("tp: 4", f"tp: {tp}")
        model = json.dumps({"model_type": "llama", **sizes})
        files = {"x.yaml": config, "config.json": model}
        found[f"{heads} heads, {kv_heads} KV heads, tp: {tp}"] = findings_in(tmp_path, files, "VG6")
    assert_findings_on_record("heads.txt", found)
