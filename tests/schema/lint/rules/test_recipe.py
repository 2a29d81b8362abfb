"""Recipes: what does not fit the model, the card, the paths or the pins."""

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
    ("old", "new", "place"),
    [
        ("version: 2", "version: 3\ntp: x", (1, 10, "VG180", "version 3; this vacc-gen reads recipes up to 2")),  # noqa: E501
        ("total: 256", "total: 112", (6, 1, "VG105", "`target`: prefill 128 is longer than total 112")),  # noqa: E501
        ("total: 256", "total: 128", None),
        ("total: 256", "total: 2048", None),
        ("group_size: 64", "group_size: -1", None),
        ("tp: 4", "tp: 2\n  card: VA1-16G", None),
        ("[fp16, int8]", "[int4, kv8]", None),
    ],
)  # fmt: skip
def test_what_a_recipe_asks_for(old, new, place):
    assert found((old, new)) == ([place] if place else [])


def test_what_is_known_of_nothing_is_not_judged():
    pins = ("python: '3.10'", "pins: [torch>=2, torch<1]")
    assert check(("falcon-7b\n", "none\n"), pins, known=None) == []


@pytest.mark.parametrize(
    ("old", "new", "place", "hint"),
    [
        ("tp: 4", "card: VA61", (7, 9, "card"), "did you mean `VA16`?"),
        ("python: '3.10'", "preset: falcon-310", (11, 11, "environment"), "did you mean `falcon-py310`?"),  # noqa: E501
        ("tp: 4", "card: A100", (7, 9, "card"), "known: VA1-16G, VA10L, VA16"),
    ],
)  # fmt: skip
def test_an_unknown_preset_gets_the_nearest(old, new, place, hint):
    (one,) = check((old, new))
    line, column, noun = place
    message = f"no {noun} is called `{new.split(': ')[1]}`"
    assert (one.line, one.column, one.code, one.message) == (line, column, "VG190", message)
    assert one.hint == hint
    assert one.is_fixable == hint.startswith("did")


def test_a_preset_may_be_in_capitals_and_two_near_ones_are_no_fix():
    assert found(("preset: falcon-7b", "preset: Falcon-7B")) == []
    (one,) = check(("preset: falcon-7b", "preset: Yi-7B"))
    assert (one.code, one.fix) == ("VG190", None)


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
    ("preset", "target", "place", "message", "hint"),
    [
        ("falcon-7b", "tp: 1\n  card: VA1-16G", (7, 7), "fp16 on 1 dies needs about 12.9 GiB of each, VA1-16G has 8 GiB", "by our estimate tp 2 would fit"),  # noqa: E501
        ("falcon-180B", "card: VA1-16G", (7, 9), "fp16 on 4 dies needs about 83.3 GiB of each, VA1-16G has 8 GiB", None),  # noqa: E501
    ],
)  # fmt: skip
def test_weights_and_cache_are_compared_with_a_die(preset, target, place, message, hint):
    (one,) = check(("falcon-7b\n", f"{preset}\n"), ("tp: 4", target))
    assert (one.line, one.column, one.code) == (*place, "VG195")
    assert (one.message, one.hint) == (message, hint)


@pytest.mark.parametrize(
    ("old", "new", "line", "column", "key"),
    [
        ("/path/to/falcon-7b", "~me/w", 4, 15, "model.checkpoint"),
        ("/path/to/falcon-7b", "'~'", 4, 15, "model.checkpoint"),
        ("/path/to/falcon-7b", "$HOME/w", 4, 15, "model.checkpoint"),
        ("/path/to/falcon-7b", "/a/$W/b", 4, 15, "model.checkpoint"),
        ("quantization", "verification: {text: ~/t.txt}\nquantization", 12, 22, "verification.text"),  # noqa: E501
        ("quantization", "calibration: {set: a, seqlen: 8, path: ~/c}\nquantization", 12, 40, "calibration.path"),  # noqa: E501
        ("quantization", "calibration: {set: a, seqlen: 8, path: c, mix: [{set: b, path: ~/c}]}\nquantization", 12, 64, "calibration.mix[0].path"),  # noqa: E501
    ],
)  # fmt: skip
def test_a_path_for_a_shell_is_reported(old, new, line, column, key):
    message = f"`{key}` is taken as it is written: no shell expands `~` and `$`"
    assert found((old, new)) == [(line, column, "VG197", message)]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        *((path, None) for path in ("/a~b/w", "./w~", "/a/100$", "C:\\w", "./w/model.onnx.d")),
        *((path, "VG199") for path in ("./w/model.onnx", "model-1.safetensors", "w/CONFIG.JSON")),
    ],
)
def test_a_path_of_a_folder(path, code):
    result = [(one[0], one[1], one[2]) for one in found(("/path/to/falcon-7b", path))]
    assert result == ([(4, 15, code)] if code else [])


@pytest.mark.parametrize(
    ("pin", "hint"),
    [
        ("torch=2.1.0", "did you mean `torch==2.1.0`?"),
        ("torch = 2.1.*", "did you mean `torch==2.1.*`?"),
        ("torch==", None),
        ("torch==2.1; python_version>'3'", None),
    ],
)
def test_a_text_that_is_not_a_pin_is_reported_with_the_pin_that_it_resembles(pin, hint):
    (one,) = check(("python: '3.10'", f'pins: [numpy==1.26.4, "{pin}"]'))
    assert (one.line, one.column, one.code, one.hint) == (11, 25, "VG105", hint)
    assert one.message.startswith("`environment.pins[1]`: ")


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ("pins: [transformers>=4.40, transformers<4.38]", ("VG186", "error", 30)),
        ("pins: [transformers>=4.40]", None),
        ("pins: [numpy==1.26.4, torch==1.8.0]", ("VG186", "error", 25)),
        ("pins: [gptqmodel==4.0.0]", ("VG186", "warning", 10)),
        ("pins: [numpy==2.2.6, onnxruntime==1.13.1]", ("VG187", "error", 10)),
        ("pins: [numpy==1.26.4, onnxruntime==1.13.1]", None),
    ],
)
def test_what_is_known_of_pins_is_reported_at_the_recipes_part_in_it(environment, place):
    result = check(("python: '3.10'", environment))
    places = [(one.code, one.severity.value, one.column) for one in result]
    assert places == ([place] if place else [])


def test_a_python_that_fits_no_pin_of_the_preset_is_one_finding():
    (one,) = check(("'3.10'", "'3.13'"))
    assert (one.code, one.line, one.column) == ("VG186", 11, 11)
    assert one.message == (
        "torch==2.1.0 has no wheels for Python 3.13, only for 3.8 to 3.11; 3 more pins likewise"
    )
    assert one.hint == "set environment.python to 3.11, or pin another version"
