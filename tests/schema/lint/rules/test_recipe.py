"""Recipes: what does not fit the model, the card, or the paths."""

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


def check(changes, path="vacc.yaml", known=None):
    text = RECIPE
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return check_text(text, str(path), known or KNOWN)


def found(changes, path="vacc.yaml"):
    return [(one.line, one.column, one.code, one.message) for one in check(changes, path)]


def test_a_healthy_recipe_has_no_findings():
    assert found({}) == []
    assert check_text(RECIPE.replace("falcon-7b\n", "none\n"), "vacc.yaml") == []  # nothing known


@pytest.mark.parametrize("rest", ["", "tp: x\nnetwork: {}\n"])
def test_a_newer_recipe_is_one_finding_whatever_it_says(rest):
    message = "version 3; this vacc-gen reads recipes up to 2"
    assert found({"version: 2\n": f"version: 3\n{rest}"}) == [(1, 10, "VG180", message)]


@pytest.mark.parametrize("version", ["1", "true", "two", "9.5"])
def test_other_versions_are_not_newer(version):
    codes = [code for *_, code, _ in found({"version: 2": f"version: {version}"})]
    assert len(codes) == 1
    assert codes != ["VG180"]


def test_a_config_with_a_version_is_not_a_newer_recipe():
    text = "version: 9\nfrontend: {}\nbackend: {}\n"
    assert "VG180" not in {one.code for one in check_text(text, "x.yaml")}


@pytest.mark.parametrize(
    ("old", "new", "place", "hint"),
    [
        ("preset: falcon-7b", "preset: falcon-7", (3, 11, "model"), "did you mean `falcon-7b`?"),
        ("tp: 4", "card: VA61", (7, 9, "card"), "did you mean `VA16`?"),
        (
            "python: '3.10'", "preset: falcon-310", (11, 11, "environment"),
            "did you mean `falcon-py310`?",
        ),
        ("tp: 4", "card: A100", (7, 9, "card"), "known: VA1-16G, VA10L, VA16"),
    ],
)  # fmt: skip
def test_an_unknown_preset_gets_the_nearest(old, new, place, hint):
    (one,) = check({old: new})
    line, column, noun = place
    message = f"no {noun} is called `{new.split(': ')[1]}`"
    assert (one.line, one.column, one.code, one.message) == (line, column, "VG190", message)
    assert one.hint == hint
    assert one.is_fixable == hint.startswith("did")


def test_a_preset_may_be_in_capitals_and_two_near_ones_are_no_fix():
    assert found({"preset: falcon-7b": "preset: Falcon-7B"}) == []
    (one,) = check({"preset: falcon-7b": "preset: Yi-7B"})
    assert (one.code, one.fix) == ("VG190", None)


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("total: 256", "total: 112", (8, 12, "prefill 128 is longer than total 112")),
        (
            "prefill: 128\n  total: 256", "total: 512",
            (8, 10, "prefill 1024 is longer than total 512"),
        ),
    ],
)  # fmt: skip
def test_the_total_holds_the_prefill(old, new, place):
    line, column, message = place
    assert found({old: new}) == [(line, column, "VG191", message)]
    assert found({"total: 256": "total: 128"}) == []


def test_a_total_may_fill_the_positions_and_not_exceed_them():
    assert found({"total: 256": "total: 2048"}) == []
    message = "total 2064 is longer than the model's 2048 positions"
    assert found({"total: 256": "total: 2064"}) == [(9, 10, "VG192", message)]


SIZES = {
    "model_type": "falcon",
    "hidden_size": 4544,
    "num_attention_heads": 71,
    "num_hidden_layers": 32,
    "vocab_size": 70000,
}


@pytest.fixture
def recipe_beside_weights(tmp_path):
    """Return a function that writes a weight folder's sizes, and returns the recipe's path."""

    def write(**sizes):
        (tmp_path / "weights").mkdir()
        (tmp_path / "weights" / "config.json").write_text(json.dumps({**SIZES, **sizes}))
        return tmp_path / "vacc.yaml"

    return write


HERE = {"/path/to/falcon-7b": "weights"}


@pytest.mark.parametrize(
    ("width", "message"),
    [
        (4600 * 4, None),
        (4600, "a group of 64 does not divide the model's ffn_hidden_size 4600"),
        (4096 * 3 + 32, "a group of 64 does not divide the model's ffn_hidden_size 12320"),
    ],
)
def test_a_group_divides_both_widths(recipe_beside_weights, width, message):
    if message is None:
        assert found({}) == []
        return
    path = recipe_beside_weights(ffn_hidden_size=width)
    own = [one for one in found(HERE, path) if one[2] == "VG193"]
    assert own == [(13, 15, "VG193", message)]
    whole = {**HERE, "group_size: 64": "group_size: -1"}
    assert "VG193" not in {code for *_, code, _ in found(whole, path)}


def test_another_vocabulary_is_the_same_model(recipe_beside_weights):
    assert found(HERE, recipe_beside_weights()) == []


@pytest.mark.parametrize(
    ("preset", "severity"), [("falcon-7b", "error"), ("chatglm3-6b", "warning")]
)
def test_another_checkpoint_is_reported(recipe_beside_weights, preset, severity):
    path = recipe_beside_weights(num_hidden_layers=31)
    changes = {**HERE, "preset: falcon-7b": f"preset: {preset}"}
    (one,) = [one for one in check(changes, path) if one.code == "VG194"]
    assert (one.line, one.column, one.severity.value) == (4, 15, severity)
    assert one.message.startswith(f"the checkpoint is not {preset}: layers is 31, the preset's ")


@pytest.mark.parametrize(
    ("target", "place", "message", "hint"),
    [
        (
            "tp: 1\n  card: VA1-16G", (7, 7),
            "fp16 on 1 dies needs about 12.9 GiB of each, VA1-16G has 8 GiB",
            "by our estimate tp 2 would fit",
        ),
        ("tp: 2\n  card: VA1-16G", None, None, None),
    ],
)  # fmt: skip
def test_weights_and_cache_are_compared_with_a_die(target, place, message, hint):
    findings = check({"tp: 4": target})
    expected = [] if place is None else [(*place, "VG195", message, hint)]
    assert [(one.line, one.column, one.code, one.message, one.hint) for one in findings] == expected


def test_a_model_that_no_tp_fits_has_no_advice():
    changes = {"falcon-7b\n": "falcon-180B\n", "tp: 4": "card: VA1-16G", "[fp16, int8]": "[int8]"}
    (one,) = [one for one in check(changes) if one.code == "VG195"]
    assert (one.line, one.column) == (7, 9)  # the card's, where no tp is written
    assert one.hint == "by our estimate tp 32 would fit"


@pytest.mark.parametrize(
    ("precisions", "place"),
    [
        ("[int4]", (5, 13, "VG196", "the compiler does not make int4")),
        ("[int4, kv8]", None),
        ("[fp16, int8, fp16]", (5, 26, "VG198", "fp16 is named twice")),
    ],
)
def test_the_compiler_gets_each_precision_once(precisions, place):
    assert found({"[fp16, int8]": precisions}) == ([place] if place else [])


@pytest.mark.parametrize("path", ["~/w", "~me/w", "'~'", "$HOME/w", "/a/$W/b"])
def test_a_path_for_a_shell_is_reported(path):
    ((line, column, code, message),) = found({"/path/to/falcon-7b": path})
    assert (line, column, code) == (4, 15, "VG197")
    assert message.startswith("`model.checkpoint` is taken as it is written")


@pytest.mark.parametrize(
    ("section", "line", "column", "key"),
    [
        ("verification: {text: ~/t.txt}", 12, 22, "verification.text"),
        ("calibration: {set: a, seqlen: 8, path: ~/c}", 12, 40, "calibration.path"),
        (
            "calibration: {set: a, seqlen: 8, path: c, mix: [{set: b, path: ~/c}]}", 12, 64,
            "calibration.mix[0].path",
        ),
    ],
)  # fmt: skip
def test_every_path_of_a_recipe_is_looked_at(section, line, column, key):
    (one,) = found({"quantization": f"{section}\nquantization"})
    assert one[:3] == (line, column, "VG197")
    assert one[3].startswith(f"`{key}` is")


@pytest.mark.parametrize("path", ["/a~b/w", "./w~", "/a/100$", "C:\\w", "./w/model.onnx.d"])
def test_a_path_that_only_looks_like_one_is_not(path):
    assert found({"/path/to/falcon-7b": path}) == []


@pytest.mark.parametrize("path", ["./w/model.onnx", "model-1.safetensors", "w/CONFIG.JSON"])
def test_what_cannot_be_a_weight_folder_is_reported(path):
    message = "the checkpoint is a file; a recipe names the folder that it is in"
    assert found({"/path/to/falcon-7b": path}) == [(4, 15, "VG199", message)]


@pytest.mark.parametrize("path", ["TODO", "${HOME}/w", "<WEIGHTS>"])
def test_a_placeholder_is_one_finding(path):
    assert [code for *_, code, _ in found({"/path/to/falcon-7b": path})] == ["VG119"]
