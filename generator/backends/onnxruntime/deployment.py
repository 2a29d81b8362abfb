"""A deployed folder: one graph, its weights, tokenizer, and how ONNX Runtime GenAI opens them.

model.onnx         any number of new tokens after any number of cached ones
weights.bin        what the graph reads, once
genai_config.json  names of the graph's inputs and outputs, lengths, tokens that end a text
tokenizer.json ... as the checkpoint has them
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from vacc_gen.generator.backends.onnxruntime.weights.weight_file import WEIGHTS_FILE, Dtype
from vacc_gen.schema.errors import UnreadableError, UsageError
from vacc_gen.schema.falcon import Architecture
from vacc_gen.schema.json_files import MANIFEST_FILE, changed_files, read_json_object

MODEL_GRAPH = "model.onnx"
GENAI_FILE = "genai_config.json"

NO_TOKEN = -1
"""For padding: GenAI leaves tokens of this id out of attention, and a prompt may hold any other."""


def genai_config(
    architecture: Architecture, total: int, end_tokens: frozenset[int], dtype: Dtype
) -> str:
    """The genai_config.json of a model whose texts have at most `total` tokens."""
    geometry = architecture.geometry
    inputs = ["input_ids", "attention_mask", *(["position_ids"] if architecture.alibi else [])]
    session: dict[str, Any] = {"log_severity_level": 3, "provider_options": []}
    if dtype in ("fp16", "fp32"):
        # One row times a matrix is bound by reading the matrix: packing it saves no time.
        session["session.disable_prepacking"] = "1"
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
        file = folder / name
        ends = read_json_object(file).get("eos_token_id") if file.is_file() else None
        if ends is not None:
            return frozenset([ends] if isinstance(ends, int) else ends)
    return frozenset()


def check_folder(folder: Path, *, read_content: bool = False) -> None:
    """Check that `folder` holds a deployed model, and all of what its manifest lists.

    With `read_content`, that every file is the one that was built; else sizes are compared.

    Raises:
        UnreadableError: a file is missing or is not what the manifest says.
    """
    for name in (MODEL_GRAPH, WEIGHTS_FILE, GENAI_FILE):
        if not (folder / name).is_file():
            raise UnreadableError(
                f"{folder} is not a compiled model: {name} is missing",
                "make one with `vacc-gen build`; an export is for other runtimes",
            )
    if read_content or (folder / MANIFEST_FILE).is_file():
        for name, change in changed_files(folder, read_content=read_content):
            raise UnreadableError(f"{folder / name} {change}", "build again")


def read_genai_config(folder: Path) -> tuple[int, frozenset[int]]:
    """The most tokens of a text, and those that end one, of a deployed folder.

    Raises:
        UnreadableError: the file is not what `genai_config` writes.
    """
    config = read_json_object(folder / GENAI_FILE)
    try:
        model = config["model"]
        return int(model["context_length"]), frozenset(model.get("eos_token_id", ()))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        message = f"{folder / GENAI_FILE} is not what a build wrote: {error!r}"
        raise UnreadableError(message, "build again") from error


def find_deployed(folder: Path, precision: str | None) -> Path:
    """Return the deployed folder that `folder` is, or that the workspace `folder` holds.

    Raises:
        UsageError: there is none, or none of this precision.
    """
    configs = [*folder.glob(GENAI_FILE), *folder.glob(f"deploy/*/{GENAI_FILE}")]
    found = sorted(config.parent for config in configs)
    if not found:
        raise UsageError(
            f"{folder} holds no compiled model", "`vacc-gen build` makes them, in deploy/"
        )
    for deployed in found:
        if precision is None or precision in re.split("[-_]", deployed.name):
            return deployed
    names = ", ".join(deployed.name for deployed in found)
    raise UsageError(f"{folder} holds no {precision} model", f"it holds {names}")
