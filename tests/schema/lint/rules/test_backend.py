"""Branches of the rules about `backend` that their examples do not show."""

import pytest

from tests.schema.lint.examples import completed, findings
from vacc_gen.schema.lint.check import check_text

IMAGES = "dataset: {path: ./images, sampler: {suffix: jpg, get_data_num: 50}}\n"
GPTQ = "frontend: {quantize: {type: w8a16_gptq}}\n"
ONNX = "frontend: {checkpoint: /models/resnet50.onnx}\n"


def test_each_build_option_among_the_quantizers_is_a_finding():
    text = "backend: {quantize: {output_ddr: [1], weight_scale: max, stream_mode: null}}"
    assert [one.split(" is ")[0] for one in findings("VG110", text)] == [
        "16:5 `output_ddr`",
        "19:5 `stream_mode`",
    ]


@pytest.mark.parametrize(
    ("workspace", "found"),
    [
        ("save_log: true, work_dir: ./a", "18:3 `work_dir` and `save_log`"),
        ("enable_ir: true", "17:3 `enable_ir`"),
        ("workers: 2", None),
    ],
)
def test_keys_of_the_older_compiler_are_one_finding(workspace, found):
    reported = findings("VG111", f"workspace: {{{workspace}}}")
    message = "keys of the older `vamc build`: "
    assert [one.split(" | ")[0].replace(message, "") for one in reported] == (
        [found] if found else []
    )


def test_the_older_name_of_path_is_no_missing_key():
    text = completed("{}").replace("  path: ./vacc_deploy", "  work_dir: ./a")
    assert [one.code for one in check_text(text, "x.yaml")] == ["VG111"]


def test_sharing_of_kv_heads_is_obsolete():
    text = "frontend: {model_kwargs: {enable_kv_share: false}}"
    assert findings("VG111", text) == [
        "10:5 `enable_kv_share` is obsolete | delete it: compiler 3 detects shared KV heads itself"
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "graph: {extra_ops: {type: yolov8nms}}",
            "'yolov8nms' looks misspelled | did you mean `yolov8_nms`?",
        ),
        ("graph: {extra_ops: {type: yolov13_nms}}", None),
        ("graph: {extra_ops: {type: my_op}}", None),
        ("graph: {extra_ops: {type: null}}", None),
        (
            "dataset: {type: huggingface, path: ., name: alpacca}",
            "'alpacca' looks misspelled | did you mean `alpaca`?",
        ),
        ("dataset: {type: huggingface, path: ., name: c3}", None),
        ("dataset: {type: huggingface, path: ., name: wikitext}", None),
    ],
)
def test_words_that_are_nearly_published_ones(text, found):
    assert [one.split(" ", 1)[1] for one in findings("VG114", text)] == ([found] if found else [])


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (ONNX + "backend: {dtype: int8}", "add a `dataset`, or compile to fp16"),
        (GPTQ + "backend: {dtype: int8}", None),
        (IMAGES + "backend: {dtype: int8}", None),
        (ONNX, None),
    ],
)
def test_int8_needs_data_or_a_method(text, hint):
    assert [one.split(" | ")[1] for one in findings("VG401", text)] == ([hint] if hint else [])


@pytest.mark.parametrize(
    ("backend", "place"),
    [
        ("dtype: int8, quantize: {weight_scale: max}", "14:3"),
        ("dtype: fp16", None),
        ("dtype: int8, quantize: {calibrate_mode: null}", None),
    ],
)
def test_int8_from_files_has_a_calibration_mode(backend, place):
    found = findings("VG404", IMAGES + f"backend: {{{backend}}}")
    assert [one.split()[0] for one in found] == ([place] if place else [])


def test_without_files_there_is_nothing_to_calibrate():
    assert findings("VG404", ONNX + "backend: {dtype: int8}") == []


def test_a_language_model_needs_no_calibration_mode():
    text = IMAGES + "frontend: {checkpoint: /falcon, model_kwargs: {tp: 4}}\nbackend: {dtype: int8}"
    assert findings("VG404", text) == []


@pytest.mark.parametrize(
    ("text", "data_type", "hint"),
    [
        (IMAGES, 0, "int8 takes `data_type: 2`"),
        (IMAGES, 2, None),
        (GPTQ, 2, "int8 by `frontend.quantize` takes `data_type: 0`"),
        (GPTQ, 0, None),
        (ONNX, 0, None),
    ],
)
def test_data_type_of_an_int8_build(text, data_type, hint):
    text += f"backend: {{dtype: int8, compile: {{data_type: {data_type}}}}}"
    message = f"`data_type` is {data_type}, but `backend.dtype` is int8 | {hint}"
    found = [one.split(" ", 1)[1] for one in findings("VG405", text)]
    assert found == ([message] if hint else [])


@pytest.mark.parametrize(
    ("op", "params", "found"),
    [
        ("pointpillar_nms", "nms_threshold: 0.1", "did you mean `nms_thresh`?"),
        ("yolov5_nms", "nms_thresh: 0.1, nms_threshold: 0.1", "another op reads it; delete it"),
        ("yolov5_nms", "nms_pre_max: 10", "another op reads it; delete it"),
        ("softmax", "num_classes: 10", "another op reads it; delete it"),
        ("insert_odma", "num_classes: 10", "another op reads it; delete it"),
        (
            "yolox_nms",
            "num_classes: 8, confidence_threshold: 0.1, strides: [8], seg_enable: true",
            None,
        ),
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


BOX = "[0, 0, 0, 1, 1, 1]"
OF_POINTS = f"num_classes: 3, nms_thresh: 0.1, voxel_size: [1, 1, 1], point_cloud_range: {BOX}"


@pytest.mark.parametrize(
    ("op", "params"),
    [
        (
            "centerpoint_nms",
            (
                "score_thresh: 0.1, feature_map_stride: 8, nms_post_max: 8, nms_pre_max: 8, "
                f"max_obj_per_sample: 9, post_center_limit_range: {BOX}"
            ),
        ),
        (
            "pointpillar_nms",
            (
                "grid_stride: [1, 1, 1], nms_topk: 9, post_nms: 9, confidence_thresh: 0.1, "
                "dir_offset: 0.1, dir_limit_offset: 0, anchor_size: [1], anchor_rotations: [0], "
                "anchor_heights: [1]"
            ),
        ),
    ],
)
def test_all_parameters_of_the_ops_for_points(op, params):
    text = f"graph: {{extra_ops: {{type: {op}, params: {{{OF_POINTS}, {params}}}}}}}"
    assert findings("VG407", text) == []
