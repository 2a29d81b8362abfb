"""A KV cache of int8 codes: what they stand for, and the nodes that write and read them.

Legend of shapes:
    N   layers     KV  heads of the cache
    T   tokens     D   head size

One scale serves all tokens and channels of a KV head of a layer (decisions/0006 says why): a key
or value is `code * scale`. Codes run from -127 to 127 on the calibration texts and saturate at -128
and 127 beyond them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from vacc_gen.generator.backends.onnxruntime.model import KV_CACHE_FILE

if TYPE_CHECKING:
    from vacc_gen.generator.backends.onnxruntime.graph.builder import GraphBuilder

MAX_CODE = 127
"""Symmetric, so that a value of zero, and a slot that was never written, reads as zero."""

HEADS_AXIS = 1
"""Of a cache (B, KV, T, D)."""

Kind = Literal["key", "value"]


@dataclass(frozen=True)
class CacheScales:
    """What one step of a code is worth, by layer and KV head."""

    keys: NDArray[np.float32]
    """(N, KV), all positive."""
    values: NDArray[np.float32]
    """(N, KV), all positive."""

    def of(self, layer: int, kind: Kind) -> NDArray[np.float32]:
        """The scales of one layer's keys or values, (KV,)."""
        scales: NDArray[np.float32] = (self.keys if kind == "key" else self.values)[layer]
        return scales


def scales_of(magnitudes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scales from largest magnitudes, of any shape; where that is zero (or denormal), 1."""
    scales = magnitudes.astype(np.float32) / np.float32(MAX_CODE)
    return np.where(scales >= np.finfo(np.float32).tiny, scales, np.float32(1))


def quantized(
    g: GraphBuilder, value: str, scales: CacheScales, layer: int, kind: Kind, name: str
) -> str:
    """Codes of new keys or values, (B, KV, T, D) fp32 to int8, called `name`."""
    grid = _grid(g, scales, layer, kind)
    return g.node("QuantizeLinear", value, *grid, name=name, axis=HEADS_AXIS)


def dequantized(g: GraphBuilder, codes: str, scales: CacheScales, layer: int, kind: Kind) -> str:
    """What codes stand for, (B, KV, T, D) int8 to fp32."""
    grid = _grid(g, scales, layer, kind)
    return g.node("DequantizeLinear", codes, *grid, name=f"{codes}/fp32", axis=HEADS_AXIS)


def _grid(g: GraphBuilder, scales: CacheScales, layer: int, kind: Kind) -> tuple[str, str]:
    """Scales and zero points as constants; the zero points' type is what makes codes int8."""
    of_heads = scales.of(layer, kind)
    return (
        g.constant(f"kv_cache.{layer}.{kind}.scales", of_heads, np.float32),
        g.constant("kv_cache.zero_points", np.zeros(len(of_heads)), np.int8),
    )


def write_kv_cache(folder: Path, scales: CacheScales, calibrated_on: dict[str, object]) -> None:
    """Write `KV_CACHE_FILE`: scales by layer and KV head, and the texts that they are from."""
    content = {
        "dtype": "int8",
        "calibrated_on": calibrated_on,
        "scales": [
            {"key": keys.tolist(), "value": values.tolist()}
            for keys, values in zip(scales.keys, scales.values, strict=True)
        ],
    }
    (folder / KV_CACHE_FILE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_kv_cache(folder: Path) -> CacheScales | None:
    """The scales that `write_kv_cache` wrote in `folder`; None where its cache is not int8."""
    file = folder / KV_CACHE_FILE
    if not file.is_file():
        return None
    layers = json.loads(file.read_bytes())["scales"]
    keys, values = (
        np.array([layer[kind] for layer in layers], np.float32) for kind in ("key", "value")
    )
    return CacheScales(keys, values)
