"""Builds one ONNX graph: nodes, small constants, and weights that stay in an external file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from vacc_gen.generator.backends.onnxruntime.weights.weight_file import (
    WEIGHTS_FILE,
    StorageDtype,
    StoredTensor,
)

OPSET = 17
"""The first with LayerNormalization; also what the vendor's pinned ONNX Runtime 1.13 reads."""

IR_VERSION = 8
"""The IR of opset 17: a newer one is refused by runtimes that know no newer opset."""

CONTRIB_DOMAIN = "com.microsoft"
"""ONNX Runtime's own operators, used by int8 graphs only."""

ELEMENT_TYPE: dict[StorageDtype, int] = {
    "fp16": TensorProto.FLOAT16,
    "fp32": TensorProto.FLOAT,
    "uint8": TensorProto.UINT8,
}


class GraphBuilder:
    """Collects nodes in order. Every method that adds a node returns the name of its output."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, element_type: int, shape: Sequence[int | str]) -> None:
        """Declare a graph input; a string dimension is symbolic."""
        self._inputs.append(helper.make_tensor_value_info(name, element_type, shape))

    def output(self, name: str, element_type: int, shape: Sequence[int | str]) -> None:
        self._outputs.append(helper.make_tensor_value_info(name, element_type, shape))

    def node(self, op: str, *inputs: str, name: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output, which is called as the node is."""
        self._nodes.append(
            helper.make_node(op, inputs, [name], name=name, domain=domain, **attributes)
        )
        return name

    def split(self, value: str, axis: int, names: Sequence[str], *sizes: int) -> list[str]:
        """Split `value` into parts of `sizes`, or of one size where none are given."""
        inputs = [value, self.ints(*sizes)] if sizes else [value]
        self._nodes.append(helper.make_node("Split", inputs, names, name=names[0], axis=axis))
        return list(names)

    def constant(self, name: str, values: Any, dtype: Any) -> str:
        """Add a small constant, once; `name` must always mean the same values."""
        if name not in self._initializers:
            array = np.asarray(values, dtype=dtype)
            self._initializers[name] = numpy_helper.from_array(array, name)
        return name

    def ints(self, *values: int) -> str:
        """A constant int64 vector, of sizes or axes; equal ones are shared."""
        return self.constant(f"ints_{'_'.join(map(str, values))}", values, np.int64)

    def weight(
        self, stored: StoredTensor, name: str | None = None, shape: Sequence[int] | None = None
    ) -> str:
        """Refer to a tensor of the weights file; `name` and `shape` give another view of it."""
        name = name or stored.name
        if name not in self._initializers:
            tensor = TensorProto(
                name=name,
                data_type=ELEMENT_TYPE[stored.dtype],
                dims=stored.shape if shape is None else shape,
                data_location=TensorProto.EXTERNAL,
            )
            tensor.external_data.add(key="location", value=WEIGHTS_FILE)
            tensor.external_data.add(key="offset", value=str(stored.offset_bytes))
            tensor.external_data.add(key="length", value=str(stored.length_bytes))
            self._initializers[name] = tensor
        return name

    def model(self, metadata: Mapping[str, str]) -> onnx.ModelProto:
        """The finished model, with `metadata` and the tool's version in its `metadata_props`."""
        weights = list(self._initializers.values())
        graph = helper.make_graph(
            self._nodes, self._name, self._inputs, self._outputs, initializer=weights
        )
        opsets = [helper.make_opsetid("", OPSET)]
        if any(node.domain == CONTRIB_DOMAIN for node in self._nodes):
            opsets.append(helper.make_opsetid(CONTRIB_DOMAIN, 1))
        model = helper.make_model(
            graph,
            opset_imports=opsets,
            ir_version=IR_VERSION,
            producer_name="vacc-gen",
            producer_version=version("vacc-gen"),
        )
        helper.set_model_props(model, {"vacc_gen.version": model.producer_version, **metadata})
        return model
