"""Branches of the rules about `backend` that their examples do not show."""

from tests.schema.lint.examples import assert_findings_on_record, completed, findings
from vacc_gen.schema.lint.check import check_text

IMAGES = "dataset: {path: ./images, sampler: {suffix: jpg, get_data_num: 50}}\n"
GPTQ = "frontend: {quantize: {type: w8a16_gptq}}\n"
ONNX = "frontend: {checkpoint: /models/resnet50.onnx}\n"
FALCON = "frontend: {checkpoint: /falcon, model_kwargs: {tp: 4}}\n"
INT8 = "backend: {dtype: int8, compile: {data_type: %d}}"
TEXTS = "dataset: {type: huggingface, path: ., name: %s}"
OP = "graph: {extra_ops: {type: %s}}"
CASES = {
    "VG110": ["backend: {quantize: {output_ddr: [1], weight_scale: max, stream_mode: null}}"],
    "VG111": [
        "workspace: {save_log: true, work_dir: a}",
        "workspace: {enable_ir: true}",
        "workspace: {workers: 2}",
        "frontend: {model_kwargs: {enable_kv_share: false}}",
    ],
    "VG114": [
        *(OP % name for name in ("yolov8nms", "yolov13_nms", "my_op", "null")),
        *(TEXTS % name for name in ("alpacca", "c3", "wikitext")),
    ],
    "VG401": [
        ONNX + "backend: {dtype: int8}",
        GPTQ + "backend: {dtype: int8}",
        IMAGES + "backend: {dtype: int8}",
        ONNX,
    ],
    "VG404": [
        IMAGES + "backend: {dtype: int8, quantize: {weight_scale: max}}",
        IMAGES + "backend: {dtype: fp16}",
        IMAGES + "backend: {dtype: int8, quantize: {calibrate_mode: null}}",
        ONNX + "backend: {dtype: int8}",
        IMAGES + FALCON + "backend: {dtype: int8}",
    ],
    "VG405": [
        *(IMAGES + INT8 % 0, IMAGES + INT8 % 2, GPTQ + INT8 % 2, GPTQ + INT8 % 0, ONNX + INT8 % 0)
    ],
}
BOX = "[0, 0, 0, 1, 1, 1]"
OF_POINTS = f"num_classes: 3, nms_thresh: 0.1, voxel_size: [1, 1, 1], point_cloud_range: {BOX}, "
OF_CENTERPOINT = (
    "score_thresh: 0.1, feature_map_stride: 8, nms_post_max: 8, nms_pre_max: 8, "
    f"max_obj_per_sample: 9, post_center_limit_range: {BOX}"
)
OF_POINTPILLAR = (
    "grid_stride: [1, 1, 1], nms_topk: 9, post_nms: 9, confidence_thresh: 0.1, dir_offset: 0.1, "
    "dir_limit_offset: 0, anchor_size: [1], anchor_rotations: [0], anchor_heights: [1]"
)
OPS = [
    ("pointpillar_nms", "nms_threshold: 0.1"),
    ("yolov5_nms", "nms_thresh: 0.1, nms_threshold: 0.1"),
    ("yolov5_nms", "nms_pre_max: 10"),
    ("softmax", "num_classes: 10"),
    ("insert_odma", "num_classes: 10"),
    ("yolox_nms", "num_classes: 8, confidence_threshold: 0.1, strides: [8], seg_enable: true"),
    ("centerpoint_nms", OF_POINTS + OF_CENTERPOINT),
    ("pointpillar_nms", OF_POINTS + OF_POINTPILLAR),
    ("my_nms", "num_classes: 8"),
    ("null", "num_classes: 8"),
]


def test_what_is_said_of_a_backend():
    parameters = [OP % f"{op}, params: {{{params}}}" for op, params in OPS]
    cases = {**CASES, "VG407": parameters}
    found = {f"{code} {text}": findings(code, text) for code in cases for text in cases[code]}
    assert_findings_on_record("backend.txt", found)


def test_the_older_name_of_path_is_no_missing_key():
    text = completed("{}").replace("  path: ./vacc_deploy", "  work_dir: ./a")
    assert [one.code for one in check_text(text, "x.yaml")] == ["VG111"]
