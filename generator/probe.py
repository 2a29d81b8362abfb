"""What another interpreter can do: this file asks, and is the script that answers.

    python -I probe.py CHECK

That interpreter, any Python from 3.8 on, has nothing of vacc-gen, so nothing of it is imported. The
last line of the output is JSON; a check that fails raises, or dies of a signal.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OPSET, IR_VERSION = 13, 8
"""Old enough for every ONNX Runtime since 1.10, whatever the installed onnx writes by itself."""


@dataclass(frozen=True)
class Answer:
    """The result of one check."""

    values: dict[str, Any]
    """What it found out; empty where it failed."""
    failure: str | None = None
    """How it ended instead, in a few words."""


def run_check(python: str | Path, check: str, timeout_s: float = 600) -> Answer:
    """Run one of `CHECKS` in the interpreter `python`, in a process of its own."""
    try:
        done = subprocess.run(
            [str(python), "-I", "-X", "faulthandler", __file__, check],
            # Thread pools only make a tiny check slower.
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer({}, f"did not end within {timeout_s:.0f} s")
    except OSError as error:
        return Answer({}, f"cannot be run: {error.strerror}")
    if done.returncode < 0:
        return Answer({}, f"was killed by {signal.Signals(-done.returncode).name}")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exited {done.returncode}"]
        return Answer({}, lines[-1].strip())
    try:
        return Answer(json.loads(done.stdout.splitlines()[-1]))
    except (IndexError, ValueError):
        return Answer({}, "exited 0 without an answer")


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


CHECKS = {"versions": versions, "round-trip": round_trip, "session": session}

if __name__ == "__main__":
    print("\n" + json.dumps(CHECKS[sys.argv[1]]()))
