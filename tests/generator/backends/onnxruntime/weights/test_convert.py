"""Pickled weights become safetensors of the same bytes, and nothing in them is run."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.workspaces import FALCON_TINY
from vacc_gen.generator.backends.onnxruntime.weights.convert import convert
from vacc_gen.generator.progress import SilentProgress
from vacc_gen.schema.errors import CheckpointError, UsageError
from vacc_gen.schema.lint.check import check_paths


def pickled(folder: Path, shards: int, **options: Any) -> dict[str, torch.Tensor]:
    """Write falcon-tiny's weights as pickles, and return them."""
    tensors: dict[str, torch.Tensor] = {}
    for shard in sorted(FALCON_TINY.glob("*.safetensors")):
        tensors |= load_file(shard)
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(FALCON_TINY / name, folder / name)
    names = sorted(tensors)
    for number in range(shards):
        part = {name: tensors[name] for name in names[number::shards]}
        suffix = "" if shards == 1 else f"-{number + 1:05}-of-{shards:05}"
        torch.save(part, folder / f"pytorch_model{suffix}.bin", **options)
    return tensors


@pytest.mark.parametrize(
    ("shards", "options"),
    [(1, {}), (3, {}), (1, {"_use_new_zipfile_serialization": False})],
    ids=["one", "three", "as before torch 1.6"],
)
def test_a_converted_folder_is_a_sound_checkpoint(
    tmp_path: Path, shards: int, options: dict[str, Any]
) -> None:
    tensors = pickled(tmp_path / "in", shards, **options)
    (tmp_path / "in" / "training_args.bin").write_bytes(b"no tensors")
    (tmp_path / "in" / "modeling.py").write_text("code")
    (before,) = check_paths([str(tmp_path / "in")]).diagnostics
    assert "vacc-gen convert" in (before.hint or "")
    made = convert(tmp_path / "in", tmp_path / "out", SilentProgress())
    assert len(made) == shards
    assert check_paths([str(tmp_path / "out")]).diagnostics == []
    found = {name: tensor for path in made for name, tensor in load_file(path).items()}
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert not (tmp_path / "out" / "modeling.py").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}


class Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("was-run"),)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda path: torch.save({"a": Code()}, path), r"it holds \S+, not tensors alone"),
        (lambda path: path.write_bytes(pickle.dumps(Code())), "was not converted"),
        (lambda path: torch.save({"state_dict": {"a": 1}}, path), "plain tensors: at 'state_dict'"),
        (lambda path: torch.save({"a": torch.eye(3).to_sparse()}, path), "plain tensors: at 'a'"),
        (lambda path: torch.save({"a": torch.zeros(2, device="meta")}, path), "plain tensors"),
        (lambda path: torch.save({"__metadata__": torch.zeros(2)}, path), "plain tensors"),
        (lambda path: torch.save({"a\ud800": torch.zeros(2)}, path), "plain tensors"),
        (lambda path: torch.save([torch.zeros(2)], path), "does not map names to tensors"),
        (lambda path: path.write_bytes(b"PK\x03\x04 and no more"), "was not converted"),
        (lambda path: path.write_bytes(b""), "was not converted"),
        (lambda path: torch.save({"a": torch.zeros(2, dtype=torch.complex64)}, path), "no dtype"),
        (lambda path: path.rename(path.with_suffix(".gone")), "holds no pickled weights"),
    ],
)
def test_what_is_more_than_tensors_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: Any, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    pickled(tmp_path / "in", 1)
    content(tmp_path / "in" / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=words):
        convert(tmp_path / "in", tmp_path / "out", SilentProgress())
    assert {path.name for path in tmp_path.iterdir()} == {"in"}


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    pickled(tmp_path / "in", 1)
    with pytest.raises(UsageError, match="is not an empty folder"):
        convert(tmp_path / "in", tmp_path / "in", SilentProgress())


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.pt")
    with pytest.raises(OSError, match=r"not a regular file.*model\.pt"):
        convert(tmp_path, tmp_path / "out", SilentProgress())
