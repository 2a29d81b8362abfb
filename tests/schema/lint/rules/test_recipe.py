"""Recipes; test_messages.py has most of what does not fit the card, the paths or the pins."""

import json

import pytest

from vacc_gen.presets import KNOWN
from vacc_gen.schema.lint.check import check_text

RECIPE = """\
version: 2
model:
  preset: falcon-7b
  checkpoint: /path/to/falcon-7b
precisions: [fp16, int8]
target:
  tp: 4
  prefill: 128
  total: 256
environment:
  python: '3.10'
quantization:
  group_size: 64
"""


def check(*changes, path="vacc.yaml", known=KNOWN):
    text = RECIPE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return check_text(text, str(path), known)


def found(*changes, path="vacc.yaml"):
    return [(one.line, one.column, one.code, one.message) for one in check(*changes, path=path)]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("preset: falcon-7b", "preset: Falcon-7B"),
        ("total: 256", "total: 128"),
        ("total: 256", "total: 2048"),
        ("tp: 4", "tp: 2\n  card: VA1-16G"),
        ("[fp16, int8]", "[int4, kv8]"),
        ("python: '3.10'", "pins: [transformers>=4.40]"),
        ("python: '3.10'", "pins: [numpy==1.26.4, onnxruntime==1.13.1]"),
        *(("/path/to/falcon-7b", path) for path in ("/a~b/w", "./w~", "/a/100$", "C:\\w")),
        ("/path/to/falcon-7b", "./w/model.onnx.d"),
    ],
)
def test_nothing_is_said_of_what_is_right(old, new):
    assert found((old, new)) == []


@pytest.mark.parametrize("path", ["./w/model.onnx", "model-1.safetensors", "w/CONFIG.JSON"])
def test_a_file_is_not_a_checkpoint(path):
    (place,) = found(("/path/to/falcon-7b", path))
    assert place[:3] == (4, 15, "VG197")


def test_what_is_known_of_nothing_is_not_judged():
    pins = ("python: '3.10'", "pins: [torch>=2, torch<1]")
    assert check(("falcon-7b\n", "none\n"), pins, known=None) == []


def test_no_tp_is_suggested_where_none_fits():
    (one,) = check(("falcon-7b\n", "falcon-180B\n"), ("tp: 4", "card: VA1-16G"))
    assert (one.line, one.column, one.code, one.hint) == (7, 9, "VG195", None)
    assert one.message == "fp16 on 4 dies needs about 83.3 GiB of each, VA1-16G has 8 GiB"


SIZES = {
    "model_type": "falcon",
    "hidden_size": 4544,
    "num_attention_heads": 71,
    "num_hidden_layers": 31,
    "vocab_size": 70000,
}


@pytest.mark.parametrize(
    ("sizes", "preset", "places"),
    [
        ({"num_hidden_layers": 32}, "falcon-7b", []),
        ({}, "falcon-7b", [(4, 15, "VG194", "error")]),
        ({}, "chatglm3-6b", [(4, 15, "VG194", "warning")]),
        ({"ffn_hidden_size": 4600}, "falcon-7b", [(4, 15, "VG194", "error"), (13, 15, "VG193", "error")]),  # noqa: E501
    ],
)  # fmt: skip
def test_a_checkpoint_that_is_there_is_compared(tmp_path, sizes, preset, places):
    (tmp_path / "config.json").write_text(json.dumps({**SIZES, **sizes}))
    changes = (": /path/to/falcon-7b", ": ."), ("preset: falcon-7b", f"preset: {preset}")
    result = check(*changes, path=tmp_path / "vacc.yaml")
    assert [(one.line, one.column, one.code, one.severity.value) for one in result] == places
    messages = (
        f"the checkpoint is not {preset}: layers is 31, the preset's ",
        "a group of 64 does not divide the model's ffn_hidden_size 4600",
    )
    assert all(one.message.startswith(messages) for one in result)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("{window: 128, stride: 128}", None),
        ("{window: 128, stride: 129}", "`verification`: `stride` is 129, `window` is 128"),
        ("{stride: 64}", "`verification`: `stride` is 64, `window` is not set"),
    ],
)
def test_a_stride_is_not_longer_than_the_window(fields, message):
    expected = [] if message is None else [(12, 1, "VG105", message)]
    assert found(("quantization:", f"verification: {fields}\nquantization:")) == expected
