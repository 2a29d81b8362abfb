"""Reading weight folders: what is there, and every way in which one can be unusable."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vacc_gen.schema.checkpoint import (
    COMPARED_BYTES,
    INDEX_FILE,
    MAX_HEADER_BYTES,
    TensorEntry,
    have_same_bytes,
    name_of,
    read_shard,
    read_weight_folder,
)
from vacc_gen.schema.errors import CheckpointError, UnreadableError

FALCON_TINY = Path(__file__).parents[1] / "data" / "falcon-tiny"
SHARD = "model-00002-of-00003.safetensors"


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(FALCON_TINY, tmp_path / "falcon"))


def shard_bytes(header: object, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def refusal(path: Path) -> CheckpointError:
    with pytest.raises(CheckpointError) as raised:
        read_weight_folder(path)
    return raised.value


def edit_json(file: Path, **changes):
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_a_real_checkpoint_is_read_as_safetensors_reads_it():
    safetensors = pytest.importorskip("safetensors")
    folder = read_weight_folder(FALCON_TINY)
    assert len(folder.tensors) == 27
    for entry in folder.tensors.values():
        with safetensors.safe_open(entry.path, framework="numpy") as shard:
            part = shard.get_slice(entry.name)
            assert (part.get_dtype(), tuple(part.get_shape())) == (entry.dtype, entry.shape)
    weights_bytes = sum(file.stat().st_size for file in FALCON_TINY.glob("*.safetensors"))
    assert 0 < weights_bytes - folder.tensor_bytes < 10_000, "headers alone are the difference"


def test_bytes_lie_where_the_entry_says(tmp_path):
    header = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
        "b": {"dtype": "F16", "shape": [1, 2], "data_offsets": [3, 7]},
    }
    shard = tmp_path / "x.safetensors"
    shard.write_bytes(shard_bytes(header, b"abcdefg"))
    entries = read_shard(shard)
    content = shard.read_bytes()
    found = {
        n: content[e.offset_bytes : e.offset_bytes + e.length_bytes] for n, e in entries.items()
    }
    assert found == {"a": b"abc", "b": b"defg"}


def test_one_file_without_an_index(folder):
    index = json.loads((folder / INDEX_FILE).read_text())["weight_map"]
    (folder / INDEX_FILE).unlink()
    assert set(read_weight_folder(folder).tensors) == set(index)


def test_the_fingerprint_tells_values_and_config_apart(folder):
    original = read_weight_folder(FALCON_TINY).fingerprint()
    assert read_weight_folder(folder).fingerprint() == original
    edit_json(folder / "config.json", rope_theta=5.0)
    changed_config = read_weight_folder(folder).fingerprint()
    content = bytearray((folder / SHARD).read_bytes())
    entry = next(e for e in read_shard(folder / SHARD).values())
    content[entry.offset_bytes + entry.length_bytes // 2] ^= 1
    (folder / SHARD).write_bytes(content)
    assert len({original, changed_config, read_weight_folder(folder).fingerprint()}) == 3


@pytest.mark.parametrize(
    ("content", "words"),
    [("{", "not valid JSON"), ("[1]", "not a JSON object"), ("[" * 99999, "JSON")],
)
def test_a_damaged_config(folder, content, words):
    (folder / "config.json").write_text(content)
    with pytest.raises(UnreadableError, match=words):
        read_weight_folder(folder)


@pytest.mark.parametrize("kept_bytes", [0, 7, 100, 100_000])
def test_a_truncated_shard(folder, kept_bytes):
    content = (folder / SHARD).read_bytes()
    (folder / SHARD).write_bytes(content[:kept_bytes])
    error = refusal(folder)
    assert f"{SHARD} is truncated" in error.message
    assert error.hint == "download that file again"


def test_shards_that_are_none(folder):
    (folder / SHARD).write_bytes(struct.pack("<Q", MAX_HEADER_BYTES + 1) + b"{}")
    assert str(MAX_HEADER_BYTES + 1) in refusal(folder).message
    (folder / SHARD).write_bytes(b"version https://git-lfs.github.com/spec/v1")
    assert "a pointer of Git LFS" in refusal(folder).message


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"dtype": "BF16", "shape": [2], "data_offsets": [0]},
        {"dtype": "BF16", "shape": [2], "data_offsets": [0, 3]},
        {"dtype": "BF16", "shape": [-2], "data_offsets": [0, -4]},
        {"dtype": "BF16", "shape": [2.0], "data_offsets": [0, 4]},
        {"dtype": "BF16", "shape": [2], "data_offsets": [-4, 0]},
        {"dtype": "Q9", "shape": [2], "data_offsets": [0, 4]},
        {"dtype": ["BF16"], "shape": [2], "data_offsets": [0, 4]},
        {"dtype": "BF16", "shape": 2, "data_offsets": [0, 4]},
        "BF16",
    ],
)
def test_a_damaged_record(tmp_path, record):
    shard = tmp_path / "x.safetensors"
    shard.write_bytes(shard_bytes({"w": record}, bytes(8)))
    with pytest.raises(CheckpointError, match="w"):
        read_shard(shard)


@pytest.mark.parametrize(
    ("weight_map", "words"),
    [
        ({"w": "../x.safetensors"}, "not a file of this folder"),
        ({"w": "/etc/passwd"}, "not a file of this folder"),
        ({"w": ""}, "not a file of this folder"),
        ({"w": "a\0b"}, "is not there"),
        ({"w": "a.safetensors"}, "a.safetensors is not there"),
        ({"w": SHARD}, f"{SHARD} does not hold w"),
        (None, "weight_map"),
        ({"w": 1}, "weight_map"),
    ],
)
def test_an_index_that_does_not_fit_its_folder(folder, weight_map, words):
    edit_json(folder / INDEX_FILE, weight_map=weight_map)
    assert words in refusal(folder).message


def test_what_is_no_checkpoint(folder):
    (folder / INDEX_FILE).unlink()
    shutil.copy(folder / SHARD, folder / "copy.safetensors")
    assert "is also in copy.safetensors, and 10 more" in refusal(folder).message
    for file in folder.glob("*.safetensors"):
        file.unlink()
    assert "holds no weights" in refusal(folder).message
    (folder / "pytorch_model-00001-of-00002.bin").write_bytes(b"\x80\x02")
    error = refusal(folder)
    assert "pytorch_model-00001-of-00002.bin: the weights are only pickle" in error.message
    assert "vacc-gen convert" in error.hint
    (folder / "config.json").unlink()
    assert refusal(folder).message == f"{folder} has no config.json"
    assert "is not a folder" in refusal(folder / "nowhere").message


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("weights/falcon-7b/", "falcon-7b"),
        ("hub/models--tiiuae--falcon-7b/snapshots/ec89142b", "falcon-7b"),
        ("hub/models--gpt2/snapshots/0123/", "gpt2"),
        ("hub/models--tiiuae--falcon-7b/refs/main", "main"),
        (r"C:\hub\models--tiiuae--falcon-7b\snapshots\0123", "falcon-7b"),
    ],
)
def test_a_snapshot_is_called_by_its_repository(path, name):
    assert name_of(path) == name
    assert name_of(Path(path)) == name


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


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content):
    """Nothing but CheckpointError comes out of a damaged shard."""
    shard = tmp_path_factory.getbasetemp() / "any.safetensors"
    shard.write_bytes(content)
    with pytest.raises(CheckpointError):
        read_shard(shard)


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


@given(st.dictionaries(st.text(max_size=5), records | json_values, max_size=3))
def test_any_header_is_read_within_the_file_or_refused(tmp_path_factory, header):
    shard = tmp_path_factory.getbasetemp() / "header.safetensors"
    shard.write_bytes(shard_bytes(header, bytes(16)))
    try:
        entries = read_shard(shard)
    except CheckpointError:
        return
    size_bytes = shard.stat().st_size
    for entry in entries.values():
        assert 0 <= entry.offset_bytes <= entry.offset_bytes + entry.length_bytes <= size_bytes
