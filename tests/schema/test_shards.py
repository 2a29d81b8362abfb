"""The header of a safetensors file: read within the file, or refused."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vacc_gen.schema.errors import CheckpointError
from vacc_gen.schema.shards import COMPARED_BYTES, TensorEntry, have_same_bytes, read_shard


def shard_bytes(header: object, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


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
