"""Scales of an int8 KV cache, from the keys and values that real text puts into it.

The model's own graph, with the weights that were just written, is run over the windows; what it
would cache is looked at and dropped.

Legend of shapes:
    W  windows     N   layers                 D  head size
    S  tokens      KV  heads of the cache
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vacc_gen.generator.backends.onnxruntime.graph.falcon import prefill_axes
from vacc_gen.generator.backends.onnxruntime.graph.kv_cache import CacheScales, scales_of
from vacc_gen.generator.backends.onnxruntime.session import open_session
from vacc_gen.schema.errors import StageError

if TYPE_CHECKING:
    from vacc_gen.generator.backends.onnxruntime.graph.positions import Axes
    from vacc_gen.generator.progress import Progress

MAX_TOKENS = 16_384
"""Of calibration text; more raise scales a little and change no perplexity (decisions/0006)."""

CALIBRATION_GRAPH = "kv_calibration.onnx"


class EmitGraph(Protocol):
    """Writes a graph of one model."""

    def __call__(self, file: Path, axes: Axes, scales: CacheScales | None) -> None:
        """Write it to `file`, its weights beside it; with `scales`, with an int8 cache."""


@dataclass(frozen=True)
class CacheWindows:
    """Text that the scales are calibrated on."""

    ids: NDArray[np.int64]
    """(W, S), nothing padded."""
    source: str
    """Where the text is from, for the report."""

    def described(self) -> dict[str, object]:
        """Plain values, for the report and beside the scales."""
        windows, tokens = self.ids.shape
        return {"source": self.source, "windows": windows, "tokens": windows * tokens}


def cut_windows(ids: NDArray[Any], most_tokens: int, source: str) -> CacheWindows:
    """Cut token ids, windows (W, S) or a text (S,), into windows of `most_tokens` at most.

    What is left over of each, and what is beyond `MAX_TOKENS` of all, is dropped.
    """
    rows = np.atleast_2d(ids).astype(np.int64)
    width = min(rows.shape[1], most_tokens)
    whole = rows[:, : rows.shape[1] // width * width].reshape(-1, width)
    return CacheWindows(whole[: max(1, MAX_TOKENS // width)], source)


def calibrate_cache(
    folder: Path, emit: EmitGraph, windows: CacheWindows, progress: Progress
) -> CacheScales:
    """Run `windows` through the model whose weights lie in `folder`; leaves nothing behind there.

    Raises:
        StageError: a key or value is no number.
    """
    graph = folder / CALIBRATION_GRAPH
    emit(graph, prefill_axes(windows.ids.shape[1]), None)
    try:
        magnitudes = _magnitudes(open_session(graph, threads=None), windows.ids, progress)
    finally:
        graph.unlink()
    if not np.isfinite(magnitudes).all():
        raise StageError(
            f"the model computes keys or values that are not numbers on {windows.source}",
            "values of the checkpoint may be beyond fp16; see overflowed in report.json",
        )
    scales = scales_of(magnitudes)
    return CacheScales(scales[:, 0], scales[:, 1])


def _magnitudes(
    session: Any, windows: NDArray[np.int64], progress: Progress
) -> NDArray[np.float32]:
    """The largest magnitude of keys [:, 0] and of values [:, 1], (N, 2, KV)."""
    names = [one.name for one in session.get_outputs() if one.name.startswith("present.")]
    width = windows.shape[1]
    feeds = {
        "attention_mask": np.ones((1, width), np.int64),
        "position_ids": np.arange(width, dtype=np.int64)[None],
    }
    progress.start("calibrate the KV cache", windows.nbytes)
    largest: NDArray[np.float32] | None = None
    for window in windows:
        presents = session.run(names, feeds | {"input_ids": window[None]})
        seen = np.stack([_magnitude(present) for present in presents])
        largest = seen if largest is None else np.maximum(largest, seen)
        progress.advance(window.nbytes)
    assert largest is not None
    return largest.reshape(-1, 2, largest.shape[1])


def _magnitude(present: NDArray[Any]) -> NDArray[np.float32]:
    """The largest magnitude of each head of (1, KV, S, D), (KV,); NaN where one is in it."""
    axes = (0, 2, 3)
    magnitude: NDArray[np.float32] = np.maximum(present.max(axes), -present.min(axes)).astype(
        np.float32
    )
    return magnitude
