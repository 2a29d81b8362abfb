"""Opens ONNX Runtime sessions so that a model needs as little memory as its dtype allows.

fp32  Weights stay mapped from weights.bin: nothing is copied, loading takes no time.
int8  Weights are packed into a copy of their own size, without which they would be 90 times slower.
int4  As int8.
fp16  The runtime computes in fp32 on most processors. It would keep an fp32 copy of all weights.
      Where that is too much, weights stay mapped and are cast as they are used: half as fast a
      token, and about two of the widest matrices in memory instead of all.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from functools import cache
from pathlib import Path
from typing import Any

from vacc_gen.generator.progress import available_bytes
from vacc_gen.schema.errors import UnreadableError

ERRORS_ONLY = 3
"""ONNX Runtime's log severity: below it, the library's warnings would mix into our output."""

FP32_COPIES = 2
"""What a session copies of an fp16 file: each weight as fp32, twice its size."""

MEMORY_SHARE = 0.5
"""Of the available memory that such copies may take; the rest is for the work itself."""

QUIET_SETTINGS = {
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
NOISY_LIBRARIES = ("torch", "transformers", "onnx", "onnxscript", "onnxruntime", "numpy")


def quiet_libraries() -> None:
    """Silence torch, transformers and the like; call it before they are loaded.

    A setting that the user made stays. Errors still show: they come as exceptions.
    """
    for name, value in QUIET_SETTINGS.items():
        os.environ.setdefault(name, value)
    for library in NOISY_LIBRARIES:
        logging.getLogger(library).setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module=rf"{library}(\.|$)")


def open_session(graph: Path, *, threads: int | None = None) -> Any:
    """Open `graph` as an InferenceSession on the CPU.

    fp16 weights are cast as they are used where copies of them would not fit (`needs_casts`).

    Raises:
        UnreadableError: ONNX Runtime cannot load it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    options.intra_op_num_threads = threads or 0
    if _dtype_of(graph) not in ("int8", "int4"):
        # One row times a matrix is bound by reading the matrix: packing it saves no time.
        options.add_session_config_entry("session.disable_prepacking", "1")
    if needs_casts(graph):
        # Keep casts of weights in the graph, each right before its use, in memory that is reused.
        # Beyond the basic level, casts of constants are folded into copies. In the default order,
        # all casts run first; with memory patterns, each gets room of its own.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
        options.enable_mem_pattern = False
        _share_tight_arena()
        options.add_session_config_entry("session.use_env_allocators", "1")
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's exceptions share no public base
        message = f"ONNX Runtime cannot load {graph}: {error}"
        raise UnreadableError(message, "build again") from error


def cuts_sums_off() -> bool:
    """Whether products of integers are inexact here: an x86 processor without VNNI."""
    try:
        found = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        return False
    return found is not None and not {"avx512_vnni", "avx_vnni"} & set(found[1].split())


def needs_casts(graph: Path) -> bool:
    """Whether fp32 copies of fp16 weights would take more than half of the available memory."""
    if _dtype_of(graph) != "fp16":
        return False
    weights_bytes = sum(file.stat().st_size for file in graph.parent.glob("weights.bin"))
    return FP32_COPIES * weights_bytes > MEMORY_SHARE * available_bytes()


@cache
def _share_tight_arena() -> None:
    """Register, once a process, an arena for all sessions that grows by just what is asked."""
    import onnxruntime

    same_as_requested = 1
    config = onnxruntime.OrtArenaCfg({"arena_extend_strategy": same_as_requested})
    kind = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    info = onnxruntime.OrtMemoryInfo("Cpu", kind, 0, onnxruntime.OrtMemType.DEFAULT)
    onnxruntime.create_and_register_allocator(info, config)


def _dtype_of(graph: Path) -> str | None:
    """The dtype that export put into the graph's metadata, read without parsing the graph.

    In a serialized StringStringEntryProto the key is followed by tag 0x12, a length, the value.
    """
    found = re.search(rb"vacc_gen\.dtype\x12.([a-z0-9]{4})", graph.read_bytes(), re.DOTALL)
    return found[1].decode() if found else None
