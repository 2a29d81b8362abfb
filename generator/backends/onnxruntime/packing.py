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

from vacc_gen.generator.backends.onnxruntime.deployment import (
    ERRORS_ONLY,
    MODEL_GRAPH,
    WEIGHTS_FOLDER,
)
from vacc_gen.generator.backends.onnxruntime.weights.weight_file import (
    ALIGNMENT_BYTES,
    WEIGHTS_FILE,
    Layout,
    StoredTensor,
)
from vacc_gen.generator.files import naming
from vacc_gen.generator.progress import Progress
from vacc_gen.schema.errors import StageError

OPERATORS = ("MatMulIntegerToFloat", "MatMulNBits")
ENTRY = "prepacked_0"
"""A key of an initializer's external data, as ONNX Runtime writes it, with the value
`<operator>+<hash of the packed bytes>|<offset>;<length>;<checksum>|...`."""


def pack(folder: Path, layout: Layout, progress: Progress) -> None:
    """Pack the int matrices of a deployed folder where its layout has room, and name them there.

    One matrix is in memory at a time, and once more on the disk.

    Raises:
        StageError: ONNX Runtime cannot pack one; the disk may be full.
        OSError: the disk is full.
    """
    import onnx

    model = onnx.load(folder / MODEL_GRAPH, load_external_data=False)
    nodes = [node for node in model.graph.node if node.op_type in OPERATORS]
    if not nodes:
        return
    rooms = {name: tensor for name, tensor in layout.tensors.items() if name.endswith(".packed")}
    total_bytes = sum(room.length_bytes for room in rooms.values())
    progress.start("pack weights for this processor", total_bytes)
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    weights = folder / WEIGHTS_FILE
    with naming(weights), weights.open("r+b") as file:
        for node in nodes:
            codes = initializers[node.input[1]]
            name = codes.name.removesuffix(".blocks").removesuffix(".codes")
            room = rooms[f"{name}.packed"]
            entry = _pack(folder, node, initializers, file, room)
            if entry is not None:
                codes.external_data.add(key=ENTRY, value=entry)
            progress.advance(room.length_bytes)
    (folder / MODEL_GRAPH).write_bytes(model.SerializeToString(deterministic=True))


def _pack(
    folder: Path,
    node: Any,
    initializers: Mapping[str, Any],
    file: BinaryIO,
    room: StoredTensor,
) -> str | None:
    """Write the packed form of a node's matrix to its room; return its entry, None if too long."""
    import onnx
    import onnxruntime

    with tempfile.TemporaryDirectory(prefix="packing.", dir=folder) as name:
        packed = Path(name, MODEL_GRAPH)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = ERRORS_ONLY
        options.intra_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.optimized_model_filepath = str(packed)
        options.add_session_config_entry(WEIGHTS_FOLDER, str(folder))
        for key, value in (
            ("optimized_model_external_initializers_file_name", WEIGHTS_FILE),
            ("optimized_model_external_initializers_min_size_in_bytes", "1024"),
            ("save_external_prepacked_constant_initializers", "1"),
        ):
            options.add_session_config_entry(f"session.{key}", value)
        part = _model_of(node, initializers).SerializeToString()
        try:
            onnxruntime.InferenceSession(part, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime's exceptions share no public base
            packed.write_bytes(bytes(room.length_bytes))  # where the disk is at fault, says how
            raise StageError(f"ONNX Runtime cannot pack {room.name}: {error}") from error
        (saved,) = (
            tensor
            for tensor in onnx.load(packed, load_external_data=False).graph.initializer
            if tensor.name == node.input[1]
        )
        entries = [entry.value for entry in saved.external_data if entry.key == ENTRY]
        with packed.with_name(WEIGHTS_FILE).open("rb") as source:
            return _moved(entries[0], source, file, room) if entries else None


def _moved(entry: str, source: BinaryIO, target: BinaryIO, room: StoredTensor) -> str | None:
    """Copy what an entry names in `source` to its room, and return the entry for there."""
    key, *places = entry.split("|")
    moved, at = [key], room.offset_bytes
    for place in places:
        offset, length, checksum = place.split(";")
        source.seek(int(offset))
        at = -(-at // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
        if at + int(length) > room.offset_bytes + room.length_bytes:
            return None
        target.seek(at)
        target.write(source.read(int(length)))
        moved.append(f"{at};{length};{checksum}")
        at += int(length)
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
