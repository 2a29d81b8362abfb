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
from vacc_gen.generator.backends.onnxruntime.graph.kv_cache import CacheScales
from vacc_gen.generator.backends.onnxruntime.perplexity import (
    perplexity_of,
    scoring_graph,
    windows_of,
)
from vacc_gen.generator.backends.onnxruntime.weights.source import open_checkpoint


def scored(checkpoint, tmp_path, dtype, windows, level=4, cache=None):
    out = tmp_path / dtype
    if not out.exists():
        export_graphs(checkpoint, out, dtype=dtype)
    layout = planned_layout(checkpoint, dtype, Quantization())
    work = tmp_path / "work"
    with scoring_graph(checkpoint, layout, out / "weights.bin", level, cache, work) as graph:
        value = perplexity_of(graph, windows, threads=1)
    assert list(work.iterdir()) == []
    return value


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_is_that_of_transformers(variant, tmp_path):
    oracle = make_falcon(variant, tmp_path / "checkpoint")
    checkpoint = open_checkpoint(tmp_path / "checkpoint")
    ids = torch.randint(VOCABULARY, (300,), generator=torch.Generator().manual_seed(5)).tolist()
    windows = windows_of(ids)
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
    assert windows_of(ids).shape == (7, 128)
    assert windows_of(ids, 3).tolist() == np.arange(384).reshape(3, 128).tolist()
    assert windows_of(ids[:100]).shape == (0, 128)


def test_int8_activations_and_an_int8_cache_are_felt(tmp_path):
    checkpoint = open_checkpoint(FALCON_TINY)
    windows = windows_of([i * 7 % 2048 for i in range(256)])
    plain = scored(checkpoint, tmp_path, "int8", windows, level=0)
    assert scored(checkpoint, tmp_path, "int8", windows, level=4) != plain
    layers = checkpoint.architecture.geometry.layers
    coarse = CacheScales(*(np.full((layers, 1), 1.0, np.float32) for _ in range(2)))
    assert scored(checkpoint, tmp_path, "int8", windows, level=0, cache=coarse) != plain
