"""Branches of the rules about `backend` that their examples do not show."""

import pytest

from tests.schema.lint.examples import completed, findings
from vacc_gen.schema.lint.check import check_text

IMAGES = "dataset: {path: ./images, sampler: {suffix: jpg, get_data_num: 50}}\n"
GPTQ = "frontend: {quantize: {type: w8a16_gptq}}\n"
ONNX = "frontend: {checkpoint: /models/resnet50.onnx}\n"
FALCON = "frontend: {checkpoint: /falcon, model_kwargs: {tp: 4}}\n"
OLDER = "keys of the older `vamc build`: "
BY_METHOD = "int8 by `frontend.quantize` takes `data_type: 0`"
IS_INT8 = "but `backend.dtype` is int8"
OBSOLETE = "`enable_kv_share` is obsolete | delete it: compiler 3 detects shared KV heads itself"


def int8(data_type):
    return f"backend: {{dtype: int8, compile: {{data_type: {data_type}}}}}"


def language_data(name):
    return f"dataset: {{type: huggingface, path: ., name: {name}}}"


@pytest.mark.parametrize(
    ("code", "text", "part"),
    [
        ("VG111", "workspace: {save_log: true, work_dir: a}", f"{OLDER}`work_dir` and `save_log`"),
        ("VG111", "workspace: {enable_ir: true}", f"17:3 {OLDER}`enable_ir` |"),
        ("VG111", "workspace: {workers: 2}", None),
        ("VG111", "frontend: {model_kwargs: {enable_kv_share: false}}", OBSOLETE),
        ("VG114", "graph: {extra_ops: {type: yolov8nms}}", "'yolov8nms' looks misspelled"),
        ("VG114", "graph: {extra_ops: {type: yolov13_nms}}", None),
        ("VG114", "graph: {extra_ops: {type: my_op}}", None),
        ("VG114", "graph: {extra_ops: {type: null}}", None),
        ("VG114", language_data("alpacca"), "'alpacca' looks misspelled | did you mean `alpaca`?"),
        ("VG114", language_data("c3"), None),
        ("VG114", language_data("wikitext"), None),
        ("VG401", ONNX + "backend: {dtype: int8}", "| add a `dataset`, or compile to fp16"),
        ("VG401", GPTQ + "backend: {dtype: int8}", None),
        ("VG401", IMAGES + "backend: {dtype: int8}", None),
        ("VG401", ONNX, None),
        ("VG404", IMAGES + "backend: {dtype: int8, quantize: {weight_scale: max}}", "14:3 "),
        ("VG404", IMAGES + "backend: {dtype: fp16}", None),
        ("VG404", IMAGES + "backend: {dtype: int8, quantize: {calibrate_mode: null}}", None),
        ("VG404", ONNX + "backend: {dtype: int8}", None),
        ("VG404", IMAGES + FALCON + "backend: {dtype: int8}", None),
        ("VG405", IMAGES + int8(0), f"`data_type` is 0, {IS_INT8} | int8 takes `data_type: 2`"),
        ("VG405", IMAGES + int8(2), None),
        ("VG405", GPTQ + int8(2), f"`data_type` is 2, {IS_INT8} | {BY_METHOD}"),
        ("VG405", GPTQ + int8(0), None),
        ("VG405", ONNX + int8(0), None),
    ],
)
def test_what_is_said_of_a_backend(code, text, part):
    found = findings(code, text)
    assert len(found) == (part is not None)
    assert all(part in one for one in found)


def test_each_build_option_among_the_quantizers_is_a_finding():
    text = "backend: {quantize: {output_ddr: [1], weight_scale: max, stream_mode: null}}"
    assert [one.split(" is ")[0] for one in findings("VG110", text)] == [
        "16:5 `output_ddr`",
        "19:5 `stream_mode`",
    ]


def test_the_older_name_of_path_is_no_missing_key():
    text = completed("{}").replace("  path: ./vacc_deploy", "  work_dir: ./a")
    assert [one.code for one in check_text(text, "x.yaml")] == ["VG111"]


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
OF_YOLOX = "num_classes: 8, confidence_threshold: 0.1, strides: [8], seg_enable: true"


@pytest.mark.parametrize(
    ("op", "params", "found"),
    [
        ("pointpillar_nms", "nms_threshold: 0.1", "did you mean `nms_thresh`?"),
        ("yolov5_nms", "nms_thresh: 0.1, nms_threshold: 0.1", "another op reads it; delete it"),
        ("yolov5_nms", "nms_pre_max: 10", "another op reads it; delete it"),
        ("softmax", "num_classes: 10", "another op reads it; delete it"),
        ("insert_odma", "num_classes: 10", "another op reads it; delete it"),
        ("yolox_nms", OF_YOLOX, None),
        ("centerpoint_nms", OF_POINTS + OF_CENTERPOINT, None),
        ("pointpillar_nms", OF_POINTS + OF_POINTPILLAR, None),
        ("my_nms", "num_classes: 8", None),
        ("null", "num_classes: 8", None),
    ],
)
def test_parameters_belong_to_their_op(op, params, found):
    text = f"graph: {{extra_ops: {{type: {op}, params: {{{params}}}}}}}"
    key = params.split(":")[0]
    message = f"`{key}` is not a parameter of {op} | {found}"
    reported = [one.split(" ", 1)[1] for one in findings("VG407", text)]
    assert reported == ([message] if found else [])
