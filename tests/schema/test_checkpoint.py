"""Reading weight folders: what is there, and every way in which one can be unusable."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from vacc_gen.schema.checkpoint import INDEX_FILE, name_of, read_weight_folder
from vacc_gen.schema.errors import CheckpointError
from vacc_gen.schema.shards import read_shard

FALCON_TINY = Path(__file__).parents[1] / "data" / "falcon-tiny"
SHARD = "model-00002-of-00003.safetensors"


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(FALCON_TINY, tmp_path / "falcon"))


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
        (".", ""),
        ("hub/models--tiiuae--falcon-7b/refs/main", "main"),
        (r"C:\hub\models--tiiuae--falcon-7b\snapshots\0123", "falcon-7b"),
    ],
)
def test_a_snapshot_is_called_by_its_repository(path, name):
    assert name_of(path) == name
    assert name_of(Path(path)) == name
