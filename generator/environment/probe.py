"""What another interpreter can do: a script that it runs, one check in one process.

    python -I probe.py CHECK [WORD...]

Nothing of vacc-gen is imported, for that interpreter has none of it, and any Python from 3.8 on
will do. The last line of the output is JSON; a check that fails raises, or dies of a signal, which
is what it is here to find out.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import platform
import re
import sys
import tempfile
from collections.abc import Callable
from typing import Any

MODULES = {
    "protobuf": "google.protobuf",
    "pillow": "PIL",
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
    "opencv-python": "cv2",
}
"""Modules of packages that are not called as their package is."""
OPSET = 17
SESSION_OPSET, SESSION_IR_VERSION = 13, 8
"""Old enough for every ONNX Runtime since 1.10, whatever the installed onnx writes by itself."""
EXPORT_TOLERANCE = 1e-3


def versions() -> dict[str, Any]:
    """Python's version and platform, and every installed package's version by normalized name."""
    packages: dict[str, str] = {}
    for found in importlib.metadata.distributions():
        name = found.metadata["Name"]
        if name:
            packages.setdefault(re.sub(r"[-_.]+", "-", name).lower(), found.version)
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "machine": platform.machine(),
        "packages": packages,
    }


def imports(*names: str) -> dict[str, Any]:
    """Import the packages of these names, one after the other, in one process."""
    for name in names:
        importlib.import_module(MODULES.get(name, name.replace("-", "_")))
    return {"imported": list(names)}


def round_trip() -> dict[str, Any]:
    """A tensor to numpy and back, and both alike."""
    import numpy
    import torch

    array = torch.arange(6.0).reshape(2, 3).numpy()
    back = torch.from_numpy(array + 1)
    assert back.sum().item() == 21.0, back
    return {"torch": torch.__version__, "numpy": numpy.__version__}


def session() -> dict[str, Any]:
    """A session of ONNX Runtime on a graph of one node, run, and its result right."""
    import numpy
    import onnxruntime
    from onnx import TensorProto, helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 2])
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "x"], ["y"])], "probe", [x], [y])
    opset = helper.make_opsetid("", SESSION_OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=SESSION_IR_VERSION)
    (result,) = _run(onnxruntime, model.SerializeToString(), {"x": numpy.eye(2, dtype="float32")})
    assert (result == numpy.eye(2)).all(), result
    return {"onnxruntime": onnxruntime.__version__, "numpy": numpy.__version__}


def export() -> dict[str, Any]:
    """A tiny model through torch.onnx.export, checked, run, and as good as torch itself."""
    import inspect

    import onnx
    import onnxruntime
    import torch

    torch.manual_seed(0)
    model, example, what = _tiny_model(torch)
    legacy = "dynamo" in inspect.signature(torch.onnx.export).parameters
    # PyTorch 1.8 knows opsets up to 13.
    newest = 13 if torch.__version__.startswith("1.") else OPSET
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        path = os.path.join(folder, "tiny.onnx")  # noqa: PTH118  # 3.8 and its torch want text
        expected = model(example).numpy()
        torch.onnx.export(
            model,
            (example,),
            path,
            input_names=["x"],
            output_names=["y"],
            opset_version=newest,
            **({"dynamo": False} if legacy else {}),
        )
        onnx.checker.check_model(path)
        with open(path, "rb") as file:  # noqa: PTH123  # as above
            (result,) = _run(onnxruntime, file.read(), {"x": example.numpy()})
    difference = float(abs(result - expected).max())
    assert difference < EXPORT_TOLERANCE, difference
    return {"model": what, "max_abs_diff": difference}


def _tiny_model(torch: Any) -> Any:
    """A random LLaMA of one layer, or a perceptron where there is no transformers."""
    try:
        from transformers import LlamaConfig, LlamaForCausalLM
    except ImportError:
        layers = (torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4))
        return torch.nn.Sequential(*layers).eval(), torch.ones(1, 8), "a perceptron"

    class Logits(torch.nn.Module):  # type: ignore[misc]
        def __init__(self, model: Any) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any) -> Any:
            # Without a mask, transformers 5 looks for packed texts with what no opset has.
            mask = torch.ones_like(input_ids)
            return self.model(input_ids, attention_mask=mask, use_cache=False).logits

    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
    )
    config._attn_implementation = "eager"
    return Logits(LlamaForCausalLM(config).eval()), torch.ones(1, 8).long(), "a LLaMA of one layer"


def _run(onnxruntime: Any, model: bytes, inputs: dict[str, Any]) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    made = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return made.run(None, inputs)


def cuda() -> dict[str, Any]:
    """The GPUs that PyTorch sees, with their memory."""
    import torch

    gpus = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return {
        "available": torch.cuda.is_available(),
        "gpus": [{"name": gpu.name, "memory_bytes": gpu.total_memory} for gpu in gpus],
    }


CHECKS: dict[str, Callable[..., dict[str, Any]]] = {
    "versions": versions,
    "imports": imports,
    "round-trip": round_trip,
    "session": session,
    "export": export,
    "cuda": cuda,
}

if __name__ == "__main__":
    print("\n" + json.dumps(CHECKS[sys.argv[1]](*sys.argv[2:])))
