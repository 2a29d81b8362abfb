"""How sessions hold their weights: mapped, packed, or cast as they are used."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from packaging.version import Version

pytest.importorskip("onnxruntime")
from vacc_gen.generator.backends.onnxruntime import session as module
from vacc_gen.generator.backends.onnxruntime.export import Lengths, export_graphs
from vacc_gen.generator.backends.onnxruntime.runtime import OnnxRuntimeModel
from vacc_gen.generator.backends.onnxruntime.weights.source import open_checkpoint

FALCON_TINY = Path(__file__).parents[3] / "data" / "falcon-tiny"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Folders of the trained checkpoint by dtype."""
    folder = tmp_path_factory.mktemp("compiled")
    for dtype in ("fp16", "int8"):
        export_graphs(
            open_checkpoint(FALCON_TINY), folder / dtype, dtype=dtype, lengths=Lengths(32, 48)
        )
    return folder


def test_frugal_sessions_compute_the_same(compiled, monkeypatch):
    """Only where fp32 copies would not fit are weights cast as they are used."""
    prompt, rows = list(range(100, 120)), {}
    for available in (1 << 40, 1 << 20):
        monkeypatch.setattr(module, "available_bytes", lambda available=available: available)
        model = OnnxRuntimeModel(compiled / "fp16")
        rows[available] = [model.prefill(prompt), *(model.decode(token) for token in range(20, 30))]
    plenty, little = (np.stack(logits) for logits in rows.values())
    np.testing.assert_allclose(little, plenty, atol=0.02)
    np.testing.assert_array_equal(little.argmax(-1), plenty.argmax(-1))


ANONYMOUS_GROWTH = """
import re, sys
from pathlib import Path
from vacc_gen.generator.backends.onnxruntime import session
from vacc_gen.generator.backends.onnxruntime.runtime import OnnxRuntimeModel

def anonymous_bytes():
    return int(re.search(r"RssAnon:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

session.available_bytes = lambda: int(sys.argv[2])
import numpy, onnxruntime
before = anonymous_bytes()
model = OnnxRuntimeModel(Path(sys.argv[1]), threads=1, one_session=sys.argv[3] == "one")
model.prefill([1, 2, 3])
after_prefill = anonymous_bytes()
model.decode(4)
print(max(after_prefill, anonymous_bytes()) - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
@pytest.mark.skipif(
    Version(version("onnxruntime")) < Version("1.24"), reason="older runtimes copy more"
)
def test_what_sessions_copy(tmp_path):
    """fp16 copies everything in fp32 twice, unless it must be frugal or has but one session at a
    time; fp32 copies nothing."""
    from tests.falcons import make_falcon

    shape = {"hidden_size": 640, "num_hidden_layers": 4, "vocab_size": 512}
    make_falcon("7b", tmp_path / "checkpoint", "float16", **shape)
    checkpoint = open_checkpoint(tmp_path / "checkpoint")

    def growth(dtype, available_bytes, sessions):
        """What a model's sessions take, in sizes of its weights."""
        folder = tmp_path / dtype
        if not folder.exists():
            export_graphs(checkpoint, folder, dtype=dtype, lengths=Lengths(16, 32))
        command = [sys.executable, "-c", ANONYMOUS_GROWTH, folder, str(available_bytes), sessions]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return int(done.stdout) / (folder / "weights.bin").stat().st_size

    plenty, little = 1 << 40, 1
    assert growth("fp16", plenty, "both") > 3
    assert 1.5 < growth("fp16", plenty, "one") < 2.6
    assert growth("fp16", little, "both") < 1
    assert growth("fp32", plenty, "both") < 0.5
