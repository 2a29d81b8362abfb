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


def found(path="falcon.yaml", **values):
    text = FALCON.format(**{**FILLED, **values})
    return [(one.code, one.line, one.column, one.message) for one in check_text(text, path)]


@pytest.mark.parametrize(
    ("name", "column", "message"),
    [
        ("falcon-7b-INT8", 17, "the name says int8, `backend.dtype` says fp16"),
        ("falcon-7b-bf16-int4", 22, "the name says int4, `backend.dtype` says fp16"),
        ("falcon-7b-int8-fp16", None, None),
        ("falcon-7b-fp16x", None, None),
    ],
)
def test_precision_in_the_name(name, column, message):
    expected = [("VG201", 1, column, message)] if message else []
    assert found(name=name) == expected


@pytest.mark.parametrize(
    ("written", "is_fixable"), [("falcon-INT8", True), (r'"falcon\x2dint8"', False)]
)
def test_a_precision_is_replaced_only_where_it_stands_as_it_reads(written, is_fixable):
    (one,) = check_text(FALCON.format(**{**FILLED, "name": written}), "falcon.yaml")
    assert (one.code, one.column) == ("VG201", 14 if is_fixable else 7)
    assert bool(one.fix) == is_fixable


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("falcon-7b-tp4", []),
        ("falcon-7b-tp04", []),
        ("falcon-7b-tp1000", []),
        ("falcon-7b-http8", []),
        ("falcon-7b-TP8", [("VG202", 17, "the name says tp8, `frontend.model_kwargs.tp` says 4")]),
    ],
)
def test_tp_in_the_name(name, place):
    assert found(name=name) == [(code, 1, column, message) for code, column, message in place]


@pytest.mark.parametrize(
    ("name", "shape", "column", "said"),
    [
        ("falcon-7b-1024-4096", "[[1024], [2048]]", 17, "1024-4096"),
        ("falcon-7b-512_2048", "[[1024], [2048]]", 17, "512_2048"),
        ("falcon-7b-16-1024-2048", "[[1024], [2048]]", None, None),
        ("falcon-7b-1024-2048-v2", "[[1024], [2048]]", None, None),
        ("falcon-2.11-20", "[[1024], [2048]]", None, None),
        ("falcon-7b-1024-2048k", "[[512], [2048]]", None, None),
        ("falcon-7b-512-1024", "[[1024], []]", None, None),
    ],
)
def test_lengths_in_the_name(name, shape, column, said):
    message = f"the name says {said}, the shape says 1024-2048"
    assert found(name=name, shape=shape) == ([("VG203", 1, column, message)] if said else [])


@pytest.mark.parametrize(
    ("shape", "code"),
    [("[[1000], [2048]]", "VG302"), ("[[1024], [2040]]", "VG302"), ("[[2048], [1024]]", "VG303")],
)
def test_lengths_that_are_wrong_themselves_are_reported_once(shape, code):
    assert [one[0] for one in found(name="falcon-7b-1024-2048", shape=shape)] == [code]


W16KV8, GPTQ = "quantize: {type: w16kv8}", "quantize: {type: w8a16_gptq}"


@pytest.mark.parametrize(
    ("name", "quantize", "dtype", "column", "message"),
    [
        ("falcon-7b-kv8", "", "fp16", 17, "the name says kv8, `frontend.quantize.type` is absent"),
        ("falcon-7b-kv8", GPTQ, "int8", 17, f"the name says kv8, `frontend.{GPTQ[:8]}.type` is w8a16_gptq"),  # noqa: E501
        ("falcon-7b", W16KV8, "int8", 7, "the KV cache has 8 bits (`w16kv8`), and the name does not say kv8"),  # noqa: E501
        ("falcon-7b-kv8", W16KV8, "int8", None, None),
        ("falcon-7b", GPTQ, "int8", None, None),
    ],
)  # fmt: skip
def test_kv8_in_the_name(name, quantize, dtype, column, message):
    expected = [("VG204", 1, column, message)] if message else []
    assert found(name=name, quantize=quantize, dtype=dtype) == expected


def test_kv8_without_any_calibration_is_left_to_vg401():
    dataset = "dataset: {type: huggingface, name: c4}"
    codes = [
        [one[0] for one in found(name="falcon-7b-kv8", dtype="int8", dataset=text)]
        for text in ("", dataset)
    ]
    assert "VG204" not in codes[0]
    assert "VG204" in codes[1]


@pytest.mark.parametrize(
    ("name", "checkpoint"),
    [
        ("falcon-fp16", "/models/falcon-7b/"),
        ("Qwen-2_5-7B", "C:\\models\\Qwen2.5-7B"),
        ("llama_2.0", "llama2"),
        ("chatglm4", "glm-4-9b-hf"),
        ("falcon2", "/models/Falcon-v2"),
        ("falcon-180b", "falcon-7b"),
        ("llm-tp4-int8-model", "/models/falcon-7b"),
        ("qwen2-7b", "Qwen-1024"),
        ("my-weights", "https://example.com/my"),
        ("any", "7b"),
    ],
)
def test_a_name_may_be_of_its_checkpoint(name, checkpoint):
    assert "VG205" not in [one[0] for one in found(name=name, checkpoint=checkpoint)]


@pytest.mark.parametrize(
    ("path", "name", "checkpoint", "place", "message"),
    [
        ("x.yaml", "llama-3", "llama2", (1, 7), "the name says llama3, the checkpoint is llama2"),
        ("x.yaml", "qwen2", "Qwen2.5", (1, 7), "the name says qwen2, the checkpoint is Qwen2.5"),
        ("hf_qwen1.5.yaml", "qwen2.5", "qwen2.5", (3, 15), "the file is called hf_qwen1.5.yaml, the checkpoint is qwen2.5"),  # noqa: E501
        ("hf_qwen2.yaml", "qwen2.5", "qwen2.5", None, None),
        ("x.yaml", "yi-fp16", "falcon", (1, 7), "the name has nothing of the checkpoint's, falcon"),
    ],
)  # fmt: skip
def test_a_name_of_another_model(path, name, checkpoint, place, message):
    expected = [("VG205", *place, message)] if place else []
    assert found(path, name=name, checkpoint=checkpoint) == expected


def test_a_checkpoint_that_is_a_file_is_reported_once():
    assert [one[0] for one in found(checkpoint="/models/w/model.safetensors")] == ["VG301"]


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("falcon-fp61", 14),
        ("falcon-Lareg", 14),
        ("falcon-smalls", None),
        ("falcon-fp16", None),
        ("falcon-lagre", 14),
        ("falcon-egral", None),
    ],
)
def test_a_word_with_two_letters_swapped(name, column):
    places = [(code, column) for code, _, column, _ in found(name=name)]
    assert places == ([("VG206", column)] if column else [])


BERT = """\
name: {}
frontend: {{checkpoint: bert.onnx, shape: {{{}: {}}}, dtype: int64}}
backend: {{type: tvm_vacc, dtype: fp16}}
workspace: {{path: ./out}}
"""


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("bert-384", "[1, 256]", "the name says 384, the inputs are 256 tokens long"),
        ("bert-64", "[[128], []]", "the name says 64, the inputs are 128 tokens long"),
        ("bert-256-384", "[1, 256]", None),
        ("bert-48", "[1, 256]", None),
        ("bert-100", "[1, 256]", None),
    ],
)
def test_length_of_an_encoder_in_the_name(name, shape, message):
    result = check_text(BERT.format(name, "input_ids", shape), "bert.yaml")
    places = [(one.line, one.column, one.message) for one in result if one.code == "VG207"]
    assert places == ([(1, 12, message)] if message else [])


def test_names_of_image_models_follow_no_custom():
    assert check_text(BERT.format("resnet-kv8", "input", "[1, 3, 64, 64]"), "yolo.yaml") == []


def test_an_image_has_no_length():
    assert check_text(BERT.format("vit-384", "images", "[1, 256]"), "vit.yaml") == []
