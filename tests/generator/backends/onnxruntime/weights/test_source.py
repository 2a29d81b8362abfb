"""Opening checkpoints for export: complete ones are read, others refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.falcons import make_falcon
from vacc_gen.generator.backends.onnxruntime.weights import source as module
from vacc_gen.generator.backends.onnxruntime.weights.source import open_checkpoint
from vacc_gen.schema.errors import CheckpointError

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
        assert torch.equal(opened.read(name), expected)


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


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "llama"}, "'llama', not a Falcon's"),
        ({"num_hidden_layers": 5}, r"lacks 6 of the 33 .*h\.4\.input_layernorm"),
        ({"num_hidden_layers": 10**9}, "asks for 1000000000 layers, the shards hold 27 tensors"),
        ({"vocab_size": 2000}, r"\[2048, 224\], config.json asks for \[2000, 224\]"),
    ],
    ids=["architecture", "tensor", "layers", "shape"],
)
def test_a_config_of_other_weights(folder, changes, words):
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    with pytest.raises(CheckpointError, match=words):
        open_checkpoint(folder)


@pytest.mark.parametrize(("dtype", "stored"), [("int8", "I8"), ("int64", "I64")])
def test_a_quantized_copy_is_refused(folder, dtype, stored):
    name = "transformer.h.0.mlp.dense_h_to_4h.weight"
    index = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    tensors = safetensors.load_file(folder / index[name])
    tensors[name] = tensors[name].to(getattr(torch, dtype))
    safetensors.save_file(tensors, folder / index[name])
    with pytest.raises(CheckpointError, match=f"{name} is stored as {stored}; supported: BF16"):
        open_checkpoint(folder)


def test_a_file_that_shrinks_meanwhile(folder):
    opened = open_checkpoint(folder)
    name = "transformer.word_embeddings.weight"
    shard = opened.tensors[name].path
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=f"was truncated inside {name}"):
        list(opened.chunks(name))
