"""Opening checkpoints for export: complete ones are read, others refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.falcons import make_falcon
from vacc_gen.generator.backends.onnxruntime.weights import source as module
from vacc_gen.generator.backends.onnxruntime.weights.source import open_checkpoint
from vacc_gen.schema.errors import CheckpointError, VaccGenError

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")

FALCON_TINY = Path(__file__).parents[4] / "data" / "falcon-tiny"


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(FALCON_TINY, tmp_path / "falcon"))


def test_chunks_are_the_tensor(monkeypatch):
    """All rows, in order and bit for bit, whatever the chunk's size."""
    monkeypatch.setattr(module, "CHUNK_BYTES", 5000)
    opened = open_checkpoint(FALCON_TINY)
    for name, entry in opened.tensors.items():
        chunks = [(first, rows.clone()) for first, rows in opened.chunks(name)]
        firsts = [first for first, _ in chunks]
        assert firsts == sorted(firsts)
        assert all(rows.nbytes <= 5000 for _, rows in chunks)
        whole = torch.cat([rows for _, rows in chunks]).view(entry.shape)
        expected = safetensors.load_file(entry.path)[name]
        assert torch.equal(whole.view(torch.int16), expected.view(torch.int16))


def test_either_name_of_a_tied_embedding_will_do(tmp_path):
    make_falcon("7b", tmp_path)
    (tmp_path / "model.safetensors.index.json").unlink(missing_ok=True)
    tensors = {}
    for file in tmp_path.glob("*.safetensors"):
        tensors |= safetensors.load_file(file)
        file.unlink()
    tensors["lm_head.weight"] = tensors.pop("transformer.word_embeddings.weight")
    safetensors.save_file(tensors, tmp_path / "model.safetensors")
    embedding = open_checkpoint(tmp_path).tensors["transformer.word_embeddings.weight"]
    assert embedding.name == "lm_head.weight"


def test_a_stored_head_that_differs_anywhere_from_the_embedding(folder):
    """The inspection compares samples of it, an export all."""
    name, embedding = "lm_head.weight", "transformer.word_embeddings.weight"
    file = folder / "model.safetensors.index.json"
    index = json.loads(file.read_text())
    shard = folder / index["weight_map"][embedding]
    tensors = safetensors.load_file(shard)
    tensors[name] = tensors[embedding].clone()
    index["weight_map"][name] = shard.name
    file.write_text(json.dumps(index))
    safetensors.save_file(tensors, shard)
    open_checkpoint(folder).check_head()
    tensors[name][1, 1] += 1
    safetensors.save_file(tensors, shard)
    with pytest.raises(VaccGenError) as caught:
        open_checkpoint(folder).check_head()
    assert "tie_word_embeddings" in str(getattr(caught.value, "diagnostics", caught.value.hint))


def test_a_file_that_shrinks_meanwhile(folder):
    opened = open_checkpoint(folder)
    name = "transformer.word_embeddings.weight"
    shard = opened.tensors[name].path
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=f"was truncated inside {name}"):
        list(opened.chunks(name))
