"""Emitted graphs on a text of 600 tokens, by the ONNX Runtime that is installed.

`make test-pinned` runs this in the compiler's environment, which has ONNX Runtime 1.13.1 and no
vacc-gen: the graphs come from VACC_GEN_GRAPHS, a folder that write_graphs.py made.
"""

import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

NUMPY = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    written = os.environ.get("VACC_GEN_GRAPHS")
    if written is not None:
        return Path(written)
    from tests.pinned.write_graphs import write_graphs

    made = tmp_path_factory.mktemp("graphs")
    write_graphs(made)
    return made


@pytest.mark.parametrize(("dtype", "bound"), [("fp32", 2e-5), ("fp16", 0.01)])
@pytest.mark.parametrize("variant", ["7b", "40b", "11b", "rw"])
def test_a_long_text(folder, variant, dtype, bound):
    """Logits (S, V) of unit size, each near transformers'."""
    ids, expected = (np.load(folder / variant / f"{name}.npy") for name in ("ids", "logits"))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    graph = folder / variant / dtype / "model.onnx"
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    feeds = {
        value.name: np.zeros((1, value.shape[1], 0, value.shape[3]), NUMPY[value.type])
        for value in session.get_inputs()
        if value.name.startswith("past_key_values.")
    }
    feeds.update(input_ids=ids, attention_mask=np.ones_like(ids))
    feeds["position_ids"] = np.arange(ids.shape[1])[None]
    (logits,) = session.run(["logits"], feeds)
    assert np.abs(logits[0].astype(np.float32) - expected).max() < bound


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
def test_alibi_is_not_cast_to_bf16(folder, dtype):
    """ONNX Runtime 1.13 cuts bits off where it casts to bf16."""
    graph = onnx.load(str(folder / "rw" / dtype / "model.onnx"), load_external_data=False).graph
    casts = {a.i for node in graph.node for a in node.attribute if node.op_type == "Cast"}
    assert casts >= {onnx.TensorProto.FLOAT}
    assert onnx.TensorProto.BFLOAT16 not in casts
