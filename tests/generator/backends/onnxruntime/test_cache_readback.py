"""An int8 KV cache read back from the ONNX files, and every way to differ from what was meant."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.workspaces import FALCON_TINY

pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from vacc_gen.generator.backends.onnxruntime.cache_readback import read_back_cache
from vacc_gen.generator.backends.onnxruntime.export import Lengths, export_graphs
from vacc_gen.generator.backends.onnxruntime.graph.kv_cache import read_kv_cache
from vacc_gen.generator.backends.onnxruntime.graph.kv_calibration import cut_windows
from vacc_gen.generator.backends.onnxruntime.weights.source import open_checkpoint

GRAPHS = ("prefill.onnx", "decode.onnx")
LAYERS = 4


@pytest.fixture
def folder(tmp_path):
    """falcon-tiny with an int8 cache."""
    export_graphs(
        open_checkpoint(FALCON_TINY),
        tmp_path / "out",
        dtype="fp16",
        lengths=Lengths(16, 32),
        cache_windows=cut_windows(np.arange(64), 16, "numbers"),
    )
    return tmp_path / "out"


def edit(folder, graph, change):
    model = onnx.load(folder / graph, load_external_data=False)
    change(model.graph)
    (folder / graph).write_bytes(model.SerializeToString())


def constant(graph, name):
    return next(tensor for tensor in graph.initializer if tensor.name == name)


def test_what_was_written_is_what_was_meant(folder):
    found = read_back_cache(folder, GRAPHS, read_kv_cache(folder))
    assert found.problems == []
    assert found.figures() == {
        "caches": 3 * 2 * LAYERS,  # presents of both, pasts of decode
        "scales": 2 * 2 * 2 * LAYERS,  # one KV head; written and read, by both
        "left_in_float": 0,
        "problems": [],
    }


def test_another_scale(folder):
    meant = read_kv_cache(folder)
    keys = meant.keys.copy()
    keys[2] *= 1.001
    assert read_back_cache(folder, GRAPHS, replace(meant, keys=keys)).problems == [
        f"{graph}: present.2.key has other scales than were calibrated"
        for graph in GRAPHS
        for _ in ("written", "read")
    ]


def test_a_zero_point_that_is_not_zero(folder):
    def change(graph):
        zeros = constant(graph, "kv_cache.zero_points")
        zeros.CopyFrom(onnx.numpy_helper.from_array(np.int8([3]), zeros.name))

    edit(folder, "decode.onnx", change)
    found = read_back_cache(folder, GRAPHS, read_kv_cache(folder))
    assert len(found.problems) == 2 * 2 * LAYERS
    assert all(problem.startswith("decode.onnx: present.") for problem in found.problems)


def test_a_cache_that_stayed_in_floats(folder):
    def change(graph):
        past = next(value for value in graph.input if value.name == "past_key_values.1.value")
        past.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
        node = next(n for n in graph.node if n.op_type == "QuantizeLinear")
        node.op_type = "Cast"

    edit(folder, "decode.onnx", change)
    found = read_back_cache(folder, GRAPHS, read_kv_cache(folder))
    assert found.left_in_float == 1
    assert found.problems == [
        "decode.onnx: past_key_values.1.value is float16, not int8",
        "decode.onnx: present.0.key has no scales",
    ]
