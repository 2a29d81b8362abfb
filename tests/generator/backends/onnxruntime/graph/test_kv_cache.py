"""Int8 KV caches: their scales are those of real keys and values, and graphs attend to the codes.

Legend: S tokens fed, KV heads of the cache, G query heads a KV head, D head size.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.falcons import VARIANTS, VOCABULARY, make_falcon
from vacc_gen.generator.backends.onnxruntime.export import Lengths, export_graphs
from vacc_gen.generator.backends.onnxruntime.graph.kv_cache import MAX_CODE, scales_of
from vacc_gen.generator.backends.onnxruntime.graph.kv_calibration import MAX_TOKENS, cut_windows
from vacc_gen.generator.backends.onnxruntime.model import KV_CACHE_FILE, OnnxRuntimeModel
from vacc_gen.generator.backends.onnxruntime.weights.source import Checkpoint, open_checkpoint
from vacc_gen.schema.errors import StageError

LENGTHS = Lengths(prefill=16, total=32)
PROMPT = 8
FLIPPED_CODES = 5e-3
"""On logits of unit size: what a value between two codes does that is rounded the other way."""


def texts(count: int, length: int, seed: int) -> Any:
    return np.random.default_rng(seed).integers(3, VOCABULARY, (count, length))


@pytest.fixture(scope="module", params=list(VARIANTS))
def falcon(request, tmp_path_factory):
    """(checkpoint, transformers' model, folder of an fp32 export and of one with int8 cache)."""
    folder = tmp_path_factory.mktemp(request.param)
    oracle = make_falcon(request.param, folder / "checkpoint")
    checkpoint = open_checkpoint(folder / "checkpoint")
    export_graphs(checkpoint, folder / "plain", dtype="fp32", lengths=LENGTHS)
    windows = cut_windows(texts(6, 16, seed=1), LENGTHS.prefill, "random tokens")
    export_graphs(checkpoint, folder / "kv8", dtype="fp32", lengths=LENGTHS, cache_windows=windows)
    return checkpoint, oracle, folder


def caching(oracle: Any, ids: Any, change: Any = lambda kind, layer, value: value) -> Any:
    """The oracle's logits for `ids`, and its keys and values as `change` left them."""
    import torch
    from transformers import DynamicCache

    kept: dict[tuple[int, str], Any] = {}

    class Changed(DynamicCache):
        def update(self, key, value, layer, *args, **kwargs):
            key, value = change("key", layer, key), change("value", layer, value)
            kept[layer, "key"], kept[layer, "value"] = key.numpy(), value.numpy()
            return super().update(key, value, layer, *args, **kwargs)

    with torch.no_grad():
        output = oracle(input_ids=torch.from_numpy(ids), past_key_values=Changed(), use_cache=True)
    return output.logits.numpy(), kept


def stored_scales(folder: Path) -> list[dict[str, list[float]]]:
    scales: list[dict[str, list[float]]] = json.loads((folder / KV_CACHE_FILE).read_text())[
        "scales"
    ]
    return scales


def each_head(checkpoint: Checkpoint, array: Any) -> Any:
    """One of the G copies that transformers makes of each head of the cache in 40b."""
    heads = checkpoint.architecture.geometry.kv_heads
    return array[:, :: array.shape[1] // heads]


def test_scales_are_the_largest_keys_and_values(falcon):
    checkpoint, oracle, folder = falcon
    _, kept = caching(oracle, texts(6, 16, seed=1))
    scales = stored_scales(folder / "kv8")
    assert len(scales) == checkpoint.architecture.geometry.layers
    for layer, by_kind in enumerate(scales):
        for kind, of_heads in by_kind.items():
            largest = np.abs(each_head(checkpoint, kept[layer, kind])).max((0, 2, 3))
            np.testing.assert_allclose(np.array(of_heads) * MAX_CODE, largest, rtol=1e-4)


def test_the_cache_holds_the_codes_of_what_it_is_told(falcon):
    """Of the first layer, whose keys and values no quantized cache has touched yet."""
    checkpoint, oracle, folder = falcon
    ids = texts(1, LENGTHS.prefill, seed=1)  # the first of the windows: nothing saturates
    session = onnxruntime.InferenceSession(folder / "kv8" / "prefill.onnx")
    feeds = {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "position_ids": np.arange(LENGTHS.prefill)[None],
    }
    _, kept = caching(oracle, ids)
    for kind in ("key", "value"):
        (codes,) = session.run([f"present.0.{kind}"], feeds)
        assert codes.dtype == np.int8
        scales = np.array(stored_scales(folder / "kv8")[0][kind])[:, None, None]
        exact = each_head(checkpoint, kept[0, kind]) / scales
        assert np.abs(codes - exact).max() < 0.501
        assert np.abs(codes).max() > 64


def test_graphs_attend_to_the_codes(falcon):
    """Prefill and each step are transformers' on a cache of rounded keys and values."""
    _, oracle, folder = falcon
    scales = stored_scales(folder / "kv8")

    def rounded(kind, layer, value):
        import torch

        of_heads = torch.tensor(scales[layer][kind])
        of_heads = of_heads.repeat_interleave(value.shape[1] // len(of_heads))[:, None, None]
        return (value / of_heads).round().clamp(-128, 127) * of_heads

    text = texts(1, LENGTHS.total, seed=7)
    expected = caching(oracle, text, rounded)[0][0]
    exact = caching(oracle, text)[0][0]
    plain, kv8 = (OnnxRuntimeModel(folder / name, threads=1) for name in ("plain", "kv8"))
    errors, costs = [], []
    for position in range(PROMPT - 1, LENGTHS.total):
        if position == PROMPT - 1:
            logits, unquantized = (m.prefill(text[0, :PROMPT].tolist()) for m in (kv8, plain))
        else:
            logits, unquantized = (m.decode(int(text[0, position])) for m in (kv8, plain))
        np.testing.assert_allclose(unquantized, exact[position], atol=1e-4)
        errors.append(np.abs(logits - expected[position]).max())
        costs.append(np.abs(logits - exact[position]).max())
    assert max(errors) < FLIPPED_CODES
    assert np.median(errors) < np.median(costs) / 20, "these are not the logits of a rounded cache"


def test_a_text_is_the_same_however_it_is_cut(falcon):
    _, _, folder = falcon
    model = OnnxRuntimeModel(folder / "kv8", threads=1)
    text = texts(1, LENGTHS.prefill, seed=3)[0].tolist()
    whole = model.prefill(text)
    model.prefill(text[:3])
    for token in text[3:]:
        logits = model.decode(token)
    np.testing.assert_allclose(logits, whole, atol=FLIPPED_CODES)


def test_the_cache_is_int8_and_all_else_stays(falcon):
    """Past and present are int8 of a quarter of the fp32 bytes; weights are the very same."""
    checkpoint, _, folder = falcon
    plain, kv8 = folder / "plain", folder / "kv8"
    assert (plain / "weights.bin").read_bytes() == (kv8 / "weights.bin").read_bytes()
    assert not list(kv8.glob("kv_calibration*"))
    for name in ("prefill.onnx", "decode.onnx"):
        model = onnx.load(kv8 / name, load_external_data=False)
        onnx.checker.check_model(str(kv8 / name))
        assert {node.domain for node in model.graph.node} == {""}
        cache = [
            value
            for value in (*model.graph.input, *model.graph.output)
            if value.name.startswith(("past_key_values.", "present."))
        ]
        sides = 2 if name == "decode.onnx" else 1
        assert len(cache) == 2 * sides * checkpoint.architecture.geometry.layers
        assert {value.type.tensor_type.elem_type for value in cache} == {onnx.TensorProto.INT8}
        scales = {
            one.name: onnx.numpy_helper.to_array(one).tolist()
            for one in model.graph.initializer
            if one.name.endswith(".scales")
        }
        assert scales == {
            f"kv_cache.{layer}.{kind}.scales": of_heads
            for layer, by_kind in enumerate(stored_scales(kv8))
            for kind, of_heads in by_kind.items()
        }


def test_bytes_of_a_cache(tmp_path):
    make_falcon("40b", tmp_path / "checkpoint")
    checkpoint = open_checkpoint(tmp_path / "checkpoint")
    windows = cut_windows(texts(1, 16, seed=0), 16, "random tokens")
    said = {
        name: export_graphs(
            checkpoint, tmp_path / name, dtype=dtype, lengths=LENGTHS, cache_windows=given_windows
        ).kv_cache
        for name, dtype, given_windows in (
            ("fp32", "fp32", None),
            ("fp16", "fp16", None),
            ("int8", "fp16", windows),
        )
    }
    values = 2 * 2 * 2 * 16 * 32  # keys and values, layers, KV heads, head size, tokens
    calibrated_on = {"source": "random tokens", "windows": 1, "tokens": 16}
    assert said == {
        "fp32": {"dtype": "fp32", "bytes": 4 * values},
        "fp16": {"dtype": "fp16", "bytes": 2 * values},
        "int8": {"dtype": "int8", "bytes": values, "calibrated_on": calibrated_on},
    }


def test_an_infinite_cache_is_refused(tmp_path):
    """Keys beyond fp16: nothing that was written stays."""
    import torch
    from safetensors.torch import load_file, save_file

    make_falcon("rw", tmp_path / "checkpoint", num_hidden_layers=1)
    for shard in (tmp_path / "checkpoint").glob("*.safetensors"):
        tensors = load_file(shard)
        for name, tensor in tensors.items():
            if "query_key_value" in name:
                tensors[name] = torch.full_like(tensor, 3e4)
        save_file(tensors, shard, metadata={"format": "pt"})
    with pytest.raises(StageError, match="keys or values that are not numbers on random tokens"):
        export_graphs(
            open_checkpoint(tmp_path / "checkpoint"),
            tmp_path / "out",
            dtype="fp16",
            lengths=LENGTHS,
            cache_windows=cut_windows(texts(1, 16, seed=0), 16, "random tokens"),
        )
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


@given(st.lists(st.floats(0, 6e4, width=32), min_size=1, max_size=5))
def test_every_scale_can_be_divided_by(magnitudes):
    scales = scales_of(np.array(magnitudes, np.float32))
    assert scales.dtype == np.float32
    assert (scales > 0).all()
    assert (np.abs(np.array(magnitudes) / scales) <= MAX_CODE * (1 + 1e-6)).all()


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_windows_are_cut_and_never_padded(count, length, most):
    ids = np.arange(count * length).reshape(count, length)
    cut = cut_windows(ids, most, "numbers").ids
    width = min(length, most)
    assert cut.shape == (count * (length // width), width)
    assert (np.diff(cut, axis=1) == 1).all()
    assert set(cut[:, 0] // length) == set(range(count))


def test_no_more_text_than_needed_is_used():
    cut = cut_windows(np.zeros((100, 1000), np.int32), 512, "zeros")
    assert cut.described() == {"source": "zeros", "windows": 32, "tokens": MAX_TOKENS}
