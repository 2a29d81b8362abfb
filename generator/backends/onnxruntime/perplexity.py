"""Perplexity on windows of a text: what weights cost. Every model reads the same windows.

Legend of shapes: W windows of S tokens, N predicted tokens, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vacc_gen.generator.backends.onnxruntime.deployment import open_session
from vacc_gen.generator.backends.onnxruntime.export import planned_layout
from vacc_gen.generator.backends.onnxruntime.runtime import check_finite
from vacc_gen.generator.backends.onnxruntime.weights.source import Checkpoint
from vacc_gen.generator.backends.onnxruntime.weights.weight_file import Dtype
from vacc_gen.generator.progress import Progress, timed
from vacc_gen.schema.errors import StageError
from vacc_gen.schema.precision import Quantization
from vacc_gen.schema.recipe import LENGTH_STEP_TOKENS, Verification

DEFAULT_WINDOW_TOKENS = 512

DEFAULT_LEAST_WINDOWS = 8
"""A shorter text gets shorter windows: the error of a figure shows in how windows differ."""

DEFAULT_PRODUCTS = 8e12
"""Most checkpoint bytes x tokens of default windows: 9 windows of 64 tokens of a 7B model, which
cost the reference about a minute on two cores."""

Tokens = NDArray[np.int64]
Losses = NDArray[np.float64]
"""Negative log-likelihoods in nats; of windows (W,): each the sum over what it predicts."""


@dataclass(frozen=True)
class Windows:
    """Windows of a text, each read in one pass; no token is predicted twice."""

    tokens: Tokens
    """(W, S)"""
    stride: int
    """Tokens from one window to the next, S at most."""

    @property
    def counts(self) -> Tokens:
        """Tokens that each window predicts, its last ones, (W,): only those new to it.

        The first token of a window has nothing before it, and is new where windows do not overlap.
        """
        count, length = self.tokens.shape
        return np.array([length - 1] + [min(self.stride, length - 1)] * (count - 1), np.int64)

    def perplexity(self, losses: Losses) -> float:
        return math.exp(losses.sum() / self.counts.sum())


def choose_windows(
    token_ids: list[int], verification: Verification, total: int, checkpoint_bytes: int
) -> Windows:
    """Cut a text as the recipe says, `total` being its target.total, and for a size of the model.

    Raises:
        StageError: the recipe's window is longer than `total` or the text.
    """
    window, most = verification.window, verification.perplexity_windows
    if window is None:
        affordable = int(DEFAULT_PRODUCTS / checkpoint_bytes)
        least = min(len(token_ids), affordable) // DEFAULT_LEAST_WINDOWS
        window = min(DEFAULT_WINDOW_TOKENS, total, least)
        window = max(LENGTH_STEP_TOKENS, window // LENGTH_STEP_TOKENS * LENGTH_STEP_TOKENS)
        most = min(most, max(DEFAULT_LEAST_WINDOWS, affordable // window))
    for limit, whose in ((total, "target.total"), (len(token_ids), "the verification text")):
        if window > limit:
            raise StageError(
                f"verification.window is {window} tokens, {whose} has {limit}",
                f"set verification.window in vacc.yaml to {limit} or less, or leave it out",
            )
    return cut_windows(token_ids, window, verification.stride or window, most)


def cut_windows(token_ids: list[int], window: int, stride: int, most: int | None = None) -> Windows:
    """Cut a text of at least `window` tokens; what fills no window at its end is dropped."""
    starts = range(0, len(token_ids) - window + 1, stride)[:most]
    tokens = np.array([token_ids[start : start + window] for start in starts], np.int64)
    return Windows(tokens, stride)


def score_windows(
    checkpoint: Checkpoint,
    dtype: Dtype,
    quantization: Quantization,
    folder: Path,
    windows: Windows,
    progress: Progress,
) -> Losses:
    """The losses (W,) of the model whose weights.bin lies in `folder`, packed or not.

    Its graph is like prefill.onnx but gives the logits of every position.

    Raises:
        StageError: a logit is not finite.
    """
    from vacc_gen.generator.backends.onnxruntime.graph.falcon import SCORING_AXES, falcon_graph

    layout = planned_layout(checkpoint, dtype, quantization, packed=True)
    activations = quantization.activations
    graph = falcon_graph("scoring", checkpoint.architecture, layout, SCORING_AXES, activations, {})
    session = open_session(folder, graph.SerializeToString())
    length = windows.tokens.shape[1]
    mask = np.ones((1, length), np.int64)
    positions = np.arange(length, dtype=np.int64)[None]
    losses: list[float] = []
    pairs = list(zip(windows.tokens, windows.counts, strict=True))
    for window, count in timed(pairs, "windows", progress):
        feeds = {"input_ids": window[None], "attention_mask": mask, "position_ids": positions}
        (logits,) = session.run(["logits"], feeds)  # (1, S, V)
        check_finite(logits, f"{folder.name} on window {len(losses) + 1}")
        losses.append(window_loss(logits[0], window, count))
    return np.array(losses)


def window_loss(logits: NDArray[np.generic], window: Tokens, count: int) -> float:
    """The loss of the last `count` tokens of a window (S,) by its logits (S, V)."""
    return float(negative_log_likelihoods(logits[-count - 1 : -1], window[-count:]).sum())


def negative_log_likelihoods(logits: NDArray[np.generic], next_ids: Tokens) -> Losses:
    """-log p(next id) (N,) by `logits` (N, V)."""
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    losses: Losses = np.log(np.exp(wide).sum(axis=1)) - wide[np.arange(len(next_ids)), next_ids]
    return losses


def compare_windows(losses: Losses, reference: Losses, windows: Windows) -> dict[str, object]:
    """The difference of two models' mean losses, in nats a token, and its standard error.

    Paired: windows that are hard for both count for neither. One window has no error.
    """
    difference, counts = losses - reference, windows.counts
    mean = float(difference.sum() / counts.sum())
    error = None
    if len(counts) > 1:
        spread = ((difference - mean * counts) ** 2).sum() * len(counts) / (len(counts) - 1)
        error = float(math.sqrt(spread) / counts.sum())
    return {"mean": mean, "standard_error": error}
