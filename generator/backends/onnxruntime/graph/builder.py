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
    StoredTensor,
)

OPSET = 17
"""The first with LayerNormalization; also what the vendor's pinned ONNX Runtime 1.13 reads."""

IR_VERSION = 8
"""The IR of opset 17: a newer one is refused by runtimes that know no newer opset."""

CONTRIB_DOMAIN = "com.microsoft"
"""ONNX Runtime's own operators, used where weights are int, and by graphs that it runs for us."""


class GraphBuilder:
    """Collects nodes in order. Every method that adds a node returns the name of its output.

    `is_half`: whether the graph's own dtype is fp16; else it is fp32.
    """

    def __init__(self, name: str, is_half: bool) -> None:
        self.dtype = TensorProto.FLOAT16 if is_half else TensorProto.FLOAT
        self.numpy_dtype = np.float16 if is_half else np.float32
        self._graph = onnx.GraphProto(name=name)
        self._initializers: set[str] = set()
        self._places: dict[int | str, tuple[str, int]] = {}
        """An input, and which of its dimensions, by size."""
        self._sizes: dict[str, str] = {}
        """Values that hold an axis's size, or a shape."""

    def input(self, name: str, element_type: int, shape: Sequence[int | str]) -> None:
        """Declare a graph input; a string dimension is symbolic."""
        self._graph.input.append(helper.make_tensor_value_info(name, element_type, shape))
        for dimension, size in enumerate(shape):
            self._places.setdefault(size, (name, dimension))

    def output(self, name: str, element_type: int, shape: Sequence[int | str]) -> None:
        self._graph.output.append(helper.make_tensor_value_info(name, element_type, shape))

    def node(
        self,
        op: str,
        *inputs: str,
        name: str,
        domain: str = "",
        others: Sequence[str] = (),
        **attributes: Any,
    ) -> str:
        """Add a node whose first output is called as the node is, and `others` as they say."""
        outputs = [name, *others]
        node = helper.make_node(op, inputs, outputs, name=name, domain=domain, **attributes)
        self._graph.node.append(node)
        return name

    def split(self, value: str, axis: int, names: Sequence[str], *sizes: int) -> list[str]:
        """Split `value` into parts of `sizes`, or of one size where none are given."""
        inputs = [value, self.ints(*sizes)] if sizes else [value]
        node = helper.make_node("Split", inputs, names, name=names[0], axis=axis)
        self._graph.node.append(node)
        return list(names)

    def constant(self, name: str, values: Any, dtype: Any) -> str:
        """Add a small constant, once; `name` must always mean the same values."""
        if name not in self._initializers:
            self._initialize(numpy_helper.from_array(np.asarray(values, dtype=dtype), name))
        return name

    def _initialize(self, tensor: TensorProto) -> None:
        self._initializers.add(tensor.name)
        self._graph.initializer.append(tensor)

    def ints(self, *values: int) -> str:
        """A constant int64 vector, of sizes or axes; equal ones are shared."""
        return self.constant(f"ints_{'_'.join(map(str, values))}", values, np.int64)

    def size(self, axis: int | str) -> int | str:
        """An axis's size where it is known, or else the value (1) that holds it."""
        if isinstance(axis, int):
            return axis
        if axis not in self._sizes:
            value, first = self._places[axis]
            name = axis.replace(" ", "")
            self._sizes[axis] = self.node("Shape", value, name=name, start=first, end=first + 1)
        return self._sizes[axis]

    def shape(self, *sizes: int | str) -> str:
        """A shape of numbers and values (1), for Reshape."""
        if all(isinstance(size, int) for size in sizes):
            return self.ints(*map(int, sizes))
        name = f"shape_{'_'.join(map(str, sizes))}"
        if name not in self._sizes:
            parts = [self.ints(size) if isinstance(size, int) else size for size in sizes]
            self._sizes[name] = self.node("Concat", *parts, name=name, axis=0)
        return name

    def widened(self, value: str) -> str:
        """A value of the graph's dtype as fp32."""
        return value if self.dtype == TensorProto.FLOAT else self._cast(value, TensorProto.FLOAT)

    def narrowed(self, value: str) -> str:
        """A value of fp32 in the graph's dtype."""
        return value if self.dtype == TensorProto.FLOAT else self._cast(value, self.dtype)

    def _cast(self, value: str, dtype: int) -> str:
        name = f"{value}/{'fp32' if dtype == TensorProto.FLOAT else 'fp16'}"
        return self.node("Cast", value, name=name, to=dtype)

    def weight(
        self, stored: StoredTensor, name: str | None = None, shape: Sequence[int] | None = None
    ) -> str:
        """Refer to a tensor of the weights file; `name` and `shape` give another view of it."""
        name = name or stored.name
        if name not in self._initializers:
            tensor = TensorProto(
                name=name,
                data_type=helper.np_dtype_to_tensor_dtype(np.dtype(stored.dtype)),
                dims=stored.shape if shape is None else shape,
                data_location=TensorProto.EXTERNAL,
            )
            tensor.external_data.add(key="location", value=WEIGHTS_FILE)
            tensor.external_data.add(key="offset", value=str(stored.offset_bytes))
            tensor.external_data.add(key="length", value=str(stored.length_bytes))
            self._initialize(tensor)
        return name

    def model(self, metadata: Mapping[str, str]) -> onnx.ModelProto:
        """The finished model, with `metadata` and the tool's version in its `metadata_props`."""
        opsets = [helper.make_opsetid("", OPSET)]
        if any(node.domain == CONTRIB_DOMAIN for node in self._graph.node):
            opsets.append(helper.make_opsetid(CONTRIB_DOMAIN, 1))
        model = helper.make_model(
            self._graph,
            opset_imports=opsets,
            ir_version=IR_VERSION,
            producer_name="vacc-gen",
            producer_version=version("vacc-gen"),
        )
        helper.set_model_props(model, {"vacc_gen.version": model.producer_version, **metadata})
        return model
