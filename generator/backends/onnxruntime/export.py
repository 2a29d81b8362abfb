"""Export: a checkpoint to ONNX graphs that share one weights file.

With lengths, `prefill.onnx` and `decode.onnx` (static, batch 1); without, one dynamic `model.onnx`,
in the form that ONNX Runtime GenAI runs where it is to be deployed.
No moment holds the model: the graphs are emitted from the architecture, and the weights streamed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from vacc_gen.generator.backends.base import Build
from vacc_gen.generator.backends.onnxruntime.deployment import (
    ERRORS_ONLY,
    GENAI_FILE,
    MODEL_GRAPH,
    WEIGHTS_FOLDER,
    genai_config,
)
from vacc_gen.generator.backends.onnxruntime.weights.quantize import Quantizer, grids_for
from vacc_gen.generator.backends.onnxruntime.weights.source import Checkpoint, checkpoint_of
from vacc_gen.generator.backends.onnxruntime.weights.weight_file import (
    ALIGNMENT_BYTES,
    WEIGHTS_FILE,
    Dtype,
    Layout,
    StoredTensor,
    plan_layout,
    write_weights,
)
from vacc_gen.generator.extras import load
from vacc_gen.generator.files import naming, room_for, staged_folder
from vacc_gen.generator.plan import CompileJob
from vacc_gen.generator.progress import Progress
from vacc_gen.schema.errors import StageError, UsageError, first_few
from vacc_gen.schema.json_files import MANIFEST_FILE, file_names
from vacc_gen.schema.precision import Precision
from vacc_gen.schema.recipe import Quantization, lengths_problem

PREFILL_GRAPH, DECODE_GRAPH = "prefill.onnx", "decode.onnx"

SIDE_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
)
"""Copied beside the graphs where the checkpoint has them, so that the folder runs by itself."""

FORMER_FILES = ("tokenizer.model", "vocab.json", "merges.txt")
"""Copied by version 0.2.0, too."""

EXPORTED_FILES = frozenset(
    (PREFILL_GRAPH, DECODE_GRAPH, MODEL_GRAPH, GENAI_FILE, WEIGHTS_FILE, MANIFEST_FILE)
    + (SIDE_FILES + FORMER_FILES)
)
"""All that a replaced folder may hold: anything else is the user's own."""

DTYPES: dict[Precision, Dtype] = {
    Precision.FP16: "fp16",
    Precision.INT8: "int8",
    Precision.INT4: "int4",
}
"""What weights are stored as in a build of each precision."""

PACKING = {
    "session.optimized_model_external_initializers_file_name": WEIGHTS_FILE,
    "session.optimized_model_external_initializers_min_size_in_bytes": "1024",
    "session.save_external_prepacked_constant_initializers": "1",
}
"""Settings with which a session writes what it has packed beside its optimized graph."""

PACKED_OPERATORS = ("MatMulIntegerToFloat", "MatMulNBits")
PACKED_ENTRY = "prepacked_0"
"""A key of an initializer's external data, as ONNX Runtime writes it, with the value
`<operator>+<hash of the packed bytes>|<offset>;<length>;<checksum>|...`."""


@dataclass(frozen=True)
class Lengths:
    """Static lengths in tokens: of the prompt, and of prompt and answer together."""

    prefill: int
    total: int

    def __post_init__(self) -> None:
        if problem := lengths_problem(self.prefill, self.total):
            raise UsageError(problem)


@dataclass(frozen=True)
class Deployment:
    """One graph for any number of tokens, whose texts have at most `total`."""

    total: int


@dataclass(frozen=True)
class Export:
    """What is written of a checkpoint, known before it is."""

    checkpoint: Checkpoint
    quantization: Quantization
    layout: Layout
    """Where each tensor lies in the weights file."""
    files: Mapping[str, bytes]
    """All others by their names: graphs, what tells a runtime about them, those that are copied."""

    @property
    def total_bytes(self) -> int:
        return self.layout.total_bytes + sum(map(len, self.files.values()))

    def write(
        self,
        out_dir: Path,
        *,
        quantizer: Quantizer | None = None,
        progress: Progress | None = None,
        force: bool = False,
    ) -> dict[str, int]:
        """Write all of it into `out_dir`; return how many values became infinite, by parameter.

        The folder appears complete or not at all. Weights of int8 and int4 are rounded to nearest
        unless a `quantizer` is given. An `out_dir` that is not empty is refused, unless it is this
        very export; with `force`, one that holds an earlier export is replaced.

        Raises:
            UsageError: `out_dir` is in use, or holds the checkpoint.
            UnreadableError: it is not a folder.
            CheckpointError: the checkpoint cannot be read, or holds NaN or infinity.
            StageError: there is not enough disk space; nothing was written.
        """
        # A process that was killed just after the last rename has left the whole export.
        if not force and self._is_written(out_dir):
            return {}
        checkpoint, progress = self.checkpoint, progress or Progress()
        checkpoint.check_head()
        _refuse_used_folder(out_dir, checkpoint.folder.path, force)
        with room_for(out_dir, self.total_bytes), staged_folder(out_dir) as folder:
            progress.start(f"weights to {self.layout.dtype}", checkpoint.folder.tensor_bytes)
            weights = folder / WEIGHTS_FILE
            quantizer = quantizer or Quantizer(checkpoint)
            with naming(weights):
                overflowed = write_weights(weights, self.layout, checkpoint, quantizer, progress)
            for name, content in self.files.items():
                with naming(folder / name):
                    (folder / name).write_bytes(content)
            if GENAI_FILE in self.files:
                _pack_matrices(folder, self.layout, progress)
        return overflowed

    def _is_written(self, folder: Path) -> bool:
        """Whether a folder, which appears whole or not at all, is what this writes."""
        names = {WEIGHTS_FILE, *self.files}
        if not folder.is_dir() or {path.name for path in folder.iterdir()} != names:
            return False
        # Values may have changed without a trace in the fingerprint, but not in the files' times.
        shards = {tensor.path for tensor in self.checkpoint.tensors.values()}
        newest = max(shard.stat().st_mtime_ns for shard in shards)
        is_newer = (folder / WEIGHTS_FILE).stat().st_mtime_ns > newest
        return is_newer and all((folder / n).read_bytes() == self.files[n] for n in self.files)


def _refuse_used_folder(out_dir: Path, checkpoint: Path, force: bool) -> None:
    if checkpoint.resolve().is_relative_to(out_dir.resolve()):
        raise UsageError(f"{out_dir} holds the checkpoint itself", "choose another folder")
    present = file_names(out_dir) if out_dir.exists() else []
    if present and not force:
        raise UsageError(
            f"{out_dir} is not empty", "choose another folder, or replace this one with --force"
        )
    strangers = [name for name in present if name not in EXPORTED_FILES]
    if strangers:
        raise UsageError(
            f"{out_dir} holds files that no export wrote: {first_few(strangers)}",
            "choose another folder, or move them away: --force replaces earlier exports only",
        )


def overflow_warnings(overflowed: Mapping[str, int]) -> list[str]:
    """Say what `Export.write` returned."""
    return [
        f"{count} values of {name} are beyond 65504, the largest of fp16, and became infinite"
        for name, count in overflowed.items()
    ]


# --- plan -----------------------------------------------------------------------------------


def plan_export(
    checkpoint: Checkpoint,
    dtype: Dtype,
    lengths: Lengths | Deployment | None = None,
    quantization: Quantization | None = None,
) -> Export:
    """Lay out an export of `checkpoint`, without reading any value but a sample.

    Each graph carries the tool's version and the checkpoint's fingerprint in its `metadata_props`.

    Raises:
        MissingExtraError: torch or onnx cannot be used.
        CheckpointError: no group size divides the checkpoint's widths.
        UsageError: the lengths are beyond the model's.
    """
    longest = checkpoint.architecture.geometry.max_positions
    if lengths is not None and lengths.total > longest:
        raise UsageError(
            f"the total is {lengths.total} tokens, the model was made for {longest}",
            f"`max_position_embeddings` of its config.json is the most: --total {longest}",
        )
    load("export", "numpy", "onnx", "torch")
    from vacc_gen.generator.backends.onnxruntime.graph import falcon
    from vacc_gen.generator.backends.onnxruntime.graph.attention import Axes

    architecture, quantization = checkpoint.architecture, quantization or Quantization()
    all_axes = {MODEL_GRAPH: falcon.DYNAMIC_AXES}
    if isinstance(lengths, Deployment):
        all_axes = {MODEL_GRAPH: falcon.runtime_axes(architecture)}
    elif lengths is not None:
        # A prompt, padded, without a past; one token after a cache of all other slots.
        all_axes = {
            PREFILL_GRAPH: Axes(1, lengths.prefill, None, lengths.prefill, last_only=True),
            DECODE_GRAPH: Axes(1, 1, lengths.total - 1, lengths.total, last_only=True),
        }
    bits, grids = {"int8": 8, "int4": 4}.get(dtype), None
    if bits is not None:
        grids = grids_for(architecture, bits, quantization)
    layout = plan_layout(architecture, dtype, grids, packed=isinstance(lengths, Deployment))
    properties = {"vacc_gen.checkpoint": checkpoint.folder.fingerprint()}
    options = (quantization.activations, properties)
    side_files = (checkpoint.folder.path / name for name in SIDE_FILES)
    files = {file.name: file.read_bytes() for file in side_files if file.is_file()}
    for name, axes in all_axes.items():
        graph = falcon.falcon_graph(Path(name).stem, architecture, layout, axes, *options)
        files[name] = graph.SerializeToString(deterministic=True)
    if isinstance(lengths, Deployment):
        files[GENAI_FILE] = genai_config(checkpoint, lengths.total, dtype).encode()
    return Export(checkpoint, quantization, layout, files)


def plan_job(build: Build, job: CompileJob) -> Export:
    """What a build deploys for `job`; raises as `plan_export`."""
    lengths, quantization = (
        Deployment(build.plan.recipe.target.total),
        build.plan.recipe.quantization,
    )
    return plan_export(checkpoint_of(build.weights), DTYPES[job.precision], lengths, quantization)


# --- packed weights -------------------------------------------------------------------------


def _pack_matrices(folder: Path, layout: Layout, progress: Progress) -> None:
    """Pack the int matrices of a deployed folder where its layout has room, and name them there.

    A session packs each matrix for the processor's instructions. Where the graph names a packed
    form in the weights file, and it is what is packed here, byte for byte, the session maps that
    instead of keeping its own: processes share it, and a token takes a fifth less time. Where
    another kind of processor packs otherwise, it keeps its own.
    One matrix is in memory at a time, and once more on the disk.
    """
    import onnx

    model = onnx.load(folder / MODEL_GRAPH, load_external_data=False)
    nodes = [node for node in model.graph.node if node.op_type in PACKED_OPERATORS]
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
                codes.external_data.add(key=PACKED_ENTRY, value=entry)
            progress.advance(room.length_bytes)
    (folder / MODEL_GRAPH).write_bytes(model.SerializeToString(deterministic=True))


def _pack(
    folder: Path, node: Any, initializers: Mapping[str, Any], file: BinaryIO, room: StoredTensor
) -> str | None:
    """Write the packed form of a node's matrix to its room; return its entry, None if too long."""
    import onnx
    import onnxruntime

    with tempfile.TemporaryDirectory(prefix="packing.", dir=folder) as place:
        packed = Path(place, MODEL_GRAPH)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = ERRORS_ONLY
        options.intra_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.optimized_model_filepath = str(packed)
        for key, value in {**PACKING, WEIGHTS_FOLDER: str(folder)}.items():
            options.add_session_config_entry(key, value)
        part = _model_of(node, initializers).SerializeToString()
        try:
            onnxruntime.InferenceSession(part, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime's exceptions share no public base
            packed.write_bytes(bytes(room.length_bytes))  # where the disk is at fault, says how
            raise StageError(f"ONNX Runtime cannot pack {room.name}: {error}") from error
        saved = onnx.load(packed, load_external_data=False).graph.initializer
        data = next(tensor.external_data for tensor in saved if tensor.name == node.input[1])
        entries = [entry.value for entry in data if entry.key == PACKED_ENTRY]
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
