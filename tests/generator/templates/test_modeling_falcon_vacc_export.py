"""The modeling file through PyTorch's exporters, and back in ONNX Runtime.

Names as the Hugging Face ONNX world has them: input_ids, attention_mask, position_ids,
past_key_values.{i}.key/value -> logits, present.{i}.key/value.
"""

import inspect
import warnings

import onnx
import onnxruntime
import torch

# The TorchScript exporter is the only one of PyTorch 2.1; since 2.9 it has to be asked for.
HAS_DYNAMO = "dynamo" in inspect.signature(torch.onnx.export).parameters
TORCHSCRIPT = {"dynamo": False} if HAS_DYNAMO else {}
INPUTS = ["input_ids", "attention_mask", "position_ids"]


class Graph(torch.nn.Module):
    """The model with its cache as flat tensors: key and value of layer 0, of layer 1, ..."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, position_ids, *cache):
        past = tuple(zip(cache[0::2], cache[1::2], strict=True)) or None
        output = self.model(input_ids, attention_mask, position_ids, past, use_cache=True)
        return output.logits, *(tensor for pair in output.past_key_values for tensor in pair)


def cache_names(prefix, model):
    layers = range(model.config.num_hidden_layers)
    return [f"{prefix}.{layer}.{part}" for layer in layers for part in ("key", "value")]


def make_inputs(model, num_new, num_past, batch=2, with_cache=True):
    """Return a left-padded batch: ids (B, S), mask (B, P + S), positions (B, S), and the cache."""
    input_ids = torch.randint(3, 131, (batch, num_new))
    mask = torch.ones(batch, num_past + num_new, dtype=torch.long)
    mask[0, : (num_past + num_new) // 3] = 0
    positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, num_past:]
    attention = model.transformer.h[0].self_attention
    shape = (batch, attention.num_kv_heads, num_past, attention.head_dim)
    cache = [torch.randn(shape) for _ in cache_names("past_key_values", model)]
    return (input_ids, mask, positions, *(cache if with_cache else []))


def export(model, inputs, path, opset, dynamic=False):
    names = INPUTS + cache_names("past_key_values", model)
    outputs = ["logits", *cache_names("present", model)]
    axes = {}
    if dynamic:
        axes = {name: {0: "batch", 2: "past"} for name in names}
        axes.update({name: {0: "batch", 2: "total"} for name in outputs})
        axes.update({name: {0: "batch", 1: "new"} for name in (*INPUTS, "logits")})
        axes["attention_mask"] = {0: "batch", 1: "total"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer, about shapes that are what they are
        torch.onnx.export(
            Graph(model).eval(),
            inputs,
            str(path),
            input_names=names[: len(inputs)],
            output_names=outputs,
            opset_version=opset,
            dynamic_axes=axes,
            # Folding would write transposed copies of the weights: the tied head twice.
            do_constant_folding=False,
            **TORCHSCRIPT,
        )
    return path


def assert_runs_the_same(path, model, inputs):
    """Run the graph in ONNX Runtime: outputs in their order, and equal to the model's."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = (INPUTS + cache_names("past_key_values", model))[: len(inputs)]
    wanted = {node.name for node in session.get_inputs()}
    feed = {n: x.numpy() for n, x in zip(names, inputs, strict=True) if n in wanted}
    assert wanted == set(feed)
    # The TorchScript exporter drops what nothing reads: ALiBi has no use for position_ids.
    assert set(names) - wanted <= ({"position_ids"} if model.config.alibi else set())
    outputs = [node.name for node in session.get_outputs()]
    assert outputs == ["logits", *cache_names("present", model)]
    for actual, expected in zip(session.run(None, feed), Graph(model)(*inputs), strict=True):
        torch.testing.assert_close(torch.from_numpy(actual), expected, atol=2e-5, rtol=2e-5)


def test_prefill_then_decode(make_pair, variant, tmp_path):
    """Static graphs, one after the other in one process: nothing of one is in the next."""
    _, model = make_pair(variant)
    lengths = [(8, 0, 13), (12, 0, 17), (1, 15, 13), (4, 6, 17)]
    for num_new, num_past, opset in lengths:
        model.config.insert_slice = num_new == 12
        shape = (model, num_new, num_past, 2, num_past > 0)
        path = export(model, make_inputs(*shape), tmp_path / "model.onnx", opset)
        assert_runs_the_same(path, model, make_inputs(*shape))


def test_one_dynamic_graph(make_pair, variant, tmp_path):
    """Traced once, it serves prefill (a past of length 0), chunks and decode, of any batch.

    No complex or bf16 type, no foreign operator, and each weight once, under its own name.
    """
    _, model = make_pair(variant)
    path = export(model, make_inputs(model, 4, 3), tmp_path / "model.onnx", 13, dynamic=True)
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
    path = export(model, make_inputs(model, 1, 1200), tmp_path / "model.onnx", 17)
    assert_runs_the_same(path, model, make_inputs(model, 1, 1200))
