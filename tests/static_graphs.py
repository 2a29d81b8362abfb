"""Runs prefill.onnx and decode.onnx of an export as a card would: fixed lengths, padded."""

from pathlib import Path
from typing import Any

import numpy as np


def static_logits(folder: Path, token_ids: list[int], prompt_tokens: int) -> Any:
    """Logits (N, V) after a prompt, and after each of the tokens that follow it."""
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
