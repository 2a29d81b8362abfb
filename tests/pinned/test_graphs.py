"""Emitted graphs on a text of 600 tokens, by the ONNX Runtime that is installed.

`make test-pinned` runs this in the compiler's environment, which has ONNX Runtime 1.13.1 and no
vacc-gen: the graphs come from VACC_GEN_GRAPHS, a folder that this wrote where vacc-gen is:

    python -m tests.pinned.test_graphs DIR
"""

import os
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.falcons import VARIANTS, VOCABULARY, logits_of, make_falcon

NUMPY = {"tensor(float)": np.float32, "tensor(float16)": np.float16}

TOKENS = 600
"""More than bf16 counts one by one: it has 8 significant bits, and rounds ALiBi's positions."""


def write_graphs(folder):
    """Write `<variant>/<dtype>/model.onnx`, `<variant>/ids.npy` (1, S) and `logits.npy` (S, V)."""
    from tests.weight_folders import open_checkpoint
    from vacc_gen.generator.backends.onnxruntime.export import plan_export

    for variant in VARIANTS:
        oracle = make_falcon(variant, folder / variant / "checkpoint")
        checkpoint = open_checkpoint(folder / variant / "checkpoint")
        for dtype in ("fp16", "fp32"):
            plan_export(checkpoint, dtype).write(folder / variant / dtype)
        ids = np.random.default_rng(7).integers(3, VOCABULARY, (1, TOKENS))
        np.save(folder / variant / "ids.npy", ids)
        np.save(folder / variant / "logits.npy", logits_of(oracle, ids)[0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    written = os.environ.get("VACC_GEN_GRAPHS")
    if written is not None:
        return Path(written)
    made = tmp_path_factory.mktemp("graphs")
    write_graphs(made)
    return made


@pytest.mark.parametrize(("dtype", "bound"), [("fp32", 2e-5), ("fp16", 0.01)])
@pytest.mark.parametrize("variant", list(VARIANTS))
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


if __name__ == "__main__":
    write_graphs(Path(sys.argv[1]))
