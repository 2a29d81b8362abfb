"""Perplexity of compiled weights on held-out text, window by window.

A window is read in one pass and every token of it but the first is predicted; windows do not
overlap and know nothing of each other. The pass is a graph like prefill.onnx, but one that gives
the logits of every position, emitted beside the weights for the while.

Legend of shapes: W windows of S tokens, V vocabulary.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vacc_gen.generator.backends.onnxruntime.session import open_session
from vacc_gen.generator.backends.onnxruntime.weights.weight_file import WEIGHTS_FILE

if TYPE_CHECKING:
    from vacc_gen.generator.backends.onnxruntime.graph.kv_cache import CacheScales
    from vacc_gen.generator.backends.onnxruntime.weights.source import Checkpoint
    from vacc_gen.generator.backends.onnxruntime.weights.weight_file import Layout

WINDOW_TOKENS = 128
"""Short enough for any model's positions, and what small models are usually compared at."""

SCORING_GRAPH = "scoring.onnx"

Tokens = NDArray[np.int64]


def windows_of(token_ids: list[int], most: int | None = None) -> Tokens:
    """Cut a text into windows (W, `WINDOW_TOKENS`), at most `most`; a shorter rest is dropped."""
    count = len(token_ids) // WINDOW_TOKENS
    count = count if most is None else min(count, most)
    used = np.array(token_ids[: count * WINDOW_TOKENS], np.int64)
    return used.reshape(count, WINDOW_TOKENS)


@contextmanager
def scoring_graph(
    checkpoint: Checkpoint,
    layout: Layout,
    weights: Path,
    accuracy_level: int,
    cache_scales: CacheScales | None,
    work_dir: Path,
) -> Iterator[Path]:
    """A graph with the logits of every position for the file `weights`, while the block lasts.

    With `cache_scales`, keys and values are rounded as an int8 cache does.
    """
    from vacc_gen.generator.backends.onnxruntime.graph.falcon import SCORING_AXES, falcon_graph

    work_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="scoring.", dir=work_dir) as name:
        folder = Path(name)
        model = falcon_graph(
            "scoring",
            checkpoint.architecture,
            layout,
            SCORING_AXES,
            accuracy_level=accuracy_level,
            cache_scales=cache_scales,
            metadata={"vacc_gen.dtype": layout.dtype},
            producer_version="",
        )
        (folder / SCORING_GRAPH).write_bytes(model.SerializeToString())
        try:
            # ONNX Runtime refuses links that lead out of the folder, but not a second name.
            os.link(weights, folder / WEIGHTS_FILE)
        except OSError:  # another disk, or one without hard links
            shutil.copyfile(weights, folder / WEIGHTS_FILE)
        yield folder / SCORING_GRAPH


def perplexity_of(graph: Path, windows: Tokens, *, threads: int | None = None) -> float:
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


def negative_log_likelihood(logits: NDArray[np.generic], next_ids: Tokens) -> float:
    """Sum over rows of `logits` (N, V) of -log p(next id)."""
    wide = logits.astype(np.float64)
    top = wide.max(axis=1)
    log_sum = top + np.log(np.exp(wide - top[:, None]).sum(axis=1))
    return float((log_sum - wide[np.arange(len(next_ids)), next_ids]).sum())
