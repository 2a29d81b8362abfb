"""How sessions hold their weights: mapped, packed, or cast as they are used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
from vacc_gen.generator.backends.onnxruntime import session as module
from vacc_gen.generator.backends.onnxruntime.export import Deployment, export_graphs
from vacc_gen.generator.backends.onnxruntime.runtime import OnnxRuntimeModel
from vacc_gen.generator.backends.onnxruntime.weights.source import open_checkpoint

FALCON_TINY = Path(__file__).parents[3] / "data" / "falcon-tiny"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Folders of the trained checkpoint by dtype."""
    folder = tmp_path_factory.mktemp("compiled")
    for dtype in ("fp16", "int8"):
        export_graphs(
            open_checkpoint(FALCON_TINY), folder / dtype, dtype=dtype, lengths=Deployment(48)
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


@pytest.mark.parametrize(
    ("flags", "inexact"),
    [
        ("flags\t\t: fpu avx2 avx512f", True),
        ("flags : avx2 avx_vnni", False),
        ("Features : asimd", False),
    ],
)
def test_processors_that_cut_sums_off_are_known_by_their_flags(monkeypatch, flags, inexact):
    monkeypatch.setattr(Path, "read_text", lambda _: f"processor : 0\n{flags}\n")
    assert module.cuts_sums_off() is inexact
