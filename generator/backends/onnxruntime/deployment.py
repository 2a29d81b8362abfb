"""A deployed folder: how ONNX Runtime GenAI and plain sessions open it, and how it is found.

model.onnx         any number of new tokens after any number of cached ones
weights.bin        what the graph reads, once
genai_config.json  names of the graph's inputs and outputs, lengths, tokens that end a text
tokenizer.json ... as the checkpoint has them
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from vacc_gen.generator.backends.onnxruntime.weights.source import Checkpoint
from vacc_gen.generator.backends.onnxruntime.weights.weight_file import WEIGHTS_FILE, Dtype
from vacc_gen.generator.progress import available_bytes
from vacc_gen.schema.errors import UnreadableError, UsageError
from vacc_gen.schema.json_files import MANIFEST_FILE, changed_files, read_json, read_json_object
from vacc_gen.schema.precision import Precision

MODEL_GRAPH = "model.onnx"
GENAI_FILE = "genai_config.json"

NO_TOKEN = -1
"""For padding: GenAI leaves tokens of this id out of attention, and a prompt may hold any other."""

ERRORS_ONLY = 3
"""ONNX Runtime's log severity: below it, the library's warnings would mix into our output."""

NO_PREPACKING = ("session.disable_prepacking", "1")
"""For floats: a token is bound by reading the matrices, and packing them saves no time."""

WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"
"""The setting that says where the weights of a graph lie that is not read from a file."""

FP16_SHARE = 0.25
"""Of the available memory: a larger fp16 file is not copied to fp32, which takes twice its size."""


def genai_config(checkpoint: Checkpoint, total: int, dtype: Dtype) -> str:
    """The genai_config.json of a model whose texts have at most `total` tokens."""
    architecture, geometry = checkpoint.architecture, checkpoint.architecture.geometry
    end_tokens = end_tokens_of(checkpoint.folder.path)
    inputs = ["input_ids", "attention_mask", *(["position_ids"] if architecture.alibi else [])]
    session: dict[str, Any] = {"log_severity_level": ERRORS_ONLY, "provider_options": []}
    if dtype in ("fp16", "fp32"):
        session |= dict([NO_PREPACKING])
    config = {
        "model": {
            "type": "decoder",
            "vocab_size": geometry.vocab_size,
            "context_length": total,
            **({"eos_token_id": sorted(end_tokens)} if end_tokens else {}),
            "pad_token_id": NO_TOKEN,
            "decoder": {
                "filename": MODEL_GRAPH,
                "session_options": session,
                "head_size": geometry.head_size,
                "hidden_size": geometry.hidden_size,
                "num_attention_heads": geometry.attention_heads,
                "num_key_value_heads": geometry.kv_heads,
                "num_hidden_layers": geometry.layers,
                "inputs": {
                    **dict(zip(inputs, inputs, strict=True)),
                    "past_key_names": "past_key_values.%d.key",
                    "past_value_names": "past_key_values.%d.value",
                },
                "outputs": {
                    "logits": "logits",
                    "present_key_names": "present.%d.key",
                    "present_value_names": "present.%d.value",
                },
            },
        },
        # ALiBi has no fused attention that it could share a buffer with.
        "search": {"max_length": total, "past_present_share_buffer": not architecture.alibi},
    }
    return json.dumps(config, indent=2) + "\n"


def end_tokens_of(folder: Path) -> frozenset[int]:
    """Tokens that end a text: generation_config.json says which, or else config.json."""
    for name in ("generation_config.json", "config.json"):
        ends = (read_json(folder / name) or {}).get("eos_token_id")
        if ends is not None:
            return frozenset([ends] if isinstance(ends, int) else ends)
    return frozenset()


def read_genai_config(folder: Path) -> tuple[int, int, frozenset[int]]:
    """The most tokens of a text, the size of the vocabulary, and the tokens that end a text.

    Raises:
        UnreadableError: the file is not what `genai_config` writes.
    """
    config = read_json_object(folder / GENAI_FILE)
    try:
        model = config["model"]
        ends = frozenset(model.get("eos_token_id", ()))
        return int(model["context_length"]), int(model["vocab_size"]), ends
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        message = f"{folder / GENAI_FILE} is not what a build wrote: {error!r}"
        raise UnreadableError(message, "build again") from error


def find_deployed(folder: Path, precision: Precision | None, *, read_content: bool = False) -> Path:
    """Return the deployed folder that `folder` is, or that the workspace `folder` holds.

    Its files are compared with its manifest: their sizes, or with `read_content` all of them.

    Raises:
        UsageError: there is none, or none of this precision.
        UnreadableError: a file is missing or is not what the manifest says.
    """
    configs = [*folder.glob(GENAI_FILE), *folder.glob(f"deploy/*/{GENAI_FILE}")]
    found = sorted(config.parent for config in configs)
    if not found:
        raise UsageError(
            f"{folder} holds no compiled model", "`vacc-gen build` makes them, in deploy/"
        )
    wanted = precision and precision.value
    for deployed in found:
        if wanted is None or wanted in re.split("[-_]", deployed.name):
            if read_content or (deployed / MANIFEST_FILE).is_file():
                for name, change in changed_files(deployed, read_content=read_content):
                    raise UnreadableError(f"{deployed / name} {change}", "build again")
            return deployed
    names = ", ".join(deployed.name for deployed in found)
    raise UsageError(f"{folder} holds no {wanted} model", f"it holds {names}")


def open_session(folder: Path, graph: bytes | None = None, *, threads: int | None = None) -> Any:
    """Open the graph of `folder`, or another over its weights, as an InferenceSession on the CPU.

    fp32 weights stay mapped from weights.bin. int ones are packed into a copy, which weights.bin
    may have already. fp16 is computed in fp32 on most processors, from an fp32 copy of all weights.
    Where that is too much (`needs_casts`), weights stay mapped and are cast as they are used: half
    as fast a token, and two of the widest matrices in memory instead of all.

    Raises:
        UnreadableError: ONNX Runtime cannot load it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    options.intra_op_num_threads = threads or 0
    if _dtype_of(folder) not in ("int8", "int4"):
        options.add_session_config_entry(*NO_PREPACKING)
    if needs_casts(folder):
        # Keep casts of weights in the graph, each right before its use, in memory that is reused.
        # Beyond the basic level, casts of constants are folded into copies. In the default order,
        # all casts run first; with memory patterns, each gets room of its own.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
        options.enable_mem_pattern = False
        _share_tight_arena()
        options.add_session_config_entry("session.use_env_allocators", "1")
    try:
        graph = graph or (folder / MODEL_GRAPH).read_bytes()
        options.add_session_config_entry(WEIGHTS_FOLDER, str(folder))
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's exceptions share no public base
        message = f"ONNX Runtime cannot load {folder / MODEL_GRAPH}: {error}"
        raise UnreadableError(message, "build again") from error


def needs_casts(folder: Path) -> bool:
    """Whether fp32 copies of fp16 weights would take more than half of the available memory."""
    is_large = (folder / WEIGHTS_FILE).stat().st_size > FP16_SHARE * available_bytes()
    return is_large and _dtype_of(folder) == "fp16"


def _dtype_of(folder: Path) -> str | None:
    """The dtype that export put into the metadata of the graph, read without parsing it.

    In a serialized StringStringEntryProto the key is followed by tag 0x12, a length, the value.
    """
    graph = (folder / MODEL_GRAPH).read_bytes()
    found = re.search(rb"vacc_gen\.dtype\x12.([a-z0-9]{4})", graph, re.DOTALL)
    return found[1].decode() if found else None


@cache
def _share_tight_arena() -> None:
    """Register, once a process, an arena for all sessions that grows by just what is asked."""
    import onnxruntime

    same_as_requested = 1
    config = onnxruntime.OrtArenaCfg({"arena_extend_strategy": same_as_requested})
    kind = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    info = onnxruntime.OrtMemoryInfo("Cpu", kind, 0, onnxruntime.OrtMemType.DEFAULT)
    onnxruntime.create_and_register_allocator(info, config)
