"""Checkpoints opened for export. How their values are read is tested by what is exported."""

import pytest

from tests.weight_folders import (
    SINGLE,
    SOUND,
    open_checkpoint,
    read_tensors,
    write_falcon,
    write_tensors,
)
from vacc_gen.schema.errors import CheckpointError
from vacc_gen.schema.falcon import EMBEDDING, HEAD


def test_either_name_of_a_tied_embedding_will_do(tmp_path):
    SOUND["head-alone"](tmp_path / "falcon")
    assert open_checkpoint(tmp_path / "falcon").tensors[EMBEDDING].name == HEAD


def test_a_stored_head_that_differs_anywhere_from_the_embedding(tmp_path):
    """The inspection compares samples of it, an export all."""
    file = write_falcon(tmp_path) / SINGLE
    tensors = read_tensors(file)
    dtype, shape, data = tensors[EMBEDDING]
    write_tensors(file, {**tensors, HEAD: (dtype, shape, data)})
    opened = open_checkpoint(tmp_path)
    opened.check_head()
    write_tensors(file, {**tensors, HEAD: (dtype, shape, data[:-1] + b"\x3f")})
    with pytest.raises(CheckpointError, match="differs from the embedding") as caught:
        opened.check_head()
    assert "tie_word_embeddings" in caught.value.hint


def test_a_file_that_shrinks_meanwhile(tmp_path):
    file = write_falcon(tmp_path) / SINGLE
    opened = open_checkpoint(tmp_path)
    file.write_bytes(file.read_bytes()[:-1])
    last = max(opened.tensors.values(), key=lambda tensor: tensor.offset_bytes).name
    with pytest.raises(CheckpointError, match=f"was truncated inside {last}"):
        list(opened.chunks(last))
