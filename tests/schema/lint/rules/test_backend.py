"""Branches of the rules about `backend` that their examples do not show."""

import pytest

from tests.schema.lint.examples import completed, findings
from vacc_gen.schema.lint.check import check_text

IMAGES = "dataset: {path: ./images, sampler: {suffix: jpg, get_data_num: 50}}\n"
SUFFIXES = (
    *("jpg", "jpeg", "png", "bmp", "npz", "npy", "tif", "tiff", "webp", "gif", "ppm", "pgm"),
    *("jp2", "bin", "h5"),
)
GPTQ = "frontend: {quantize: {type: w8a16_gptq}}\n"
ONNX = "frontend: {checkpoint: /models/resnet50.onnx}\n"


def test_a_build_option_in_both_sections_is_deleted_from_the_quantizers():
    text = "backend: {compile: {output_ddr: [1]}, quantize: {output_ddr: [1], weight_scale: max}}"
    message = "`output_ddr` is an option of `backend.compile`, not of `backend.quantize`"
    hint = "delete it: `backend.compile` has it too"
    assert findings("VG110", text) == [f"16:5 {message} | {hint}"]


@pytest.mark.parametrize(
    ("workspace", "found"),
    [
        (
            "path: null, work_dir: ./a, save_log: true",
            "14:3 `work_dir` and `save_log` are of the older `vamc build` | delete them",
        ),
        ("enable_ir: true", "14:3 `enable_ir` is of the older `vamc build` | delete it"),
        ("workers: 2", None),
    ],
)
def test_keys_of_the_older_compiler_are_one_finding(workspace, found):
    assert findings("VG111", f"workspace: {{{workspace}}}") == ([found] if found else [])


@pytest.mark.parametrize(
    ("old", "hint"),
    [
        ("  work_dir: ./a", "write `path` for `work_dir`"),
        ("  work_dir: ./a\n  save_log: true", "write `path` for `work_dir`; delete the others"),
    ],
)
def test_the_older_name_of_path_is_renamed(old, hint):
    text = completed("{}").replace("  path: ./vacc_deploy", old)
    (found,) = check_text(text, "x.yaml")
    assert (found.code, found.line, found.column, found.hint) == ("VG111", 13, 3, hint)


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
            "dataset: {path: ., sampler: {suffix: jpge, get_data_num: 50}}",
            "'jpge' looks misspelled | did you mean `jpg`?",
        ),
        (
            "dataset: {path: ., sampler: {suffix: .JPEG, get_data_num: 50}}",
            "the suffix '.JPEG' has a dot | write `JPEG`",
        ),
        ("dataset: {path: ., sampler: {suffix: NPZ, get_data_num: 50}}", None),
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


def test_suffixes_that_are_not_misspelled():
    for suffix in SUFFIXES:
        text = f"dataset: {{path: ., sampler: {{suffix: {suffix}, get_data_num: 50}}}}"
        assert findings("VG114", text) == []


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (
            ONNX + "backend: {dtype: int8}",
            "add a `dataset`, or compile to fp16",
        ),
        (GPTQ + "backend: {dtype: int8}", None),
        (IMAGES + "backend: {dtype: int8}", None),
        (ONNX, None),
    ],
)
def test_int8_needs_data_or_a_method(text, hint):
    message = "13:10 dtype is int8, but there is neither `dataset` nor `frontend.quantize`"
    assert findings("VG401", text) == ([f"{message} | {hint}"] if hint else [])


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


def test_a_language_model_needs_no_calibration_mode():
    text = IMAGES + "frontend: {checkpoint: /falcon, model_kwargs: {tp: 4}}\nbackend: {dtype: int8}"
    assert findings("VG404", text) == []


@pytest.mark.parametrize(
    ("text", "data_type", "hint"),
    [
        (IMAGES, 0, "int8 takes `data_type: 2`"),
        (IMAGES, 2, None),
        (GPTQ, 2, "int8 of a language model takes `data_type: 0`"),
        (GPTQ, 0, None),
        (ONNX, 0, None),
    ],
)
def test_data_type_of_an_int8_build(text, data_type, hint):
    text += f"backend: {{dtype: int8, compile: {{data_type: {data_type}}}}}"
    found = [one.split(" | ") for one in findings("VG405", text)]
    message = f"`data_type` is {data_type}, but `backend.dtype` is int8"
    assert [(one[0].split(" ", 1)[1], one[1]) for one in found] == (
        [(message, hint)] if hint else []
    )


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
    message = f"18:7 `{key}` is not a parameter of {op} | {found}"
    assert findings("VG407", text) == ([message] if found else [])


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


@pytest.mark.parametrize(
    ("anchor", "strides", "found"),
    [
        (
            "[1, 2, 3]",
            "[8]",
            (
                "`anchor` has 3 values for 1 stride"
                " | it needs a multiple of 2: widths and heights for each stride"
            ),
        ),
        ("[1, 2, 3, 4, 5, 6, 7, 8]", "[8, 16]", None),
        ("[]", "[8]", None),
        ("[1, 2]", "[]", None),
    ],
)
def test_each_stride_has_its_anchors(anchor, strides, found):
    params = f"anchor: {anchor}, strides: {strides}"
    text = f"graph: {{extra_ops: {{type: yolov5_nms, params: {{{params}}}}}}}"
    assert [one.split(" ", 1)[1] for one in findings("VG408", text)] == ([found] if found else [])
