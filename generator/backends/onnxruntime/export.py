"""Export: a checkpoint to ONNX graphs that share one weights file.

With lengths, `prefill.onnx` and `decode.onnx` (static, batch 1); without, one dynamic `model.onnx`,
in the form that ONNX Runtime GenAI runs where it is to be deployed.
No moment holds the model: the graphs are emitted from the architecture, and the weights streamed.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vacc_gen.generator.backends.onnxruntime.deployment import (
    GENAI_FILE,
    MODEL_GRAPH,
    end_tokens_of,
    genai_config,
)
from vacc_gen.generator.backends.onnxruntime.packing import pack
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
from vacc_gen.schema.artifacts import MANIFEST_FILE
from vacc_gen.schema.errors import UsageError, first_few
from vacc_gen.schema.json_files import file_names
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
class Export:
    """What is written of a checkpoint, known before it is."""

    checkpoint: Checkpoint
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
        checkpoint, progress = self.checkpoint, progress or SilentProgress()
        checkpoint.check_head()
        _refuse_used_folder(out_dir, checkpoint.folder.path, force)
        with room_for(out_dir, self.total_bytes), staged_folder(out_dir) as folder:
            for file in self.side_files:
                with naming(folder / file.name):
                    shutil.copyfile(file, folder / file.name)
            progress.start(f"weights to {self.layout.dtype}", checkpoint.folder.tensor_bytes)
            weights = folder / WEIGHTS_FILE
            quantizer = quantizer or Quantizer(checkpoint)
            with naming(weights):
                overflowed = write_weights(weights, self.layout, checkpoint, quantizer, progress)
            for name, graph in self.graphs.items():
                with naming(folder / name):
                    (folder / name).write_bytes(graph)
            if GENAI_FILE in self.graphs:
                pack(folder, self.layout, progress)
        return overflowed

    def _is_written(self, folder: Path) -> bool:
        """Whether a folder, which appears whole or not at all, is what this writes."""
        names = {WEIGHTS_FILE, *self.graphs, *(file.name for file in self.side_files)}
        if not folder.is_dir() or {path.name for path in folder.iterdir()} != names:
            return False
        # Values may have changed without a trace in the fingerprint, but not in the files' times.
        read = [*(tensor.path for tensor in self.checkpoint.tensors.values()), *self.side_files]
        newest = max(file.stat().st_mtime_ns for file in read)
        return all(
            (folder / name).read_bytes() == graph and (folder / name).stat().st_mtime_ns > newest
            for name, graph in self.graphs.items()
        )


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
    from vacc_gen.generator.backends.onnxruntime.graph.falcon import (
        DYNAMIC_AXES,
        falcon_graph,
        runtime_axes,
    )
    from vacc_gen.generator.backends.onnxruntime.graph.positions import Axes

    architecture, quantization = checkpoint.architecture, quantization or Quantization()
    if isinstance(lengths, Lengths):
        # A prompt, padded, without a past; one token after a cache of all other slots.
        axes_by_name = {
            PREFILL_GRAPH: Axes(1, lengths.prefill, None, lengths.prefill, last_only=True),
            DECODE_GRAPH: Axes(1, 1, lengths.total - 1, lengths.total, last_only=True),
        }
    else:
        axes_by_name = {MODEL_GRAPH: runtime_axes(architecture) if lengths else DYNAMIC_AXES}
    layout = planned_layout(checkpoint, dtype, quantization, packed=isinstance(lengths, Deployment))
    properties = {"vacc_gen.checkpoint": checkpoint.folder.fingerprint()}
    options = (quantization.activations, properties)
    graphs = {}
    for name, axes in axes_by_name.items():
        graph = falcon_graph(Path(name).stem, architecture, layout, axes, *options)
        graphs[name] = graph.SerializeToString(deterministic=True)
    if isinstance(lengths, Deployment):
        ends = end_tokens_of(checkpoint.folder.path)
        graphs[GENAI_FILE] = genai_config(architecture, lengths.total, ends, dtype).encode()
    side_files = (checkpoint.folder.path / name for name in SIDE_FILES)
    return Export(checkpoint, layout, graphs, tuple(file for file in side_files if file.is_file()))


def planned_layout(
    checkpoint: Checkpoint, dtype: Dtype, quantization: Quantization, *, packed: bool = False
) -> Layout:
    """The layout of weights.bin for `checkpoint`, without reading or writing any value."""
    bits, grids = {"int8": 8, "int4": 4}.get(dtype), None
    if bits is not None:
        grids = grids_for(checkpoint.architecture, bits, quantization)
    return plan_layout(checkpoint.architecture, dtype, grids, packed=packed)
