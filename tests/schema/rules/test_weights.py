"""Weight folders: code, sizes, shards. Headers are made here, so no weights are needed."""

import json

import pytest

from vacc_gen.schema.check import check_paths

MODULE = "modeling_falcon_vacc"
CONFIG = {
    "auto_map": {"AutoModelForCausalLM": f"{MODULE}.FalconForCausalLM", "AutoTokenizer": None},
    "_attn_implementation": "eager",
    "insert_slice": True,
    "hidden_size": 64,
}


@pytest.fixture
def weights(tmp_path):
    write(tmp_path, "config_vacc.json", CONFIG)
    write(tmp_path, "config.json", {"hidden_size": 64})
    (tmp_path / f"{MODULE}.py").write_text("class FalconForCausalLM(Base):\n    pass\n")
    write_shard(tmp_path / "a.safetensors", {"w": 4})
    write(tmp_path, "model.safetensors.index.json", {"weight_map": {"w": "a.safetensors"}})
    return tmp_path


def write(folder, name, value):
    (folder / name).write_text(json.dumps(value, indent=2))


def write_shard(path, tensors):
    header, offset = {}, 0
    for name, elements in tensors.items():
        end = offset + 4 * elements
        header[name] = {"dtype": "F32", "shape": [elements], "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(offset))


def found(folder):
    return [(one.path.rsplit("/")[-1], one.line, one.code) for one in check(folder)]


def check(folder):
    return check_paths([str(folder)]).diagnostics


def test_a_whole_folder_has_no_findings(weights):
    assert found(weights) == []
    assert check_paths([str(weights / "config_vacc.json")]).checked == 1


@pytest.mark.parametrize(
    "source",
    [
        "FalconForCausalLM = make()\n",
        "from elsewhere import FalconForCausalLM\n",
        "from elsewhere import (\n    Other,\n    FalconForCausalLM,\n)\n",
    ],
)
def test_a_class_may_be_defined_in_other_ways(weights, source):
    (weights / f"{MODULE}.py").write_text(source)
    assert found(weights) == []


def test_code_that_is_not_there_is_told_at_its_key(weights):
    (weights / f"{MODULE}.py").write_text("class Other: ...\n")
    assert found(weights) == [("config_vacc.json", 3, "VG921")]
    (weights / f"{MODULE}.py").unlink()
    assert found(weights) == [("config_vacc.json", 3, "VG921")]


def test_code_outside_the_folder_is_not_looked_for(weights):
    write(weights, "config_vacc.json", {**CONFIG, "auto_map": {"AutoModel": "../../etc.passwd"}})
    (one,) = check(weights)
    assert one.message == "`../../etc.passwd` is not of the form module.Class"
    write(weights, "config_vacc.json", {**CONFIG, "auto_map": {"AutoModel": "org/repo--m.C"}})
    assert found(weights) == []


def test_another_size_is_told(weights):
    write(weights, "config.json", {"hidden_size": 128})
    assert found(weights) == [("config_vacc.json", 8, "VG924")]


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00", '{"a": 1}}', "[" * 100_000, '{"a": NaN'])
def test_broken_json_is_told(weights, text):
    (weights / "config_vacc.json").write_text(text)
    (one,) = check(weights)
    assert one.code == "VG920"


def test_shards_are_held_against_the_index(weights):
    weight_map = {"w": "a.safetensors", "v": "a.safetensors", "u": "b.safetensors"}
    write(weights, "model.safetensors.index.json", {"weight_map": weight_map})
    messages = [(one.line, one.message) for one in check(weights)]
    assert messages == [
        (4, "a.safetensors does not hold v"),
        (5, "not there: b.safetensors"),
    ]


def test_shards_that_are_not_there_are_one_mistake(weights):
    weight_map = {"w": "a.safetensors", "x": "c.safetensors", "y": "b.safetensors"}
    write(weights, "model.safetensors.index.json", {"weight_map": weight_map})
    (one,) = check(weights)
    assert (one.line, one.message) == (5, "not there: b.safetensors, and 1 more")


def test_a_truncated_shard_is_told(weights):
    path = weights / "a.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    (one,) = check(weights)
    assert (one.code, one.line) == ("VG925", 3)
    assert "truncated" in one.message


@pytest.mark.parametrize("value", [{}, {"weight_map": []}, {"weight_map": {"w": "../x"}}])
def test_an_odd_index_is_told(weights, value):
    write(weights, "model.safetensors.index.json", value)
    assert [code for _, _, code in found(weights)] == ["VG925"]
