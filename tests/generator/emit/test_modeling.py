"""The weight folder as prepare.sh leaves it, loaded by transformers; export.py run on it."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests.workspaces import FALCON_TINY
from vacc_gen.generator.workspace.workspace import create

onnxruntime = pytest.importorskip("onnxruntime")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

PREFILL, TOTAL = 16, 32


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("modeling")
    shutil.copytree(FALCON_TINY, folder / "weights")
    model = {"preset": "falcon-tiny", "checkpoint": "../weights"}
    target = {"prefill": PREFILL, "total": TOTAL, "tp": 1}
    return create(folder / "w", json.dumps({"version": 2, "model": model, "target": target}))


def export(workspace, out, *arguments):
    return subprocess.run(
        [sys.executable, workspace.root / "scripts/export.py", "--checkpoint",
         workspace.checkpoint_path, "--out", out, *arguments],
        env={**os.environ, "PYTHONPATH": "", "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
    )  # fmt: skip


def test_exported_graphs_agree_with_transformers(workspace, tmp_path):
    """Prefill on PREFILL tokens, then a decode step whose past is padded from the left."""
    exported = tmp_path / "graphs"
    done = export(workspace, exported, "--prefill", str(PREFILL), "--total", str(TOTAL))
    assert done.returncode == 0, done.stderr
    reference = transformers.FalconForCausalLM.from_pretrained(
        FALCON_TINY, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    files = {path.name: path.stat().st_size for path in exported.iterdir()}
    assert set(files) == {"prefill.onnx", "decode.onnx", "weights.bin"}
    stored = sum(path.stat().st_size for path in FALCON_TINY.glob("*.safetensors"))  # bf16
    assert files["weights.bin"] < 2.1 * stored  # once, in fp32
    ids = (np.arange(PREFILL + 1, dtype=np.int64)[None] * 37) % 2000 + 5
    with torch.no_grad():
        expected = reference(torch.from_numpy(ids)).logits.numpy()
    prefill, decode = (
        onnxruntime.InferenceSession(exported / f"{name}.onnx", providers=["CPUExecutionProvider"])
        for name in ("prefill", "decode")
    )
    logits, *cache = prefill.run(
        None,
        {
            "input_ids": ids[:, :PREFILL],
            "attention_mask": np.ones((1, PREFILL), np.int64),
            "position_ids": np.arange(PREFILL, dtype=np.int64)[None],
        },
    )
    assert logits.shape == (1, 1, 2048)
    np.testing.assert_allclose(logits[:, 0], expected[:, PREFILL - 1], atol=1e-3)

    padding = TOTAL - 1 - PREFILL
    names = [given.name for given in decode.get_inputs() if given.name.startswith("past")]
    past = {
        name: np.pad(tensor, ((0, 0), (0, 0), (padding, 0), (0, 0)))
        for name, tensor in zip(names, cache, strict=True)
    }
    mask = np.ones((1, TOTAL), np.int64)
    mask[:, :padding] = 0
    logits, *present = decode.run(
        None,
        {
            "input_ids": ids[:, PREFILL:],
            "attention_mask": mask,
            "position_ids": np.array([[PREFILL]], np.int64),
            **past,
        },
    )
    np.testing.assert_allclose(logits[:, 0], expected[:, PREFILL], atol=1e-3)
    assert {tensor.shape for tensor in present} == {(1, 1, TOTAL, 32)}


def test_export_refuses_the_impossible(workspace, tmp_path):
    done = export(workspace, tmp_path / "out", "--prefill", "64", "--total", "32")
    assert done.returncode == 2
    assert "--prefill must be" in done.stderr
    assert not (tmp_path / "out").exists()
