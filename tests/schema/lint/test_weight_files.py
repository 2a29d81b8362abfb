"""Each lie of a weight folder is reported in its file, by its rule; sound folders are silent."""

import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.lies import ERRORS, IM_START, LIES
from tests.weight_folders import (
    CONFIG,
    GENERATION,
    INDEX,
    SINGLE,
    SOUND,
    TOKENIZER,
    TOKENIZER_CONFIG,
    config_of,
    edit_json,
    header_of,
    read_tensors,
    split,
    tensor,
    write_falcon,
    write_json,
    write_tensors,
)
from vacc_gen.schema.errors import CheckpointError
from vacc_gen.schema.falcon import EMBEDDING
from vacc_gen.schema.lint.check import Selection, check_paths, check_weights, open_weights
from vacc_gen.schema.lint.diagnostics import FindingsError, Severity
from vacc_gen.schema.lint.weight_files import WeightFiles


@pytest.fixture
def folder(tmp_path):
    return write_falcon(tmp_path / "falcon")


def codes(folder, **options):
    return [
        (one.code, one.severity.value)
        for one in check_weights(WeightFiles(folder), **options).diagnostics
    ]


@pytest.mark.parametrize("lie", LIES, ids=[lie.name for lie in LIES])
def test_a_lie_is_reported_where_it_is(lie, folder):
    lie.apply(folder)
    started = time.perf_counter()
    found = check_weights(WeightFiles(folder)).diagnostics
    assert time.perf_counter() - started < 5
    own = [one for one in found if (one.code, one.path) == (lie.code, f"{folder}/{lie.file}")]
    severity = Severity.ERROR if lie in ERRORS else Severity.WARNING
    assert [one.severity for one in own] == [severity], found
    assert lie.words in own[0].message
    assert len(own[0].message) < 400
    assert len(found) < 3, "one lie, many findings"
    assert check_paths([str(folder)]).diagnostics == found
    if lie not in ERRORS:
        assert open_weights(folder)[1] == found
    elif lie.name != "config-missing":
        with pytest.raises(FindingsError) as raised:
            open_weights(folder)
        assert raised.value.diagnostics == tuple(found)


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_folder_has_no_findings(name, tmp_path):
    folder = tmp_path / "falcon"
    SOUND[name](folder)
    weights, warnings = open_weights(folder)
    assert not warnings
    assert weights.tensors
    assert all(key.startswith(("transformer.", "lm_head.")) for key in weights.tensors)
    assert check_paths([str(folder)]).checked == 1


def texts_at(folder):
    """Return what stands where the findings about a folder are."""
    for one in check_weights(WeightFiles(folder)).diagnostics:
        line = Path(one.path).read_text().splitlines()[one.line - 1]
        yield line[one.column - 1 : one.end_column - 1]


def test_places_are_those_of_keys(folder, tmp_path):
    edit_json(folder / CONFIG, eos_token_id="2", hidden_size=160)
    edit_json(folder / TOKENIZER, added_tokens=[IM_START])
    assert [*texts_at(folder)] == ['"eos_token_id"', '"hidden_size"', '"<|im_start|>"']
    edit_json(folder / TOKENIZER, model={"type": "BPE", "vocab": {}, "merges": [1]})
    assert '"merges"' in texts_at(folder)
    (twice,) = (lie for lie in LIES if lie.name == "twice")
    twice.apply(write_falcon(tmp_path / "twice"))  # the index names the second shard's tensor
    assert [*texts_at(tmp_path / "twice")] == [f'"{EMBEDDING}"']


def test_what_is_not_a_folder_of_weights_is_not_opened(tmp_path, folder):
    for path, words in ((tmp_path / "nowhere", "not a folder"), (tmp_path, "has no config.json")):
        with pytest.raises(CheckpointError, match=words):
            open_weights(path)
    edit_json(folder / TOKENIZER, truncation={})
    assert codes(folder, selection=Selection(ignore=("VG931",))) == []


QWEN = {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "vocab_size": 131}


def test_another_architecture_is_only_an_error_for_whom_it_is(folder):
    """General checks count there too; what only a Falcon must have does not."""
    write_json(folder / CONFIG, {**QWEN, "rope_scaling": {"type": "yarn", "factor": 4.0}})
    write_tensors(folder / SINGLE, {"model.norm.weight": tensor(8), "lm_head.bias": tensor(3)})
    (folder / TOKENIZER).rename(folder / "qwen.tiktoken")
    assert codes(folder) == []
    with pytest.raises(FindingsError) as raised:
        open_weights(folder, falcon_only=True)
    assert [found.code for found in raised.value.diagnostics] == ["VG927"]
    edit_json(folder / CONFIG, vocab_size=2, quantization_config={"quant_method": "fp8"})
    assert codes(folder) == [("VG926", "warning"), ("VG932", "warning")]
    (folder / SINGLE).write_bytes(b"{}")
    assert ("VG925", "error") in codes(folder)


@pytest.mark.parametrize(
    ("files", "is_ours"),
    [
        ({"config.json": {"model_type": "falcon"}}, True),
        ({"config.json": {"architectures": ["FalconForCausalLM"]}}, True),
        ({"config.json": {}, "pytorch_model-00001-of-00002.bin": {}}, True),
        ({"adapter_config.json": {}}, True),
        ({"model-00001-of-00002.safetensors": {}}, True),
        ({"config.json": {"model_type": "falcon"}, "model.onnx": {}, "weights.bin": {}}, False),
        ({"config.json": {"name": "a tool", "data.bin": 1}, "data.bin": {}}, False),
        ({"tokenizer.json": {}}, False),
    ],
)
def test_which_folders_are_of_weights(tmp_path, files, is_ours):
    for name, content in files.items():
        write_json(tmp_path / name, content)
    assert check_paths([str(tmp_path)]).checked == is_ours


def test_files_that_name_a_folder_report_it_once(folder):
    edit_json(folder / CONFIG, num_hidden_layers=7)
    recipe = folder.parent / "vacc.yaml"
    recipe.write_text("version: 2\nmodel: {preset: falcon-7b, checkpoint: falcon}\n")
    found = check_paths([str(recipe)], with_checkpoints=True).diagnostics
    assert [one.path for one in found if one.code == "VG928"] == [f"{folder}/config.json"]
    assert check_paths([str(folder.parent)], with_checkpoints=True).diagnostics == found
    assert not any(one.path.endswith(".json") for one in check_paths([str(recipe)]).diagnostics)
    (folder / SINGLE).unlink()
    (folder / CONFIG).write_text("{")
    found = check_paths([str(recipe)], with_checkpoints=True).diagnostics
    assert "VG920" in [one.code for one in found]


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -1, 2**31])
    | st.floats()
    | st.sampled_from(["", "default", "\ud800", "falcon", "\x1b[31m"])
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
KEYS = {
    CONFIG: [*config_of("40b"), "rope_parameters", "quantization_config", "n_head_kv", "head_dim"],
    GENERATION: ["eos_token_id", "pad_token_id"],
    TOKENIZER: ["model", "added_tokens", "truncation"],
    TOKENIZER_CONFIG: ["eos_token", "added_tokens_decoder"],
    INDEX: ["weight_map"],
}
places = st.sampled_from([(file, key) for file, keys in KEYS.items() for key in keys])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(places, values), min_size=1, max_size=3))
def test_any_value_of_any_key_is_read_or_reported(tmp_path_factory, changes):
    folder = split(write_falcon(tmp_path_factory.mktemp("any"), "40b"))
    for (file, key), value in changes:
        edit_json(folder / file, **{key: value})
    check_weights(WeightFiles(folder))


def test_a_checkpoint_as_large_as_falcon_40b_takes_no_time(tmp_path):
    """Headers of 60 layers, holes for values, and a tokenizer of 65,024 words."""
    folder = write_falcon(tmp_path / "falcon", "40b", num_hidden_layers=60)
    header = header_of(read_tensors(folder / SINGLE))
    words = {f"w{number}": number for number in range(65024)}
    edit_json(folder / TOKENIZER, added_tokens=[], model={"type": "BPE", "vocab": words})
    edit_json(folder / TOKENIZER_CONFIG, eos_token="w2")
    assert len(header) > 480
    started = time.process_time()
    found = check_weights(WeightFiles(folder)).diagnostics
    assert time.process_time() - started < 0.5
    assert [one.code for one in found] == ["VG930"]
