import json

import pytest

from vacc_gen.generator.cli.checking import PresetModels
from vacc_gen.schema.check import check_text


def findings(root, document, name="vacc.yaml"):
    found = check_text(json.dumps(document), str(root / name), PresetModels())
    return [(one.code, one.message) for one in found if one.code.startswith("VG56")]


def recipe(**calibration):
    model = {"preset": "falcon-7b", "checkpoint": "/path/to/falcon-7b"}
    defaults = {"set": "own", "path": "own.txt", "seqlen": 64, "samples": 4}
    return {"version": 2, "model": model, "calibration": {**defaults, **calibration}}


@pytest.fixture
def root(tmp_path):
    (tmp_path / "own.txt").write_text("a line of text\n" * 40)  # 600 bytes
    return tmp_path


def test_texts_that_may_suffice_are_fine(root):
    assert findings(root, recipe()) == []
    assert findings(root, recipe(set="c4", path="/path/to/c4")) == []


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        ({"samples": 10}, "own cannot fill 10 windows of 64 tokens: its 1 texts have 600 bytes"),
        ({"packing": "one_text", "samples": 2}, "own cannot fill 2 windows of 64 tokens: 1 of its"),
        ({"set": "alpaca"}, "own.txt is plain text, but alpaca is published as a JSON list"),
        ({"set": "c4", "path": "/path/to/c4", "split": "val"}, "c4 has train, validation, not val"),
        ({"path": "."}, None),
    ],
)
def test_a_set_that_cannot_fill_its_windows(root, calibration, message):
    found = findings(root, recipe(**calibration))
    assert [code for code, _ in found] == (["VG560"] if message else [])
    assert all(said.startswith(message) for _, said in found)


def test_each_set_of_a_mixture_has_its_share_to_fill(root):
    mix = [{"set": "own", "path": "own.txt", "weight": 3}, {"set": "c4", "path": "own.txt"}]
    found = findings(root, recipe(samples=20, mix=mix))
    assert [said.split(":")[0] for _, said in found] == [
        "own cannot fill 12 windows of 64 tokens",
        "own.txt is plain text, but c4 is published as JSON lines",
    ]


def test_a_compile_config_is_checked_as_well(root):
    dataset = {"type": "huggingface", "name": "alpaca", "nsamples": 128, "seqlen": 512}
    config = {"frontend": {"type": "huggingface"}, "dataset": dataset}
    dataset["path"] = "own.txt"
    assert findings(root, config, "int8.yaml") == []  # relative to where vamc will run
    dataset["path"] = str(root / "own.txt")
    assert [code for code, _ in findings(root, config, "int8.yaml")] == ["VG560"]


def test_windows_beyond_the_positions(root):
    assert findings(root, recipe(path="/path/to/own", seqlen=2048)) == []
    assert findings(root, recipe(path="/path/to/own", seqlen=2049)) == [
        ("VG561", "windows of 2049 tokens, but the model has 2048 positions")
    ]


@pytest.mark.parametrize(
    "calibration", [{"weight": 0}, {"weight": "much"}, {"mix": 3}, {"samples": -1}, {"seqlen": 0}]
)
def test_what_is_wrong_in_itself_is_said_elsewhere(root, calibration):
    assert findings(root, recipe(**calibration)) == []
