"""Weight folders: code and sizes of config_vacc.json, JSON; tests/lies.py has all else."""

import json

import pytest

from tests.schema.lint.examples import assert_findings_on_record, findings_in
from tests.weight_folders import INDEX, tensor, write_tensors
from vacc_gen.schema.lint.check import check_paths

VACC, MODULE, SHARD = "config_vacc.json", "modeling_falcon_vacc.py", "a.safetensors"
CONFIG = {
    "auto_map": {
        "AutoModelForCausalLM": "modeling_falcon_vacc.FalconForCausalLM",
        "AutoTokenizer": None,
    },
    "_attn_implementation": "eager",
    "insert_slice": True,
    "hidden_size": 64,
}
WHOLE = {
    VACC: CONFIG,
    "config.json": {"hidden_size": 64},
    MODULE: "class FalconForCausalLM(Base):\n    pass\n",
    INDEX: {"weight_map": {"w": SHARD}},
}
MODULES = [
    *("FalconForCausalLM = make()\n", "from elsewhere import A as FalconForCausalLM\n"),
    *("from elsewhere import *\n", "class FalconForCausalLMs: ...\n", ""),
]
AUTO_MAPS = [
    *("modeling.Model", {"AutoModel": 5}, {"AutoModel": "FalconForCausalLM"}),
    *({"AutoModel": "../../etc.passwd"}, {"AutoModel": "org/repo--m.C"}),
    *({"AutoModel": [None, "m.C"]}, dict.fromkeys("ab", "m.C")),
]
WEIGHT_MAPS = [
    {**dict.fromkeys("wvt", SHARD), "u": "b.safetensors"},
    *({"w": SHARD, "x": "c", "y": "b"}, {"w": "../x"}, [], {"v": SHARD}),
]
CASES = [
    {},
    *({MODULE: source} for source in MODULES),
    *({VACC: {**CONFIG, "auto_map": auto_map}} for auto_map in AUTO_MAPS),
    {VACC: {**CONFIG, "insert_slice": 1}},
    *({VACC: {key: CONFIG[key] for key in CONFIG if key != gone}} for gone in CONFIG),
    *({"config.json": sizes} for sizes in ({"vocab_size": 7}, {"hidden_size": 65, "bias": True})),
    {"config.json": {"quantization_config": {"quant_method": "awq"}, "compression_config": "fp8"}},
    *({INDEX: {"weight_map": weight_map}} for weight_map in WEIGHT_MAPS),
]


def said_of(folder, files):
    """Return what is found in a whole weight folder with these files in it."""
    folder.mkdir()
    write_tensors(folder / SHARD, {"w": tensor(4)})
    texts = {
        name: content if isinstance(content, str) else json.dumps(content, indent=2)
        for name, content in {**WHOLE, **files}.items()
    }
    return findings_in(folder, texts, "VG")


def test_what_is_said_of_a_weight_folder(tmp_path):
    found = {}
    for index, files in enumerate(CASES):
        found[f"{index}: {json.dumps(files)}"] = said_of(tmp_path / str(index), files)
    assert_findings_on_record("checkpoint.txt", found)


@pytest.mark.parametrize(
    ("text", "reason", "column"),
    [
        ('{"\u00e4": "\u00e4'.encode(), "EOF while parsing a string", 9),
        (b'{"a": 1} // x', "trailing characters", 10),
        (b"[1]", "not an object", 1),
        (b'{"a": "\xe9"}', "invalid unicode code point", 8),
    ],
)
def test_broken_json_is_reported_at_its_place(tmp_path, text, reason, column):
    (tmp_path / VACC).write_bytes(text)
    (one,) = check_paths([str(tmp_path)]).diagnostics
    assert (one.code, one.message, one.column) == ("VG920", f"not valid JSON: {reason}", column)


@pytest.mark.parametrize("name", ["config.json", SHARD, VACC])
def test_a_file_of_the_folder_stands_for_it(tmp_path, name):
    said_of(tmp_path / "weights", {"config.json": {"hidden_size": 128}})
    result = check_paths([str(tmp_path / "weights" / name)])
    assert [one.code for one in result.diagnostics] == ["VG924"]
    assert result.checked == 1
