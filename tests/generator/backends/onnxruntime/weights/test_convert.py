"""Pickled weights become safetensors of the same bytes, and nothing in them is run."""

import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.workspaces import FALCON_TINY
from vacc_gen.generator.backends.onnxruntime.weights.convert import convert
from vacc_gen.generator.progress import Progress
from vacc_gen.schema.errors import CheckpointError, UsageError
from vacc_gen.schema.falcon import EMBEDDING, HEAD
from vacc_gen.schema.lint.check import check_paths


def pickled(folder, files=1, **options):
    """Write falcon-tiny's weights as pickles, with its tied head, and return them."""
    tensors = {}
    for shard in sorted(FALCON_TINY.glob("*.safetensors")):
        tensors |= load_file(shard)
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(FALCON_TINY / name, folder / name)
    stored = {**tensors, HEAD: tensors[EMBEDDING]} if files == 1 else tensors
    names = sorted(stored)
    for number in range(files):
        part = {name: stored[name] for name in names[number::files]}
        torch.save(part, folder / f"pytorch_model-{number}.bin", **options)
    return tensors


@pytest.mark.parametrize(
    ("files", "options"),
    [(1, {}), (3, {}), (1, {"_use_new_zipfile_serialization": False})],
    ids=["one", "three", "as before torch 1.6"],
)
def test_a_converted_folder_is_a_sound_checkpoint(tmp_path, files, options):
    tensors = pickled(tmp_path / "in", files, **options)
    (tmp_path / "in" / "training_args.bin").write_bytes(b"no tensors")
    (tmp_path / "in" / "modeling.py").write_text("code")
    (before,) = check_paths([str(tmp_path / "in")]).diagnostics
    assert "vacc-gen convert" in (before.hint or "")
    (made,) = convert(tmp_path / "in", tmp_path / "out", Progress())
    assert check_paths([str(tmp_path / "out")]).diagnostics == []
    found = load_file(made)
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert not (tmp_path / "out" / "modeling.py").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}


class Code:
    def __reduce__(self):
        return Path.touch, (Path("was-run"),)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda path: torch.save({"a": Code()}, path), r"it holds \S+, not tensors alone"),
        (lambda path: path.write_bytes(pickle.dumps(Code())), "0.bin was not converted: it is dam"),
        (lambda path: torch.save({"state_dict": {"a": 1}}, path), "does not map names to tensors"),
        (lambda path: torch.save([torch.zeros(2)], path), "does not map names to tensors"),
        (lambda path: torch.save({1: torch.zeros(2)}, path), "does not map names to tensors"),
        (lambda path: torch.save({"a": torch.eye(3).to_sparse()}, path), "in was not converted: "),
        (lambda path: path.write_bytes(b"PK\x03\x04 and no more"), "was not converted"),
        (lambda path: path.write_bytes(b""), "was not converted"),
        (lambda path: shutil.copyfile(path, path.with_name("pytorch_model.bin")), "holds lm_head"),
        (lambda path: path.rename(path.with_suffix(".gone")), "holds no pickled weights"),
    ],
)
def test_what_is_more_than_tensors_is_refused_unread(tmp_path, monkeypatch, content, words):
    monkeypatch.chdir(tmp_path)
    pickled(tmp_path / "in")
    content(tmp_path / "in" / "pytorch_model-0.bin")
    with pytest.raises(CheckpointError, match=words):
        convert(tmp_path / "in", tmp_path / "out", Progress())
    assert {path.name for path in tmp_path.iterdir()} == {"in"}


def test_a_folder_in_use_and_a_pipe_are_left_alone(tmp_path):
    pickled(tmp_path / "in")
    with pytest.raises(UsageError, match="is not an empty folder"):
        convert(tmp_path / "in", tmp_path / "in", Progress())
    os.mkfifo(tmp_path / "model.pt")
    with pytest.raises(OSError, match=r"not a regular file.*model\.pt"):
        convert(tmp_path, tmp_path / "out", Progress())
