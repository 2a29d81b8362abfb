"""Reading weight folders: what is there, and what tells one from another."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.weight_folders import edit_json
from vacc_gen.schema.checkpoint import name_of
from vacc_gen.schema.lint.check import open_weights
from vacc_gen.schema.shards import read_shard

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


def test_the_index_is_not_needed(tmp_path):
    folder = Path(shutil.copytree(FALCON_TINY, tmp_path / "falcon"))
    index = folder / "model.safetensors.index.json"
    named = json.loads(index.read_text())["weight_map"]
    index.unlink()
    assert set(open_weights(folder)[0].tensors) == set(named)


def test_the_fingerprint_tells_values_and_config_apart(tmp_path):
    folder = Path(shutil.copytree(FALCON_TINY, tmp_path / "falcon"))
    original = open_weights(FALCON_TINY)[0].fingerprint()
    assert open_weights(folder)[0].fingerprint() == original
    edit_json(folder / "config.json", rope_theta=5.0)
    changed_config = open_weights(folder)[0].fingerprint()
    content = bytearray((folder / SHARD).read_bytes())
    entry = next(e for e in read_shard(folder / SHARD).values())
    content[entry.offset_bytes + entry.length_bytes // 2] ^= 1
    (folder / SHARD).write_bytes(content)
    assert len({original, changed_config, open_weights(folder)[0].fingerprint()}) == 3


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
    assert name_of(path) == name
    assert name_of(Path(path)) == name
