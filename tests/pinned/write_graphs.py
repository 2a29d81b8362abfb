"""Writes graphs of every variant, and a long text with what transformers makes of it.

    python -m tests.pinned.write_graphs DIR

Runs where vacc-gen is installed; test_graphs.py then runs the graphs, also where it is not.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from tests.falcons import VARIANTS, VOCABULARY, logits_of, make_falcon
from vacc_gen.generator.backends.onnxruntime.export import plan_export
from vacc_gen.generator.backends.onnxruntime.weights.source import open_checkpoint

TOKENS = 600
"""More than bf16 counts one by one: it has 8 significant bits, and rounds ALiBi's positions."""


def write_graphs(folder: Path) -> None:
    """Write `<variant>/<dtype>/model.onnx`, `<variant>/ids.npy` (1, S) and `logits.npy` (S, V)."""
    for variant in VARIANTS:
        oracle = make_falcon(variant, folder / variant / "checkpoint")
        checkpoint = open_checkpoint(folder / variant / "checkpoint")
        for dtype in ("fp16", "fp32"):
            plan_export(checkpoint, dtype).write(folder / variant / dtype)
        ids = np.random.default_rng(7).integers(3, VOCABULARY, (1, TOKENS))
        np.save(folder / variant / "ids.npy", ids)
        np.save(folder / variant / "logits.npy", logits_of(oracle, ids)[0])


if __name__ == "__main__":
    write_graphs(Path(sys.argv[1]))
