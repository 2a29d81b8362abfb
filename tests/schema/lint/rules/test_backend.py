"""Branches of the rules about `backend` that their examples do not show."""

from tests.schema.lint.examples import assert_findings_on_record, completed, findings
from vacc_gen.schema.lint.check import check_text

IMAGES = "dataset: {path: ./images, sampler: {suffix: jpg, get_data_num: 50}}\n"
GPTQ = "frontend: {quantize: {type: w8a16_gptq}}\n"
ONNX = "frontend: {checkpoint: /models/resnet50.onnx}\n"
FALCON = "frontend: {checkpoint: /falcon, model_kwargs: {tp: 4}}\n"
INT8 = "backend: {dtype: int8, compile: {data_type: %d}}"
CASES = {
    "VG111": [
        "backend: {quantize: {output_ddr: [1], weight_scale: max, stream_mode: null}}",
        "workspace: {save_log: true, work_dir: a}",
        *("workspace: {enable_ir: true}", "workspace: {workers: 2}"),
        "frontend: {model_kwargs: {enable_kv_share: false}}",
    ],
    "VG401": [
        ONNX + "backend: {dtype: int8}",
        GPTQ + "backend: {dtype: int8}",
        GPTQ + "backend: {dtype: fp16}",
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


def test_what_is_said_of_a_backend():
    found = {f"{code} {text}": findings(code, text) for code in CASES for text in CASES[code]}
    assert_findings_on_record("backend.txt", found)


def test_the_older_name_of_path_is_no_missing_key():
    text = completed("{}").replace("  path: ./vacc_deploy", "  work_dir: ./a")
    assert [one.code for one in check_text(text, "x.yaml")] == ["VG111"]
