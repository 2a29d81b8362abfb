"""Reading weight folders and shards: what is there, and what tells one from another."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.weight_folders import edit_json, write_shard
from vacc_gen.schema.checkpoint import (
    COMPARED_BYTES,
    TensorEntry,
    have_same_bytes,
    name_of,
    read_shard,
)
from vacc_gen.schema.errors import CheckpointError
from vacc_gen.schema.lint.check import open_weights

FALCON_TINY = Path(__file__).parents[1] / "data" / "falcon-tiny"
SHARD = "model-00002-of-00003.safetensors"


def test_a_real_checkpoint_is_read_as_safetensors_reads_it():
    safetensors = pytest.importorskip("safetensors")
    folder, _ = open_weights(FALCON_TINY)
    assert len(folder.tensors) == 27
    for entry in folder.tensors.values():
        with safetensors.safe_open(entry.path, framework="numpy") as shard:
            part = shard.get_slice(entry.name)
            assert (part.get_dtype(), tuple(part.get_shape())) == (entry.dtype, entry.shape)
    weights_bytes = sum(file.stat().st_size for file in FALCON_TINY.glob("*.safetensors"))
    assert 0 < weights_bytes - folder.tensor_bytes < 10_000, "headers alone are the difference"


def test_the_index_is_not_needed_and_a_fingerprint_tells_values_and_config_apart(tmp_path):
    folder = Path(shutil.copytree(FALCON_TINY, tmp_path / "falcon"))
    (folder / "model.safetensors.index.json").unlink()
    original = open_weights(FALCON_TINY)[0]
    assert open_weights(folder)[0].tensors.keys() == original.tensors.keys()
    assert open_weights(folder)[0].fingerprint() == original.fingerprint()
    edit_json(folder / "config.json", rope_theta=5.0)
    changed_config = open_weights(folder)[0].fingerprint()
    content = bytearray((folder / SHARD).read_bytes())
    entry = next(iter(read_shard(folder / SHARD).values()))
    content[entry.offset_bytes + entry.length_bytes // 2] ^= 1
    (folder / SHARD).write_bytes(content)
    changed_value = open_weights(folder)[0].fingerprint()
    assert len({original.fingerprint(), changed_config, changed_value}) == 3


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("weights/falcon-7b/", "falcon-7b"),
        ("hub/models--tiiuae--falcon-7b/snapshots/ec89142b", "falcon-7b"),
        ("hub/models--gpt2/snapshots/0123/", "gpt2"),
        (".", ""),
        ("hub/models--tiiuae--falcon-7b/refs/main", "main"),
        (r"C:\hub\models--tiiuae--falcon-7b\snapshots\0123", "falcon-7b"),
    ],
)
def test_a_snapshot_is_called_by_its_repository(path, name):
    assert name_of(path) == name_of(Path(path)) == name


def test_bytes_lie_where_the_entry_says(tmp_path):
    header = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
        "b": {"dtype": "F16", "shape": [1, 2], "data_offsets": [3, 7]},
        "c": {"dtype": "F64", "shape": [0], "data_offsets": [7, 7]},
    }
    shard = tmp_path / "x.safetensors"
    write_shard(shard, json.dumps(header).encode(), b"abcdefg")
    content, entries = shard.read_bytes(), read_shard(shard).values()
    read = [content[entry.offset_bytes :][: entry.length_bytes] for entry in entries]
    assert read == [b"abc", b"defg", b""]


@pytest.mark.parametrize("samples", [None, 1, 3, 1000])
def test_tensors_are_compared_whole_or_by_samples(tmp_path, samples):
    content = bytes(5 * COMPARED_BYTES + 7)

    def entry(name, content, dtype="U8"):
        (tmp_path / name).write_bytes(b"x" + content)
        return TensorEntry(name, tmp_path / name, 1, len(content), dtype, (len(content),))

    first = entry("a", content)
    assert have_same_bytes(first, entry("b", content), samples)
    assert not have_same_bytes(first, entry("b", content, "I8"), samples)
    assert not have_same_bytes(first, entry("b", b"y" + content[1:]), samples)
    is_seen = samples in (None, 1000)
    assert have_same_bytes(first, entry("b", content[:-1] + b"y"), samples) == (not is_seen)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
records = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["BF16", "F32", "U8"]) | json_values,
        "shape": st.lists(st.integers(-1, 3), max_size=3) | json_values,
        "data_offsets": st.lists(st.integers(-1, 20), max_size=3) | json_values,
    },
)


@given(st.dictionaries(st.text(max_size=5), records | json_values, max_size=3), st.binary())
def test_any_header_is_read_within_the_file_or_refused(tmp_path_factory, header, damage):
    shard = tmp_path_factory.getbasetemp() / "header"
    write_shard(shard, json.dumps(header).encode(), bytes(16))
    size_bytes = shard.stat().st_size
    try:
        for entry in read_shard(shard).values():
            assert 0 <= entry.offset_bytes <= entry.offset_bytes + entry.length_bytes <= size_bytes
    except CheckpointError:
        pass
    shard.write_bytes(damage)
    with pytest.raises(CheckpointError):
        read_shard(shard)
