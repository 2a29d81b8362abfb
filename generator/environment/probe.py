"""What another interpreter can do: a script that it runs, one check in one process.

    python -I probe.py CHECK

Nothing of vacc-gen is imported, for that interpreter has none of it, and any Python from 3.8 on
will do. The last line of the output is JSON; a check that fails raises, or dies of a signal, which
is what it is here to find out.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import re
import sys
from typing import Any

OPSET, IR_VERSION = 13, 8
"""Old enough for every ONNX Runtime since 1.10, whatever the installed onnx writes by itself."""


def versions() -> dict[str, Any]:
    """Python's version, and every installed package's version by normalized name."""
    packages: dict[str, str] = {}
    for found in importlib.metadata.distributions():
        name = found.metadata["Name"]
        if name:
            packages.setdefault(re.sub(r"[-_.]+", "-", name).lower(), found.version)
    return {"python": platform.python_version(), "packages": packages}


def round_trip() -> dict[str, Any]:
    """Move a tensor to numpy and back, and compare."""
    import torch

    array = torch.arange(6.0).reshape(2, 3).numpy()
    back = torch.from_numpy(array + 1)
    assert back.sum().item() == 21.0, back
    return {}


def session() -> dict[str, Any]:
    """Run a session of ONNX Runtime on a graph of one node, and compare its result."""
    import numpy
    import onnxruntime
    from onnx import TensorProto, helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 2])
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "x"], ["y"])], "probe", [x], [y])
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    made = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (result,) = made.run(None, {"x": numpy.eye(2, dtype="float32")})
    assert (result == numpy.eye(2)).all(), result
    return {}


def cuda() -> dict[str, Any]:
    """The GPUs that PyTorch sees, with their memory."""
    import torch

    gpus = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return {"gpus": [{"name": gpu.name, "memory_bytes": gpu.total_memory} for gpu in gpus]}


CHECKS = {"versions": versions, "round-trip": round_trip, "session": session, "cuda": cuda}

if __name__ == "__main__":
    print("\n" + json.dumps(CHECKS[sys.argv[1]]()))
