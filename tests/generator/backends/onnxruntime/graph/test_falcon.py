"""Emitted graphs compute what transformers' Falcon computes, for every variant.

Legend: B batch, S tokens fed, L past, T = L + S, P prefill length, KV heads of the cache, D head.
"""

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.falcons import VARIANTS, VOCABULARY, logits_of, make_falcon, static_logits
from tests.weight_folders import open_checkpoint
from vacc_gen.generator.backends.onnxruntime.export import Deployment, Lengths, plan_export

LENGTHS = Lengths(prefill=16, total=32)
ABSOLUTE = 1e-4
"""On logits of unit size: what different orders of summation in fp32 leave."""


@pytest.fixture(scope="module", params=list(VARIANTS))
def falcon(request, tmp_path_factory):
    """(checkpoint, oracle, folder of static fp32 graphs and the dynamic one)."""
    folder = tmp_path_factory.mktemp(request.param)
    oracle = make_falcon(request.param, folder / "checkpoint")
    checkpoint = open_checkpoint(folder / "checkpoint")
    plan_export(checkpoint, "fp32", LENGTHS).write(folder / "static")
    plan_export(checkpoint, "fp32").write(folder / "dynamic")
    return checkpoint, oracle, folder


def run(graph, **feeds):
    """Outputs of a graph (a path, or its bytes), by name."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


def tokens(batch, length, seed=0):
    return np.random.default_rng(seed).integers(3, VOCABULARY, (batch, length))


def padded(length, padding):
    """Masks (3, length): none, half and one position padded, on the given side."""
    mask = np.ones((3, length), np.int64)
    if padding != "none":
        mask[1, : length // 2], mask[2, 0] = 0, 0
    return mask[:, ::-1].copy() if padding == "right" else mask


def positions(mask):
    return np.maximum(mask.cumsum(1) - 1, 0)


def past_of(checkpoint, present=None, dtype=np.float32):
    """Feeds for the past: an earlier run's presents, or a past of length 0 for a batch of 3."""
    geometry = checkpoint.architecture.geometry
    empty = np.zeros((3, geometry.kv_heads, 0, geometry.head_size), dtype)
    return {
        f"past_key_values.{layer}.{kind}": present[f"present.{layer}.{kind}"] if present else empty
        for layer in range(geometry.layers)
        for kind in ("key", "value")
    }


def run_dynamic(checkpoint, graph, ids, mask, dtype=np.float32):
    """Logits of a dynamic graph that reads the whole text in one pass."""
    feeds = {"input_ids": ids, "attention_mask": mask, "position_ids": positions(mask)}
    return run(graph, **feeds, **past_of(checkpoint, dtype=dtype))["logits"]


@pytest.mark.parametrize("padding", ["none", "left", "right"])
@pytest.mark.parametrize("chunks", [(14,), (4, 6, 1, 1, 2)], ids=str)
def test_dynamic_graph(falcon, padding, chunks):
    """Whatever the chunks, each position's logits are those of one pass over the whole."""
    checkpoint, oracle, folder = falcon
    mask = padded(sum(chunks), padding)
    ids = tokens(3, sum(chunks))
    expected = logits_of(oracle, ids, attention_mask=mask, position_ids=positions(mask))
    past, start = past_of(checkpoint), 0
    for length in chunks:
        end = start + length
        outputs = run(
            folder / "dynamic" / "model.onnx",
            input_ids=ids[:, start:end],
            attention_mask=mask[:, :end],
            position_ids=positions(mask)[:, start:end],
            **past,
        )
        visible = mask[:, start:end] == 1
        np.testing.assert_allclose(
            outputs["logits"][visible], expected[:, start:end][visible], atol=ABSOLUTE
        )
        past, start = past_of(checkpoint, outputs), end


@pytest.mark.parametrize("length", [1, 7, 16])
def test_static_graphs(falcon, length):
    """Prefill, padded on the right, then steps to the last slot of the cache."""
    _, oracle, folder = falcon
    text = tokens(1, LENGTHS.total, seed=length)
    logits = static_logits(folder / "static", text[0].tolist(), length)
    np.testing.assert_allclose(logits, logits_of(oracle, text)[0, length - 1 :], atol=ABSOLUTE)


@pytest.mark.parametrize(("dtype", "bound"), [("fp16", 0.01), ("int8", 0.06)])
def test_lower_precisions_stay_near(falcon, tmp_path, dtype, bound):
    """The mean deviation from fp32, relative to the logits' spread, with rows of padding."""
    checkpoint, oracle, _ = falcon
    plan_export(checkpoint, dtype).write(tmp_path / "out")
    ids, mask = tokens(3, 40), padded(40, "left")
    mask[1] = 0  # nothing at all to attend to
    kind = np.float16 if dtype == "fp16" else np.float32
    logits = run_dynamic(checkpoint, tmp_path / "out" / "model.onnx", ids, mask, kind)
    expected = logits_of(oracle, ids, attention_mask=mask, position_ids=positions(mask))[mask == 1]
    logits = logits.astype(np.float32)
    assert np.isfinite(logits).all()
    assert 0 < np.abs(logits[mask == 1] - expected).mean() / expected.std() < bound


@pytest.mark.parametrize(
    "changes", [{"tie_word_embeddings": False}, {"activation": "relu", "bias": True}], ids=str
)
def test_what_no_variant_has(tmp_path, changes):
    """A head of its own; ReLU; biases without ALiBi."""
    oracle = make_falcon("7b", tmp_path / "checkpoint", **changes)
    checkpoint = open_checkpoint(tmp_path / "checkpoint")
    ids, mask = tokens(3, 6), padded(6, "none")
    expected = logits_of(oracle, ids)
    for dtype, bound in (("fp32", ABSOLUTE), ("int8", 0.2)):
        plan_export(checkpoint, dtype).write(tmp_path / dtype)
        logits = run_dynamic(checkpoint, tmp_path / dtype / "model.onnx", ids, mask)
        np.testing.assert_allclose(logits, expected, atol=bound)


@pytest.mark.parametrize("dtype", ["fp16", "int8"])
@pytest.mark.parametrize(
    "lengths", [None, LENGTHS, Deployment(32)], ids=["dynamic", "static", "deployed"]
)
def test_graphs_are_valid_onnx(falcon, tmp_path, dtype, lengths):
    checkpoint, _, _ = falcon
    plan_export(checkpoint, dtype, lengths).write(tmp_path / "out")
    for graph in (tmp_path / "out").glob("*.onnx"):
        onnx.checker.check_model(str(graph), full_check=True)


def test_names_and_shapes_are_those_of_the_hugging_face_world(falcon):
    checkpoint, _, folder = falcon
    geometry = checkpoint.architecture.geometry
    graph = onnx.load(folder / "dynamic" / "model.onnx", load_external_data=False).graph
    batch, fed, past = "batch_size", "sequence_length", "past_sequence_length"
    total = f"{past} + {fed}"
    expected = {name: [batch, fed] for name in ("input_ids", "position_ids")}
    expected |= {"attention_mask": [batch, total], "logits": [batch, fed, VOCABULARY]}
    for name, length in (("past_key_values", past), ("present", total)):
        shape = [batch, geometry.kv_heads, length, geometry.head_size]
        for layer in range(geometry.layers):
            expected |= {f"{name}.{layer}.{kind}": shape for kind in ("key", "value")}
    values = [*graph.input, *graph.output]
    assert {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in values
    } == expected
    assert graph.output[0].name == "logits"
