"""Perplexity on windows of text: against transformers, for every kind of weights."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.falcons import VARIANTS, VOCABULARY, make_falcon
from tests.workspaces import FALCON_TINY
from vacc_gen.schema.precision import Quantization

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
from vacc_gen.generator.backends.onnxruntime.export import export_graphs, planned_layout
from vacc_gen.generator.backends.onnxruntime.perplexity import (
    cut_windows,
    negative_log_likelihood,
    score_weights,
)
from vacc_gen.generator.backends.onnxruntime.weights.source import open_checkpoint


def scored(checkpoint, tmp_path, dtype, windows, level=4):
    out, work = tmp_path / dtype, tmp_path / "work"
    if not out.exists():
        export_graphs(checkpoint, out, dtype=dtype)
    layout = planned_layout(checkpoint, dtype, Quantization())
    value = score_weights(
        checkpoint, layout, out / "weights.bin", windows,
        accuracy_level=level, work_dir=work, threads=1,
    )  # fmt: skip
    assert list(work.iterdir()) == []
    return value


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_is_that_of_transformers(variant, tmp_path):
    oracle = make_falcon(variant, tmp_path / "checkpoint")
    checkpoint = open_checkpoint(tmp_path / "checkpoint")
    ids = torch.randint(VOCABULARY, (300,), generator=torch.Generator().manual_seed(5)).tolist()
    windows = cut_windows(ids)
    assert windows.shape == (2, 128)
    with torch.no_grad():
        losses = [
            oracle(torch.from_numpy(w)[None], labels=torch.from_numpy(w)[None]).loss
            for w in windows
        ]
    wanted = math.exp(float(sum(losses)) / len(losses))
    assert scored(checkpoint, tmp_path, "fp32", windows) == pytest.approx(wanted, rel=1e-5)


def test_windows_are_whole_and_as_many_as_asked():
    ids = list(range(1000))
    assert cut_windows(ids).shape == (7, 128)
    assert cut_windows(ids, 3).tolist() == np.arange(384).reshape(3, 128).tolist()
    assert cut_windows(ids[:100]).shape == (0, 128)


def test_int8_activations_are_felt(tmp_path):
    checkpoint = open_checkpoint(FALCON_TINY)
    windows = cut_windows([i * 7 % 2048 for i in range(256)])
    exact = scored(checkpoint, tmp_path, "int8", windows, level=0)
    assert scored(checkpoint, tmp_path, "int8", windows, level=4) != exact


def test_likelihood_of_a_fair_coin_and_of_large_logits():
    rows = np.array([[5.0, 5.0, -1e9], [0.0, 0.0, -1e9]], np.float32)
    assert negative_log_likelihood(rows, np.array([0, 1])) == pytest.approx(2 * math.log(2))
    assert negative_log_likelihood(np.array([[6e4, 0.0]]), np.array([0])) == pytest.approx(0)
