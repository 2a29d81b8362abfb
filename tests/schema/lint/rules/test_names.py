import pytest

from vacc_gen.schema.lint.check import check_text

FALCON = """\
name: {name}
frontend:
  checkpoint: {checkpoint}
  type: huggingface
  shape: {{input_ids: {shape}}}
  model_kwargs: {{model_arch: vacc, tp: 4}}
  {quantize}
backend: {{type: tvm_vacc, dtype: {dtype}}}
{dataset}
workspace: {{path: ./out}}
"""
FILLED = {
    "name": "falcon-7b",
    "checkpoint": "/models/falcon-7b",
    "shape": "[[1024], [2048]]",
    "quantize": "",
    "dtype": "fp16",
    "dataset": "",
}


def check(path="falcon.yaml", **values):
    return check_text(FALCON.format(**{**FILLED, **values}), path)


def found(path="falcon.yaml", **values):
    return [(one.code, one.line, one.column, one.message) for one in check(path, **values)]


DTYPE_IS_FP16 = "`backend.dtype` says fp16"
SHAPE_IS_1024 = "the shape says 1024-2048"


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("falcon-7b-INT8", ("VG201", 1, 17, f"the name says int8, {DTYPE_IS_FP16}")),
        ("falcon-7b-bf16-int4", ("VG201", 1, 22, f"the name says int4, {DTYPE_IS_FP16}")),
        ("falcon-TP8", ("VG202", 1, 14, "the name says tp8, `frontend.model_kwargs.tp` says 4")),
        ("falcon-1024-4096", ("VG203", 1, 14, f"the name says 1024-4096, {SHAPE_IS_1024}")),
        ("falcon-512_2048", ("VG203", 1, 14, f"the name says 512_2048, {SHAPE_IS_1024}")),
        ("falcon-fp61", ("VG206", 1, 14, "`fp61` in the name looks misspelled")),
        ("falcon-Lareg", ("VG206", 1, 14, "`lareg` in the name looks misspelled")),
        *((f"falcon-7b-{end}", None) for end in ("int8-fp16", "fp16x", "tp04", "tp1000", "http8")),
        *((f"falcon-7b-{end}", None) for end in ("16-1024-2048", "1024-2048-v2", "1024-4096k")),
        *((f"falcon-{end}", None) for end in ("2.11-20", "smalls", "egral")),
    ],
)
def test_what_a_name_says(name, place):
    assert found(name=name) == ([place] if place else [])


@pytest.mark.parametrize(
    ("written", "is_fixable"), [("falcon-INT8", True), (r'"falcon\x2dint8"', False)]
)
def test_a_precision_is_replaced_only_where_it_stands_as_it_reads(written, is_fixable):
    (one,) = check(name=written)
    assert (one.code, one.column) == ("VG201", 14 if is_fixable else 7)
    assert bool(one.fix) == is_fixable


W16KV8, GPTQ = "quantize: {type: w16kv8}", "quantize: {type: w8a16_gptq}"
SAYS = "the name says kv8, `frontend.quantize.type` is"


@pytest.mark.parametrize(
    ("name", "quantize", "dtype", "column", "message"),
    [
        ("falcon-7b-kv8", "", "fp16", 17, f"{SAYS} absent"),
        ("falcon-7b-kv8", GPTQ, "int8", 17, f"{SAYS} w8a16_gptq"),
        ("falcon-7b", W16KV8, "int8", 7, "the KV cache has 8 bits (`w16kv8`), and the name does not say kv8"),  # noqa: E501
        ("falcon-7b-kv8", W16KV8, "int8", None, None),
        ("falcon-7b", GPTQ, "int8", None, None),
    ],
)  # fmt: skip
def test_kv8_in_the_name(name, quantize, dtype, column, message):
    expected = [("VG204", 1, column, message)] if message else []
    assert found(name=name, quantize=quantize, dtype=dtype) == expected


def test_kv8_without_any_calibration_is_left_to_vg401():
    assert [one[0] for one in found(name="falcon-kv8", dtype="int8")] == ["VG401"]
    dataset = "dataset: {type: huggingface, name: c4}"
    assert "VG204" in [one[0] for one in found(name="falcon-kv8", dtype="int8", dataset=dataset)]


@pytest.mark.parametrize(
    ("path", "name", "checkpoint", "place", "message"),
    [
        ("x.yaml", "llama-3", "llama2", (1, 7), "the name says llama3, the checkpoint is llama2"),
        ("x.yaml", "qwen2", "Qwen2.5", (1, 7), "the name says qwen2, the checkpoint is Qwen2.5"),
        ("hf_qwen1.5.yaml", "qwen2.5", "qwen2.5", (3, 15), "the file is called hf_qwen1.5.yaml, the checkpoint is qwen2.5"),  # noqa: E501
        ("hf_qwen2.yaml", "qwen2.5", "qwen2.5", None, None),
        ("x.yaml", "Qwen-2_5-7B", "C:\\models\\Qwen2.5-7B", None, None),
        ("x.yaml", "llama_2.0", "/models/llama2/", None, None),
        ("x.yaml", "falcon2", "/models/Falcon-v2", None, None),
        ("x.yaml", "falcon-180b", "falcon-7b", None, None),
        ("x.yaml", "qwen2-7b", "Qwen-1024", None, None),
        ("x.yaml", "mine-tp4-int4-fp16", "/models/int8", None, None),
        ("x.yaml", "any", "7b", None, None),
    ],
)  # fmt: skip
def test_a_name_of_another_version(path, name, checkpoint, place, message):
    expected = [("VG205", *place, message)] if place else []
    assert found(path, name=name, checkpoint=checkpoint) == expected


def test_names_of_other_models_follow_no_custom():
    assert found(name="falcon-7b-512-2048", shape="[[1024], []]") == []
    text = (
        "name: resnet2-kv8\nfrontend: {checkpoint: resnet3.onnx, shape: {input: [1, 3, 64, 64]}}\n"
        "backend: {type: tvm_vacc, dtype: fp16}\nworkspace: {path: ./out}\n"
    )
    assert check_text(text, "yolo.yaml") == []
    assert [one[0] for one in found(name="w2", checkpoint="w3/w.safetensors")] == ["VG301"]
