"""The modeling file through PyTorch's exporters, and back in ONNX Runtime.

Names as the Hugging Face ONNX world has them: input_ids, attention_mask, position_ids,
past_key_values.{i}.key/value -> logits, present.{i}.key/value.
"""

import inspect

import export as exporter
import onnx
import onnxruntime
import pytest
import torch

from tests.falcons import VOCABULARY

# The TorchScript exporter is the only one of PyTorch 2.1; since 2.9 it has to be asked for.
HAS_DYNAMO = "dynamo" in inspect.signature(torch.onnx.export).parameters
TORCHSCRIPT = {"dynamo": False} if HAS_DYNAMO else {}

# Of the tracer, about shapes that are what they are.
pytestmark = pytest.mark.filterwarnings("ignore")


def make_inputs(model, num_new, num_past, batch, with_cache=True):
    """Return a left-padded batch by the names of a graph's inputs."""
    mask = torch.ones(batch, num_past + num_new, dtype=torch.long)
    mask[0, : (num_past + num_new) // 3] = 0
    inputs = {
        "input_ids": torch.randint(3, VOCABULARY, (batch, num_new)),
        "attention_mask": mask,
        "position_ids": (mask.cumsum(-1) - 1).clamp(min=0)[:, num_past:],
    }
    attention = model.transformer.h[0].self_attention
    shape = (batch, attention.num_kv_heads, num_past, attention.head_dim)
    names = exporter.cache_names("past_key_values", model) if with_cache else []
    return {**inputs, **{name: torch.randn(shape) for name in names}}


def assert_runs_the_same(path, model, inputs):
    """Run the graph in ONNX Runtime: outputs in their order, and equal to the model's."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    wanted = {node.name for node in session.get_inputs()}
    # The TorchScript exporter drops what nothing reads: ALiBi has no use for position_ids.
    unread = {"position_ids"} if model.config.alibi else set()
    assert set(inputs) - unread <= wanted <= set(inputs)
    outputs = [node.name for node in session.get_outputs()]
    assert outputs == ["logits", *exporter.cache_names("present", model)]
    made = session.run(None, {name: inputs[name].numpy() for name in wanted})
    for actual, expected in zip(made, exporter.Flat(model)(*inputs.values()), strict=True):
        torch.testing.assert_close(torch.from_numpy(actual), expected, atol=2e-5, rtol=2e-5)


def test_prefill_then_decode(make_pair, variant, tmp_path):
    """Static graphs, one after the other in one process: nothing of one is in the next."""
    _, model = make_pair(variant)
    path = tmp_path / "model.onnx"
    for num_new, num_past, opset in [(8, 0, 13), (12, 0, 17), (1, 15, 13), (4, 6, 17)]:
        model.config.insert_slice = num_new == 12
        exporter.trace(model, num_new, num_past + num_new, opset, path)
        inputs = make_inputs(model, num_new, num_past, 1, with_cache=num_past > 0)
        assert_runs_the_same(path, model, inputs)


def test_one_dynamic_graph(make_pair, variant, tmp_path):
    """Traced once, it serves prefill (a past of length 0), chunks and decode, of any batch.

    No complex or bf16 type, no foreign operator, and each weight once, under its own name.
    """
    _, model = make_pair(variant)
    path, inputs = tmp_path / "model.onnx", make_inputs(model, 4, 3, 2)
    outputs = ["logits", *exporter.cache_names("present", model)]
    axes = {name: {0: "batch", 2: "past"} for name in inputs}
    axes.update({name: {0: "batch", 2: "total"} for name in outputs})
    axes.update({name: {0: "batch", 1: "new"} for name in ("input_ids", "position_ids", "logits")})
    axes["attention_mask"] = {0: "batch", 1: "total"}
    torch.onnx.export(
        exporter.Flat(model),
        tuple(inputs.values()),
        str(path),
        input_names=list(inputs),
        output_names=outputs,
        opset_version=13,
        dynamic_axes=axes,
        # Folding would write transposed copies of the weights: the tied head twice.
        do_constant_folding=False,
        **TORCHSCRIPT,
    )
    for num_new, num_past, batch in [(9, 0, 1), (5, 8, 3), (1, 30, 2)]:
        assert_runs_the_same(path, model, make_inputs(model, num_new, num_past, batch))
    graph = onnx.load(str(path)).graph
    casts = {a.i for node in graph.node for a in node.attribute if node.op_type == "Cast"}
    assert casts <= {onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.BOOL}
    assert {node.domain for node in graph.node} == {""}
    names = [tensor.name for tensor in graph.initializer if len(tensor.dims) == 2]
    matrices = [name for name, value in model.named_parameters() if value.dim() == 2]
    assert sorted(name.removeprefix("model.") for name in names) == sorted(matrices)


def test_alibi_far_into_the_context(make_pair, tmp_path):
    """Where its rounding to bf16 matters; a cast to bf16 is wrong in ONNX Runtime 1.13."""
    _, model = make_pair("rw", num_attention_heads=16, hidden_size=128, num_hidden_layers=1)
    exporter.trace(model, 1, 1201, 17, tmp_path / "model.onnx")
    assert_runs_the_same(tmp_path / "model.onnx", model, make_inputs(model, 1, 1200, 1))
