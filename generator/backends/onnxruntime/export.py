"""Export: a checkpoint to ONNX graphs that share one weights file.

With lengths, `prefill.onnx` and `decode.onnx` (static, batch 1); without, one dynamic `model.onnx`,
in the form that ONNX Runtime GenAI runs where it is to be deployed.
No moment holds the model: the graphs are emitted from the architecture, and the weights streamed.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from vacc_gen.generator.backends.onnxruntime.deployment import (
    GENAI_FILE,
    MODEL_GRAPH,
    end_tokens_of,
    genai_config,
)
from vacc_gen.generator.backends.onnxruntime.weights.quantize import Quantizer, grids_for
from vacc_gen.generator.backends.onnxruntime.weights.source import Checkpoint
from vacc_gen.generator.backends.onnxruntime.weights.weight_file import (
    WEIGHTS_FILE,
    Dtype,
    Layout,
    plan_layout,
    write_weights,
)
from vacc_gen.generator.extras import load
from vacc_gen.generator.files import naming, room_for, staged_folder
from vacc_gen.generator.progress import Progress, SilentProgress
from vacc_gen.schema.errors import UsageError
from vacc_gen.schema.json_files import MANIFEST_FILE
from vacc_gen.schema.precision import Precision, Quantization
from vacc_gen.schema.recipe import lengths_problem

PREFILL_GRAPH, DECODE_GRAPH = "prefill.onnx", "decode.onnx"

SIDE_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
)
"""Copied beside the graphs where the checkpoint has them, so that the folder runs by itself."""

EXPORTED_FILES = frozenset(
    (PREFILL_GRAPH, DECODE_GRAPH, MODEL_GRAPH, GENAI_FILE, WEIGHTS_FILE, MANIFEST_FILE, *SIDE_FILES)
)
"""All that a replaced folder may hold: anything else is the user's own."""

DTYPES: dict[Precision, Dtype] = {
    Precision.FP16: "fp16",
    Precision.INT8: "int8",
    Precision.INT4: "int4",
}
"""What weights are stored as in a build of each precision."""

BITS: dict[Dtype, int] = {"int8": 8, "int4": 4}
"""Of a weight, where weights are quantized."""


@dataclass(frozen=True)
class Lengths:
    """Static lengths in tokens: of the prompt, and of prompt and answer together."""

    prefill: int
    total: int

    def __post_init__(self) -> None:
        problem = lengths_problem(self.prefill, self.total)
        if problem is not None:
            raise UsageError(problem)


@dataclass(frozen=True)
class Deployment:
    """One graph for any number of tokens, whose texts have at most `total`."""

    total: int


@dataclass(frozen=True)
class ExportPlan:
    """What an export writes, known before it does."""

    layout: Layout
    """Where each tensor lies in the weights file."""
    graphs: Mapping[str, bytes]
    """And what tells a runtime about them, by the names of their files."""
    side_files: tuple[Path, ...]
    """Those of the checkpoint that are copied."""

    @property
    def total_bytes(self) -> int:
        """Of everything that is written."""
        beside = sum(map(len, self.graphs.values()))
        beside += sum(file.stat().st_size for file in self.side_files)
        return self.layout.total_bytes + beside

    def is_written(self, folder: Path) -> bool:
        """Whether a folder, which appears whole or not at all, is what this export writes."""
        sizes = {WEIGHTS_FILE: self.layout.total_bytes}
        sizes |= {file.name: file.stat().st_size for file in self.side_files}
        return (
            {path.name for path in folder.iterdir()} == {*sizes, *self.graphs}
            and all((folder / name).stat().st_size == size for name, size in sizes.items())
            and all((folder / name).read_bytes() == graph for name, graph in self.graphs.items())
        )


@dataclass(frozen=True)
class ExportResult:
    graphs: tuple[Path, ...]
    weights: Path
    layout: Layout
    overflowed: dict[str, int]
    """How many values became infinite, by parameter."""

    @property
    def warnings(self) -> list[str]:
        return [
            f"{count} values of {name} are beyond 65504, the largest of fp16, and became infinite"
            for name, count in self.overflowed.items()
        ]


def plan_export(
    checkpoint: Checkpoint,
    dtype: Dtype,
    lengths: Lengths | Deployment | None = None,
    quantization: Quantization | None = None,
) -> ExportPlan:
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
    from vacc_gen.generator.backends.onnxruntime.graph.falcon import (
        DYNAMIC_AXES,
        falcon_graph,
        runtime_axes,
    )
    from vacc_gen.generator.backends.onnxruntime.graph.positions import Axes

    architecture = checkpoint.architecture
    axes_by_name = {MODEL_GRAPH: DYNAMIC_AXES}
    if isinstance(lengths, Lengths):
        # A prompt, padded, without a past; one token after a cache of all other slots.
        axes_by_name = {
            PREFILL_GRAPH: Axes(1, lengths.prefill, None, lengths.prefill, last_only=True),
            DECODE_GRAPH: Axes(1, 1, lengths.total - 1, lengths.total, last_only=True),
        }
    elif lengths is not None:
        axes_by_name = {MODEL_GRAPH: runtime_axes(architecture)}
    quantization = quantization or Quantization()
    is_deployed = isinstance(lengths, Deployment)
    layout = planned_layout(checkpoint, dtype, quantization, packed=is_deployed)
    properties = {"vacc_gen.checkpoint": checkpoint.folder.fingerprint()}
    graphs = {
        name: falcon_graph(
            name.removesuffix(".onnx"),
            architecture,
            layout,
            axes,
            quantization.activations,
            properties,
        ).SerializeToString(deterministic=True)
        for name, axes in axes_by_name.items()
    }
    if isinstance(lengths, Deployment):
        ends = end_tokens_of(checkpoint.folder.path)
        graphs[GENAI_FILE] = genai_config(architecture, lengths.total, ends, dtype).encode()
    side_files = (checkpoint.folder.path / name for name in SIDE_FILES)
    return ExportPlan(layout, graphs, tuple(file for file in side_files if file.is_file()))


def planned_layout(
    checkpoint: Checkpoint, dtype: Dtype, quantization: Quantization, *, packed: bool = False
) -> Layout:
    """The layout of weights.bin for `checkpoint`, without reading or writing any value."""
    architecture, grids = checkpoint.architecture, None
    if dtype in BITS:
        grids = grids_for(architecture, BITS[dtype], quantization)
    return plan_layout(architecture, dtype, grids, packed=packed)


def export_graphs(
    checkpoint: Checkpoint,
    out_dir: Path,
    *,
    dtype: Dtype,
    lengths: Lengths | Deployment | None = None,
    quantization: Quantization | None = None,
    quantizer: Quantizer | None = None,
    progress: Progress | None = None,
    force: bool = False,
) -> ExportResult:
    """Write graphs, weights and the tokenizer's files of `checkpoint` into `out_dir`.

    The folder appears complete or not at all. `quantization` and `quantizer` (round to nearest
    unless another is given) matter for int8 and int4 only. An `out_dir` that is not empty is
    refused, unless it is this very export; with `force`, one that holds an earlier export is
    replaced.

    Raises:
        MissingExtraError: torch or onnx cannot be used.
        UsageError: `out_dir` is in use, or holds the checkpoint.
        CheckpointError: the checkpoint cannot be read, no group size divides its widths, or it
            holds NaN or infinity.
        StageError: there is not enough disk space; nothing was written.
    """
    plan = plan_export(checkpoint, dtype, lengths, quantization)
    paths = tuple(out_dir / name for name in plan.graphs)
    # A process that was killed just after the last rename has left the whole export. Values of the
    # checkpoint may have changed since without a trace in its fingerprint, but not in its files.
    shards = {tensor.path for tensor in checkpoint.tensors.values()}
    if not force and out_dir.is_dir() and plan.is_written(out_dir) and _is_newer(paths, shards):
        return ExportResult(paths, out_dir / WEIGHTS_FILE, plan.layout, {})
    checkpoint.check_head()
    progress = progress or SilentProgress()
    _refuse_used_folder(out_dir, checkpoint.folder.path, force)
    with room_for(out_dir, plan.total_bytes), staged_folder(out_dir) as folder:
        for file in plan.side_files:
            with naming(folder / file.name):
                shutil.copyfile(file, folder / file.name)
        progress.start(f"weights to {plan.layout.dtype}", checkpoint.folder.tensor_bytes)
        quantizer = quantizer or Quantizer(checkpoint)
        weights = folder / WEIGHTS_FILE
        with naming(weights):
            overflowed = write_weights(weights, plan.layout, checkpoint, quantizer, progress)
        for name, graph in plan.graphs.items():
            with naming(folder / name):
                (folder / name).write_bytes(graph)
        if isinstance(lengths, Deployment):
            from vacc_gen.generator.backends.onnxruntime.packing import pack

            pack(folder, plan.layout, progress)
    return ExportResult(paths, out_dir / WEIGHTS_FILE, plan.layout, overflowed)


def _is_newer(files: Iterable[Path], others: Iterable[Path]) -> bool:
    written = min(file.stat().st_mtime_ns for file in files)
    return written > max(other.stat().st_mtime_ns for other in others)


def _refuse_used_folder(out_dir: Path, checkpoint: Path, force: bool) -> None:
    if checkpoint.resolve().is_relative_to(out_dir.resolve()):
        raise UsageError(f"{out_dir} holds the checkpoint itself", "choose another folder")
    if out_dir.exists() and not out_dir.is_dir():
        raise UsageError(f"{out_dir} is a file, not a folder")
    present = sorted(file.name for file in out_dir.iterdir()) if out_dir.is_dir() else []
    if present and not force:
        raise UsageError(
            f"{out_dir} is not empty", "choose another folder, or replace this one with --force"
        )
    strangers = [name for name in present if name not in EXPORTED_FILES]
    if strangers:
        raise UsageError(
            f"{out_dir} holds files that no export wrote: {', '.join(strangers[:3])}",
            "choose another folder, or move them away: --force replaces earlier exports only",
        )
