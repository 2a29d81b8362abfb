"""The weight folder as prepare.sh leaves it, loaded by transformers; export.py run on it."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests.workspaces import FALCON_TINY, recipe_text
from vacc_gen.generator.workspace import create

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

PREFILL, TOTAL = 16, 32


def static_logits(folder, ids):
    """Logits (N, V) after a prompt that fills prefill.onnx, and after each token behind it."""
    onnxruntime = pytest.importorskip("onnxruntime")
    prefill, decode = (
        onnxruntime.InferenceSession(folder / f"{name}.onnx") for name in ("prefill", "decode")
    )
    mask, positions = np.ones((1, PREFILL), np.int64), np.arange(PREFILL)[None]
    feeds = {"input_ids": np.array([ids[:PREFILL]]), "attention_mask": mask}
    logits, *presents = prefill.run(None, {**feeds, "position_ids": positions})
    rows, caches = [logits[0, 0]], {}
    names = [value.name for value in decode.get_inputs() if value.name.startswith("past_")]
    for name, present in zip(names, presents, strict=True):
        caches[name] = np.pad(present, ((0, 0), (0, 0), (0, TOTAL - 1 - PREFILL), (0, 0)))
    for position in range(PREFILL, TOTAL):
        mask = np.arange(TOTAL)[None] % (TOTAL - 1) < position  # the new token is the last
        feeds = {"input_ids": np.array([[ids[position]]]), "attention_mask": mask.astype(np.int64)}
        logits, *presents = decode.run(
            None, {**feeds, "position_ids": np.array([[position]]), **caches}
        )
        rows.append(logits[0, 0])
        for name, present in zip(names, presents, strict=True):
            caches[name][:, :, position : position + 1] = present[:, :, -1:]
    return np.array(rows)


def test_exported_graphs_agree_with_transformers(tmp_path):
    shutil.copytree(FALCON_TINY, tmp_path / "weights")
    workspace = create(tmp_path / "w", recipe_text("falcon-tiny", "../weights"))
    exported = tmp_path / "graphs"
    done = subprocess.run(
        [sys.executable, workspace.root / "scripts/export.py", "--checkpoint", tmp_path / "weights",
         "--out", exported, "--prefill", str(PREFILL), "--total", str(TOTAL)],
        env={**os.environ, "PYTHONPATH": "", "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    files = {path.name: path.stat().st_size for path in exported.iterdir()}
    assert set(files) == {"prefill.onnx", "decode.onnx", "weights.bin"}
    stored = sum(path.stat().st_size for path in FALCON_TINY.glob("*.safetensors"))  # bf16
    assert files["weights.bin"] < 2.1 * stored  # once, in fp32
    reference = transformers.FalconForCausalLM.from_pretrained(FALCON_TINY, dtype=torch.float32)
    ids = [37 * index % 2000 + 5 for index in range(TOTAL)]
    with torch.no_grad():
        expected = reference(torch.tensor([ids])).logits[0].numpy()
    logits = static_logits(exported, ids)
    np.testing.assert_allclose(logits, expected[PREFILL - 1 :], atol=1e-3)
