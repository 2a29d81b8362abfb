"""Weight folders: code, sizes, shards. Headers are made here, so no weights are needed."""

import json

import pytest

from vacc_gen.schema.lint.check import check_paths

MODULE = "modeling_falcon_vacc"
CONFIG = {
    "auto_map": {"AutoModelForCausalLM": f"{MODULE}.FalconForCausalLM", "AutoTokenizer": None},
    "_attn_implementation": "eager",
    "insert_slice": True,
    "hidden_size": 64,
}
INDEX = "model.safetensors.index.json"


@pytest.fixture
def weights(tmp_path):
    write(tmp_path, "config_vacc.json", CONFIG)
    write(tmp_path, "config.json", {"hidden_size": 64})
    (tmp_path / f"{MODULE}.py").write_text("class FalconForCausalLM(Base):\n    pass\n")
    write_shard(tmp_path, {"w": ("F32", [4], [0, 16])})
    write(tmp_path, INDEX, {"weight_map": {"w": "a.safetensors"}})
    return tmp_path


def write(folder, name, value):
    (folder / name).write_text(json.dumps(value, indent=2))


def write_shard(folder, tensors, data_bytes=16):
    keys = ("dtype", "shape", "data_offsets")
    header = {name: dict(zip(keys, entry, strict=True)) for name, entry in tensors.items()}
    text = json.dumps(header).encode()
    content = len(text).to_bytes(8, "little") + text + bytes(data_bytes)
    (folder / "a.safetensors").write_bytes(content)


def check(folder):
    return check_paths([str(folder)]).diagnostics


def found(folder):
    return [(one.path.rsplit("/")[-1], one.line, one.column, one.code) for one in check(folder)]


def test_a_whole_folder_has_no_findings(weights):
    assert found(weights) == []
    assert check_paths([str(weights / "config_vacc.json")]).checked == 1


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("FalconForCausalLM = make()\n", None),
        ("from elsewhere import A as FalconForCausalLM\n", None),
        ("from elsewhere import *\n", None),
        ("class FalconForCausalLMs: ...\n", f"{MODULE}.py has no class `FalconForCausalLM`"),
        (None, f"`auto_map` names {MODULE}.py, which is not there"),
    ],
)
def test_the_class_that_auto_map_names(weights, source, message):
    (weights / f"{MODULE}.py").unlink()
    if source:
        (weights / f"{MODULE}.py").write_text(source)
    assert found(weights) == ([("config_vacc.json", 3, 5, "VG921")] if message else [])
    assert [one.message for one in check(weights)] == ([message] if message else [])


FORM = "in `auto_map` is not of the form module.Class"


@pytest.mark.parametrize(
    ("auto_map", "messages"),
    [
        ("modeling.Model", ["`auto_map` is not an object"]),
        ({"AutoModel": 5}, [f"`5` {FORM}"]),
        ({"AutoModel": "FalconForCausalLM"}, [f"`FalconForCausalLM` {FORM}"]),
        ({"AutoModel": "../../etc.passwd"}, [f"`../../etc.passwd` {FORM}"]),
        ({"AutoModel": "org/repo--m.C"}, []),
        (dict.fromkeys("ab", "m.C"), ["`auto_map` names m.py, which is not there"]),
    ],
    ids=["text", "number", "no-module", "outside", "repository", "once"],
)
def test_an_odd_auto_map_is_reported(weights, auto_map, messages):
    write(weights, "config_vacc.json", {**CONFIG, "auto_map": auto_map})
    assert [one.message for one in check(weights)] == messages


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("auto_map", None, f"`auto_map` is missing, so {MODULE}.py is not loaded"),
        ("insert_slice", 1, "`insert_slice` is 1, not true"),
        ("insert_slice", None, "`insert_slice` is missing"),
    ],
)
def test_a_value_that_does_not_work_is_reported(weights, key, value, message):
    config = {name: old for name, old in CONFIG.items() if name != key}
    write(weights, "config_vacc.json", config if value is None else {**config, key: value})
    assert [one.message for one in check(weights)] == [message]


@pytest.mark.parametrize(
    ("text", "reason", "column"),
    [
        ('{"\u00e4": "\u00e4'.encode(), "EOF while parsing a string", 9),
        (b'{"a": 1} // x', "trailing characters", 10),
        (b"[1]", "not an object", 1),
        (b'{"a": "\xe9"}', "invalid unicode code point", 8),
    ],
)
def test_broken_json_is_reported_at_its_place(weights, text, reason, column):
    (weights / "config_vacc.json").write_bytes(text)
    (one,) = check(weights)
    assert (one.code, one.message, one.column) == ("VG920", f"not valid JSON: {reason}", column)


@pytest.mark.parametrize(
    ("sizes", "place", "message"),
    [
        ({"vocab_size": 7}, (1, 1), "`vocab_size` is missing; config.json has 7"),
        ({"hidden_size": 65, "vocab_size": 7}, (8, 3), "`hidden_size` is 64; config.json has 65, and 1 more of its sizes differ"),  # noqa: E501
    ],
)  # fmt: skip
def test_other_sizes_are_one_mistake(weights, sizes, place, message):
    write(weights, "config.json", sizes)
    (one,) = check(weights)
    assert (one.code, one.line, one.column, one.message) == ("VG924", *place, message)


@pytest.mark.parametrize("name", ["config.json", "a.safetensors"])
def test_a_file_of_the_folder_stands_for_it(weights, name):
    write(weights, "config.json", {"hidden_size": 128})
    assert [one.code for one in check(weights / name)] == ["VG924"]


@pytest.mark.parametrize(
    ("weight_map", "places"),
    [
        ({**dict.fromkeys("wvt", "a.safetensors"), "u": "b.safetensors"}, [(4, "the index and the shards differ in v, and 1 more"), (6, "b.safetensors is not there")]),  # noqa: E501
        ({"w": "a.safetensors", "x": "c", "y": "b"}, [(5, "b is not there, and 1 more")]),
        ({"w": "../x"}, [(3, "'../x' is not a file of this folder")]),
        ([], [(2, "`weight_map` is missing, or does not map names to files")]),
        ({"v": "a.safetensors"}, [(1, "the index and the shards differ in w, and 1 more")]),
    ],
)  # fmt: skip
def test_shards_are_held_against_the_index(weights, weight_map, places):
    write(weights, INDEX, {"weight_map": weight_map})
    assert [(one.line, one.message) for one in check(weights)] == places
