"""Weight folders: code, sizes, shards. Headers are made here, so no weights are needed."""

import json
import os

import pytest

from vacc_gen.schema.lint.check import check_paths

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
    return [(one.path.rsplit("/")[-1], one.line, one.column, one.code) for one in check(folder)]


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
        "try:\n    from a import (\n        B as FalconForCausalLM,\n    )\nexcept E: ...\n",
        "from elsewhere import *\n",
    ],
)
def test_a_class_may_be_defined_in_other_ways(weights, source):
    (weights / f"{MODULE}.py").write_text(source)
    assert found(weights) == []


def test_missing_code_is_reported_at_its_key(weights):
    (weights / f"{MODULE}.py").write_text("class Other: ...\n")
    assert found(weights) == [("config_vacc.json", 3, 5, "VG921")]
    (weights / f"{MODULE}.py").unlink()
    assert found(weights) == [("config_vacc.json", 3, 5, "VG921")]


def test_one_file_that_is_not_there_is_one_mistake(weights):
    names = {auto: f"{MODULE}.{auto}" for auto in ("AutoConfig", "AutoModel")}
    write(weights, "config_vacc.json", {**CONFIG, "auto_map": names})
    (weights / f"{MODULE}.py").unlink()
    assert found(weights) == [("config_vacc.json", 3, 5, "VG921")]


def test_code_that_python_cannot_read_is_reported(weights):
    (weights / f"{MODULE}.py").write_text("import os\nclass FalconForCausalLM(:\n    pass\n")
    (one,) = check(weights)
    assert one.message == f"{MODULE}.py is not valid Python, line 2"


def test_code_that_nothing_names_is_reported(weights):
    write(weights, "config_vacc.json", {k: v for k, v in CONFIG.items() if k != "auto_map"})
    (one,) = check(weights)
    assert one.message == f"`auto_map` is missing, so {MODULE}.py is not loaded"


@pytest.mark.parametrize(
    ("auto_map", "message"),
    [
        ("modeling.Model", "`auto_map` is not an object"),
        ({"AutoModel": 5}, "`5` in `auto_map` is not of the form module.Class"),
        (
            {"AutoModel": "FalconForCausalLM"},
            "`FalconForCausalLM` in `auto_map` is not of the form module.Class",
        ),
        (
            {"AutoModelForCasualLM": f"{MODULE}.FalconForCausalLM"},
            "`AutoModelForCasualLM` in `auto_map` looks misspelled",
        ),
    ],
    ids=["text", "number", "no-module", "misspelled"],
)
def test_an_odd_auto_map_is_reported(weights, auto_map, message):
    write(weights, "config_vacc.json", {**CONFIG, "auto_map": auto_map})
    assert [one.message for one in check(weights)] == [message]


def test_code_outside_the_folder_is_not_looked_for(weights):
    write(weights, "config_vacc.json", {**CONFIG, "auto_map": {"AutoModel": "../../etc.passwd"}})
    (one,) = check(weights)
    assert one.message == "`../../etc.passwd` in `auto_map` is not of the form module.Class"
    write(weights, "config_vacc.json", {**CONFIG, "auto_map": {"AutoModel": "org/repo--m.C"}})
    assert found(weights) == []


def test_another_size_is_reported(weights):
    write(weights, "config.json", {"hidden_size": 128})
    assert found(weights) == [("config_vacc.json", 8, 3, "VG924")]


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00", '{"a": 1}}', "[" * 100_000, '{"a": NaN'])
def test_broken_json_is_reported(weights, text):
    (weights / "config_vacc.json").write_text(text)
    (one,) = check(weights)
    assert one.code == "VG920"


@pytest.mark.parametrize(
    ("text", "reason", "column"),
    [
        (b'{"a": 1,}', "a comma before `}`", 8),
        (b'{"a": [1, ]}', "a comma before `]`", 9),
        (b'{"a": [1,,]}', "a comma before `]`", 10),
        (b'{"a": True}', "expecting value", 7),
        (b'{"a": }', "expecting value", 7),
        ('{"\u00e4": 1, "\u00e4": 2}'.encode(), "`\u00e4` is there twice", 10),
        (b'{"a": "b', "unterminated string starting", 7),
        (b'{"a": 1} // x', "extra data", 10),
        (b'{"a": 1, "a": 2}', "`a` is there twice", 10),
        (b'\xef\xbb\xbf{"a": 1}', "it begins with a byte order mark", 1),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8 text", 1),
        (b'{"a": "\xe9"}', "not UTF-8 text", 8),
        (b" ", "the file is empty", 2),
        (b'{"a": ' + b"9" * 5000 + b"}", "a number has thousands of digits", 1),
        (b'{"a":' * 50_000, "nested too deeply", 1),
    ],
    ids=["comma", "bracket", "commas", "True", "missing", "umlaut", "open", "comment", "twice",
         "bom", "utf-16", "latin-1", "empty", "digits", "nested"],
)  # fmt: skip
def test_broken_json_is_reported_at_its_place(weights, text, reason, column):
    (weights / "config_vacc.json").write_bytes(text)
    (one,) = check(weights)
    assert (one.message, one.column) == (f"not valid JSON: {reason}", column)


def test_another_models_config_is_one_mistake(weights):
    sizes = dict.fromkeys(("hidden_size", "num_hidden_layers", "vocab_size"), 64)
    write(weights, "config.json", {**sizes, "hidden_size": 128})
    (one,) = check(weights)
    assert one.message.endswith("config.json has 64, and 2 more sizes differ")


@pytest.mark.parametrize("name", ["config_vacc.json", "config.json"])
def test_what_cannot_be_read_makes_no_finding(weights, name):
    (weights / name).unlink()
    os.mkfifo(weights / name)
    result = check_paths([str(weights)])
    assert result.unreadable == [(f"{weights}/{name}", "not a regular file")]
    (weights / name).unlink()
    (weights / name).symlink_to("nowhere")
    assert check_paths([str(weights)]).unreadable == [(f"{weights}/{name}", "a link to nothing")]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_unreadable(weights):
    (weights / "config.json").chmod(0)
    assert check_paths([str(weights)]).unreadable == [
        (f"{weights}/config.json", "permission denied")
    ]


def test_shards_without_an_index_are_looked_into(weights):
    (weights / "model.safetensors.index.json").unlink()
    assert found(weights) == []
    (weights / "a.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid 0\n")
    (one,) = check(weights)
    assert (one.path, one.line, one.code) == (f"{weights}/a.safetensors", 1, "VG925")
    assert "pointer of Git LFS" in one.message


@pytest.mark.parametrize("name", ["config.json", "a.safetensors"])
def test_a_file_of_the_folder_stands_for_it(weights, name):
    write(weights, "config.json", {"hidden_size": 128})
    found = check_paths([str(weights / name)]).diagnostics
    assert [one.code for one in found] == ["VG924"]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"w": ("F32", [4], [4, 20])}, "w follows a gap in the file"),
        ({"w": ("F32", [4], [0, 16]), "v": ("F32", [4], [8, 24])}, "v overlaps the one before it"),
        ({"w": ("F32", [2], [0, 8])}, "has bytes of no tensor at its end"),
        ({"w": ("F32", [2], [0, 16])}, "does not fill bytes 0 to 16"),
    ],
    ids=["gap", "overlap", "longer", "dtype"],
)
def test_a_header_that_lies_is_reported(weights, header, message):
    keys = ("dtype", "shape", "data_offsets")
    values = {name: dict(zip(keys, entry, strict=True)) for name, entry in header.items()}
    text = json.dumps(values).encode()
    (weights / "a.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(24))
    (one,) = check(weights)
    assert message in one.message


def test_shards_are_held_against_the_index(weights):
    weight_map = {**dict.fromkeys("wvt", "a.safetensors"), "u": "b.safetensors"}
    write(weights, "model.safetensors.index.json", {"weight_map": weight_map})
    messages = [(one.line, one.message) for one in check(weights)]
    assert messages == [
        (4, "a.safetensors does not hold v and 1 more"),
        (6, "b.safetensors is not there"),
    ]


def test_shards_that_are_not_there_are_one_mistake(weights):
    weight_map = {"w": "a.safetensors", "x": "c.safetensors", "y": "b.safetensors"}
    write(weights, "model.safetensors.index.json", {"weight_map": weight_map})
    (one,) = check(weights)
    assert (one.line, one.message) == (5, "b.safetensors is not there, nor 1 more")


def test_a_truncated_shard_is_reported(weights):
    path = weights / "a.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    (one,) = check(weights)
    assert (one.code, one.line) == ("VG925", 3)
    assert "truncated" in one.message


@pytest.mark.parametrize("value", [{}, {"weight_map": []}, {"weight_map": {"w": "../x"}}])
def test_an_odd_index_is_reported(weights, value):
    write(weights, "model.safetensors.index.json", value)
    assert [code for *_, code in found(weights)] == ["VG925"]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("insert_slice", 1, "`insert_slice` is 1, not true"),
        ("_attn_implementation", None, '`_attn_implementation` is null, not "eager"'),
    ],
)
def test_a_value_that_does_not_work_is_reported(weights, key, value, message):
    write(weights, "config_vacc.json", {**CONFIG, key: value})
    assert [one.message for one in check(weights)] == [message]


def test_two_sizes_are_two_findings_and_one_may_be_missing(weights):
    write(weights, "config.json", {"hidden_size": 65, "vocab_size": 7})
    assert [(one.line, one.column, one.message) for one in check(weights)] == [
        (1, 1, "`vocab_size` is missing; config.json has 7"),
        (8, 3, "`hidden_size` is 64; config.json has 65"),
    ]
