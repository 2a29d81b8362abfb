"""The weight folder as prepare.sh leaves it, loaded by transformers; export.py run on it."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests.static_graphs import static_logits
from tests.workspaces import FALCON_TINY, recipe_text
from vacc_gen.generator.workspace import create

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

PREFILL, TOTAL = 16, 32


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
    logits = static_logits(exported, ids, PREFILL)
    np.testing.assert_allclose(logits, expected[PREFILL - 1 :], atol=1e-3)
