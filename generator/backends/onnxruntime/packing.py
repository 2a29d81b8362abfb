"""Packed weights: what ONNX Runtime makes of int weights when it loads them, kept in weights.bin.

A session packs each matrix for the processor's instructions. Where the graph names a packed form in
the weights file, and it is what is packed here, byte for byte, the session maps that instead of
keeping its own: processes share it, a token takes a fifth less time, and only activations are in
memory of the process. Where another kind of processor packs otherwise, it keeps its own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from vacc_gen.generator.backends.onnxruntime.deployment import MODEL_GRAPH
from vacc_gen.generator.backends.onnxruntime.session import ERRORS_ONLY
from vacc_gen.generator.backends.onnxruntime.weights.weight_file import (
    ALIGNMENT_BYTES,
    WEIGHTS_FILE,
    Layout,
)
from vacc_gen.generator.files import naming
from vacc_gen.generator.progress import Progress

OPERATORS = ("MatMulIntegerToFloat", "MatMulNBits")
ENTRY = "prepacked_"
"""Keys of an initializer's external data, as ONNX Runtime writes them: `prepacked_0` and so on,
each `<operator>+<hash of the packed bytes>|<offset>;<length>;<checksum>|...`."""

COPY_BYTES = 8 << 20


def packed_bytes(layout: Layout) -> int:
    """Disk that `append_packed` takes, at most: scales and sums stand beside the codes."""
    return sum(
        layout.tensors[f"{name}.codes"].length_bytes
        + 2 * layout.tensors[f"{name}.scales"].length_bytes
        + 4 * ALIGNMENT_BYTES
        for name in layout.grids
    )


def append_packed(folder: Path, progress: Progress) -> None:
    """Pack the int matrices of a deployed folder, and name their packed forms in its graph.

    One matrix is in memory, and twice on the disk, at a time.

    Raises:
        OSError: the disk is full.
    """
    import onnx

    model = onnx.load(folder / MODEL_GRAPH, load_external_data=False)
    nodes = [node for node in model.graph.node if node.op_type in OPERATORS]
    if not nodes:
        return
    progress.start("pack weights for this processor", (folder / WEIGHTS_FILE).stat().st_size)
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    weights = folder / WEIGHTS_FILE
    with naming(weights), weights.open("r+b") as file:
        for node in nodes:
            codes = initializers[node.input[1]]
            for key, value in _pack(folder, node, initializers, file).items():
                codes.external_data.add(key=key, value=value)
            progress.advance(sum(int(e.value) for e in codes.external_data if e.key == "length"))
    (folder / MODEL_GRAPH).write_bytes(model.SerializeToString(deterministic=True))


def _pack(
    folder: Path, node: Any, initializers: Mapping[str, Any], file: BinaryIO
) -> dict[str, str]:
    """Append the packed forms of one node's matrix to `file`; return their entries."""
    import onnx
    import onnxruntime

    with tempfile.TemporaryDirectory(prefix="packing.", dir=folder) as name:
        # External data must lie in the folder of the graph that names it.
        part, packed = folder / f"{Path(name).name}.onnx", Path(name, MODEL_GRAPH)
        part.write_bytes(_model_of(node, initializers).SerializeToString())
        options = onnxruntime.SessionOptions()
        options.log_severity_level = ERRORS_ONLY
        options.intra_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.optimized_model_filepath = str(packed)
        for key, value in (
            ("optimized_model_external_initializers_file_name", WEIGHTS_FILE),
            ("optimized_model_external_initializers_min_size_in_bytes", "1024"),
            ("save_external_prepacked_constant_initializers", "1"),
        ):
            options.add_session_config_entry(f"session.{key}", value)
        try:
            onnxruntime.InferenceSession(part, options, providers=["CPUExecutionProvider"])
        finally:
            part.unlink()
        saved = onnx.load(packed, load_external_data=False).graph.initializer
        entries = {
            entry.key: entry.value
            for tensor in saved
            if tensor.name == node.input[1]
            for entry in tensor.external_data
            if entry.key.startswith(ENTRY)
        }
        with packed.with_name(WEIGHTS_FILE).open("rb") as source:
            return {key: _moved(value, source, file) for key, value in entries.items()}


def _moved(entry: str, source: BinaryIO, target: BinaryIO) -> str:
    """Append what an entry names in `source` to `target`, and return the entry for there."""
    key, *places = entry.split("|")
    moved = [key]
    for place in places:
        offset, length, checksum = place.split(";")
        source.seek(int(offset))
        end = target.seek(0, 2)
        start = target.seek(-(-end // ALIGNMENT_BYTES) * ALIGNMENT_BYTES)
        left = int(length)
        while left:
            left -= target.write(source.read(min(left, COPY_BYTES)))
        moved.append(f"{start};{length};{checksum}")
    return "|".join(moved)


def _model_of(node: Any, initializers: Mapping[str, Any]) -> Any:
    """A model of one node alone."""
    from onnx import TensorProto, helper

    kind = TensorProto.UINT8 if node.op_type == "MatMulIntegerToFloat" else TensorProto.FLOAT
    value = helper.make_tensor_value_info(node.input[0], kind, None)
    product = helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)
    known = [initializers[name] for name in node.input[1:] if name]
    graph = helper.make_graph([node], "packing", [value], [product], initializer=known)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)
