"""Tiny Falcons of every variant with random weights, on disk and as transformers' own model.

Imports nothing of vacc-gen: tests in the compiler's environment need it too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

VOCABULARY = 131

END_OF_TEXT = {"id": 2, "content": "\u0102", "special": True, "normalized": False} | dict.fromkeys(
    ("single_word", "lstrip", "rstrip"), False
)

VARIANTS: dict[str, dict[str, Any]] = {
    "7b": {"num_attention_heads": 5, "num_kv_heads": 5, "hidden_size": 80},
    "40b": {
        "num_attention_heads": 6,
        "num_kv_heads": 2,
        "hidden_size": 96,
        "new_decoder_architecture": True,
        "activation": "gelu_new",
    },
    "11b": {
        "num_attention_heads": 4,
        "num_kv_heads": 2,
        "hidden_size": 64,
        "ffn_hidden_size": 192,
        "new_decoder_architecture": True,
        "num_ln_in_parallel_attn": 1,
        "rope_theta": 500042.0,
        "activation": "silu",
    },
    "rw": {
        "num_attention_heads": 5,  # no power of two: ALiBi's slopes come from two series
        "num_kv_heads": 5,
        "hidden_size": 80,
        "multi_query": False,
        "parallel_attn": False,
        "alibi": True,
        "bias": True,
    },
}


def write_tokenizer(folder: Path) -> None:
    """Write a tokenizer of single characters, `VOCABULARY` of them; token 2 ends a text."""
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [END_OF_TEXT],
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "BPE",
            "vocab": {chr(0x100 + token): token for token in range(VOCABULARY)},
            "merges": [],
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, indent=1))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "\u0102"}, indent=1))


def random_falcon(variant: str, **changes: Any) -> Any:
    """transformers' model of `variant` with random weights in fp32: the oracle, evaluation mode."""
    import torch
    import transformers

    torch.manual_seed(len(variant))
    config = transformers.FalconConfig(
        **{
            "vocab_size": VOCABULARY,
            "num_hidden_layers": 2,
            "bos_token_id": 1,
            "eos_token_id": 2,
            **VARIANTS[variant],
            **changes,
        }
    )
    # transformers' eager path adds ALiBi twice from 4.45 on; its sdpa path is right.
    attention = "sdpa" if config.alibi else "eager"
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation=attention)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.normal_(1.0, 0.1)
            else:
                parameter.normal_(0.0, parameter.shape[1] ** -0.5)
    return model.eval()


def make_falcon(variant: str, folder: Path, dtype: str = "float32", **changes: Any) -> Any:
    """Write a random checkpoint of `variant` to `folder` and return the oracle that made it.

    The oracle computes in fp32, with the stored (rounded) values.
    """
    import torch

    model = random_falcon(variant, **changes)
    model.to(getattr(torch, dtype)).save_pretrained(folder, max_shard_size="100KB")
    write_tokenizer(folder)
    return model.float()


def logits_of(model: Any, input_ids: Any, **others: Any) -> Any:
    """The oracle's logits (B, S, V) from ids (B, S) and inputs by their names; all are numpy's."""
    import torch

    inputs = {"input_ids": input_ids, **others}
    with torch.no_grad():
        output = model(**{name: torch.from_numpy(array) for name, array in inputs.items()})
    return output.logits.numpy()


def static_logits(folder: Path, token_ids: list[int], prompt_tokens: int) -> Any:
    """Logits (N, V) after a prompt, and after each of the tokens that follow it.

    prefill.onnx and decode.onnx of an export are run as a card would: fixed lengths, padded.
    """
    import numpy as np
    import onnxruntime

    prefill, decode = (
        onnxruntime.InferenceSession(folder / f"{name}.onnx") for name in ("prefill", "decode")
    )
    inputs = {value.name: value for value in prefill.get_inputs()}
    width = inputs["input_ids"].shape[1]
    ids, mask = np.zeros((1, width), np.int64), np.zeros((1, width), np.int64)
    ids[0, :prompt_tokens], mask[0, :prompt_tokens] = token_ids[:prompt_tokens], 1
    feeds = {"input_ids": ids, "attention_mask": mask, "position_ids": np.arange(width)[None]}
    logits, *presents = prefill.run(None, feeds)
    rows = [logits[0, 0]]
    names = [value.name for value in decode.get_inputs() if value.name.startswith("past_")]
    shape = next(value.shape for value in decode.get_inputs() if value.name == names[0])
    past = {
        name: np.zeros(shape, present.dtype) for name, present in zip(names, presents, strict=True)
    }
    for name, present in zip(names, presents, strict=True):
        past[name][:, :, :prompt_tokens] = present[:, :, : shape[2]][:, :, :prompt_tokens]
    for position in range(prompt_tokens, len(token_ids)):
        attended = np.zeros((1, shape[2] + 1), np.int64)
        attended[0, :position], attended[0, -1] = 1, 1
        logits, *presents = decode.run(
            None,
            {
                "input_ids": np.array([[token_ids[position]]]),
                "attention_mask": attended,
                "position_ids": np.array([[position]]),
                **past,
            },
        )
        rows.append(logits[0, 0])
        for name, present in zip(names, presents, strict=True):
            if position < shape[2]:
                past[name][:, :, position] = present[:, :, -1]
    return np.array(rows, np.float32)
