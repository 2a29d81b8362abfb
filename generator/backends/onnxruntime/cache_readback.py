"""Reads an int8 KV cache back from the ONNX files, and compares it with the scales that were meant.

As in `readback`, nothing here shares code with what wrote the graphs.

Legend of shapes: KV heads of the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from vacc_gen.generator.backends.onnxruntime.graph.kv_cache import CacheScales

CACHE_PREFIXES = ("past_key_values.", "present.")
CODES_OPERATORS = {"QuantizeLinear": "output", "DequantizeLinear": "input"}
"""Operators that write and read codes, and on which side of them the codes are."""


@dataclass
class CacheReadback:
    """What was found in a folder. `problems` is empty where all is as it was meant."""

    caches: int = 0
    """Inputs and outputs that hold keys or values."""
    scales: int = 0
    """Scales that were compared."""
    left_in_float: int = 0
    """Of the caches, those that are not int8."""
    problems: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, object]:
        """Plain values, for the report."""
        return {
            "caches": self.caches,
            "scales": self.scales,
            "left_in_float": self.left_in_float,
            "problems": self.problems,
        }


def read_back_cache(folder: Path, graphs: tuple[str, ...], meant: CacheScales) -> CacheReadback:
    """Compare how `graphs` of `folder` keep keys and values with the scales that were `meant`."""
    found = CacheReadback()
    for graph in graphs:
        model = onnx.load(folder / graph, load_external_data=False)
        problems = [*_left_in_float(model, found), *_wrong_scales(model, meant, found)]
        found.problems += [f"{graph}: {problem}" for problem in problems]
    return found


def _left_in_float(model: onnx.ModelProto, found: CacheReadback) -> Iterator[str]:
    for value in (*model.graph.input, *model.graph.output):
        if value.name.startswith(CACHE_PREFIXES):
            found.caches += 1
            kind = value.type.tensor_type.elem_type
            if kind != TensorProto.INT8:
                found.left_in_float += 1
                yield f"{value.name} is {TensorProto.DataType.Name(kind).lower()}, not int8"


def _wrong_scales(
    model: onnx.ModelProto, meant: CacheScales, found: CacheReadback
) -> Iterator[str]:
    """Say which presents are written or read by other scales than theirs, or not at all."""
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    made_of = {node.output[0]: list(node.input) for node in model.graph.node}
    sides: dict[tuple[str, str], np.ndarray] = {}
    for node in model.graph.node:
        side = CODES_OPERATORS.get(node.op_type)
        if side is not None:
            codes = node.output[0] if side == "output" else node.input[0]
            sides[side, codes] = _scales_of(node, initializers)
    for layer in range(len(meant.keys)):
        for kind in ("key", "value"):
            present, wanted = f"present.{layer}.{kind}", getattr(meant, f"{kind}s")[layer]  # (KV,)
            written = {present, *made_of.get(present, ())}  # as it is, or behind the past
            for side, names in (("output", written), ("input", {present})):
                scales = next((sides[side, name] for name in names if (side, name) in sides), None)
                if scales is None:
                    yield f"{present} has no scales"
                    continue
                found.scales += len(scales)
                if not np.array_equal(scales, wanted):
                    yield f"{present} has other scales than were calibrated"


def _scales_of(node: onnx.NodeProto, initializers: dict[str, TensorProto]) -> np.ndarray:
    """The scales of a node, (KV,); NaN where its zero points are not 0."""
    scales = np.asarray(numpy_helper.to_array(initializers[node.input[1]]))
    zeros = numpy_helper.to_array(initializers[node.input[2]])
    is_symmetric = zeros.dtype == np.int8 and not zeros.any()
    return scales if is_symmetric else np.full(len(scales), np.nan, np.float32)
