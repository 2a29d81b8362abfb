"""Perplexity of compiled weights on held-out text, window by window.

A window is read in one pass and every token of it but the first is predicted; windows do not
overlap and know nothing of each other. The pass is a graph like prefill.onnx, but one that gives
the logits of every position; it is deleted afterwards.

Legend of shapes: W windows of S tokens, N rows, V vocabulary.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vacc_gen.generator.backends.onnxruntime.session import open_session
from vacc_gen.generator.backends.onnxruntime.weights.weight_file import WEIGHTS_FILE

if TYPE_CHECKING:
    from vacc_gen.generator.backends.onnxruntime.weights.source import Checkpoint
    from vacc_gen.generator.backends.onnxruntime.weights.weight_file import Layout

WINDOW_TOKENS = 128
"""Short enough for any model's positions, and what small models are usually compared at."""

SCORING_GRAPH = "scoring.onnx"

Tokens = NDArray[np.int64]


def cut_windows(token_ids: list[int], most: int | None = None) -> Tokens:
    """Cut a text into windows (W, `WINDOW_TOKENS`), at most `most`; a shorter rest is dropped."""
    count = len(token_ids) // WINDOW_TOKENS
    count = count if most is None else min(count, most)
    used = np.array(token_ids[: count * WINDOW_TOKENS], np.int64)
    return used.reshape(count, WINDOW_TOKENS)


def score_weights(
    checkpoint: Checkpoint,
    layout: Layout,
    weights: Path,
    windows: Tokens,
    *,
    accuracy_level: int,
    work_dir: Path,
    threads: int | None = None,
) -> float:
    """Perplexity on `windows` (W, S) of the model whose weights are the file `weights`."""
    from vacc_gen.generator.backends.onnxruntime.graph.falcon import SCORING_AXES, falcon_graph

    model = falcon_graph(
        "scoring",
        checkpoint.architecture,
        layout,
        SCORING_AXES,
        accuracy_level=accuracy_level,
        metadata={"vacc_gen.dtype": layout.dtype},
        producer_version="",
    )
    work_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="scoring.", dir=work_dir) as folder:
        graph = Path(folder, SCORING_GRAPH)
        graph.write_bytes(model.SerializeToString())
        try:
            # ONNX Runtime refuses links that lead out of the folder, but not a second name.
            os.link(weights, graph.with_name(WEIGHTS_FILE))
        except OSError:  # another disk, or one without hard links
            shutil.copyfile(weights, graph.with_name(WEIGHTS_FILE))
        return _perplexity(graph, windows, threads)


def negative_log_likelihood(logits: NDArray[np.generic], next_ids: Tokens) -> float:
    """Sum over rows of `logits` (N, V) of -log p(next id)."""
    wide = logits.astype(np.float64)
    top = wide.max(axis=1)
    log_sum = top + np.log(np.exp(wide - top[:, None]).sum(axis=1))
    return float((log_sum - wide[np.arange(len(next_ids)), next_ids]).sum())


def _perplexity(graph: Path, windows: Tokens, threads: int | None) -> float:
    """exp of the mean negative log-likelihood of all predicted tokens of `windows` (W, S)."""
    session = open_session(graph, threads=threads)
    length = windows.shape[1]
    mask = np.ones((1, length), np.int64)
    positions = np.arange(length, dtype=np.int64)[None]
    total = 0.0
    for window in windows:
        feeds = {"input_ids": window[None], "attention_mask": mask, "position_ids": positions}
        (logits,) = session.run(["logits"], feeds)  # (1, S, V)
        total += negative_log_likelihood(logits[0, :-1], window[1:])
    return math.exp(total / (len(windows) * (length - 1)))
