"""Perplexity on windows against transformers, and the error of a difference by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.falcons import VARIANTS, VOCABULARY, make_falcon
from vacc_gen.generator.backends.onnxruntime.export import plan_export
from vacc_gen.generator.backends.onnxruntime.perplexity import (
    Windows,
    choose_windows,
    compare_windows,
    cut_windows,
    negative_log_likelihoods,
    score_windows,
)
from vacc_gen.generator.backends.onnxruntime.weights.source import open_checkpoint
from vacc_gen.generator.progress import SilentProgress
from vacc_gen.schema.errors import StageError
from vacc_gen.schema.precision import Quantization
from vacc_gen.schema.recipe import Verification


@pytest.mark.parametrize("stride", [64, 40])
@pytest.mark.parametrize("variant", VARIANTS)
def test_it_is_that_of_transformers(variant: str, stride: int, tmp_path: Path) -> None:
    """Of a window that overlaps the one before, only the new tokens count."""
    oracle = make_falcon(variant, tmp_path / "checkpoint")
    ids = torch.randint(VOCABULARY, (300,), generator=torch.Generator().manual_seed(5))
    windows = cut_windows(ids.tolist(), 64, stride, 3)
    wanted = []
    for start in (0, stride, 2 * stride):
        labels = ids[start : start + 64].clone()
        if start:
            labels[: 64 - stride] = -100
        with torch.no_grad():
            loss = oracle(ids[start : start + 64][None], labels=labels[None]).loss
        wanted.append(float(loss) * int((labels[1:] >= 0).sum()))
    checkpoint = open_checkpoint(tmp_path / "checkpoint")
    out = tmp_path / "out"
    plan_export(checkpoint, "fp32").write(out)
    losses = score_windows(checkpoint, "fp32", Quantization(), out, windows, SilentProgress())
    assert losses == pytest.approx(wanted, rel=1e-5)
    tokens = 63 + 2 * min(stride, 63)
    assert windows.perplexity(losses) == pytest.approx(math.exp(sum(wanted) / tokens), rel=1e-5)


def test_logits_that_are_not_finite_are_no_perplexity(tmp_path: Path) -> None:
    make_falcon("7b", tmp_path / "checkpoint")
    checkpoint = open_checkpoint(tmp_path / "checkpoint")
    export, out = plan_export(checkpoint, "fp32"), tmp_path / "out"
    export.write(out)
    with (out / "weights.bin").open("r+b") as file:
        file.seek(export.layout.tensors["transformer.ln_f.weight"].offset_bytes)
        file.write(np.float32("nan").tobytes())
    windows = cut_windows([3] * 64, 32, 32)
    with pytest.raises(StageError, match=r"out on window 1: 4192 of 4192 logits are NaN") as caught:
        score_windows(checkpoint, "fp32", Quantization(), out, windows, SilentProgress())
    assert "run --verify" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("settings", "tokens", "total", "billions", "expected"),
    [
        ({}, 100_000, 2048, 0.1, (16, 512, 512)),
        ({}, 100_000, 128, 0.1, (16, 128, 128)),
        ({}, 1200, 2048, 0.1, (8, 144, 144)),
        ({}, 40, 64, 0.1, (2, 16, 16)),
        ({"window": 50, "perplexity_windows": 99}, 120, 128, 0.1, (2, 50, 50)),
        ({"window": 50, "stride": 10}, 120, 128, 0.1, (8, 50, 10)),
        ({}, 100_000, 2048, 6.9, (9, 64, 64)),
        ({}, 100_000, 2048, 180, (8, 16, 16)),
        ({"window": 512}, 100_000, 2048, 180, (16, 512, 512)),
    ],
)
def test_windows_are_as_long_as_text_total_and_model_allow(
    settings: dict[str, int], tokens: int, total: int, billions: float, expected: tuple[int, ...]
) -> None:
    size = int(2e9 * billions)
    windows = choose_windows(list(range(tokens)), Verification(**settings), total, size)
    assert (*windows.tokens.shape, windows.stride) == expected


def test_a_difference_has_the_error_of_its_pairs() -> None:
    """Of windows of one size, that of a mean: the standard deviation over the root of their number.

    Of others, that of a ratio.
    """
    reference = np.array([100.0, 900.0, 500.0, 300.0])
    change = np.array([0.3, 0.1, 0.2, 0.6])
    even = Windows(np.zeros((4, 11), np.int64), 11)
    made = compare_windows(reference + change, reference, even)
    error = (change / 10).std(ddof=1) / 2
    assert made == pytest.approx({"mean": 0.03, "standard_error": error})
    uneven = Windows(np.zeros((4, 11), np.int64), 5)
    assert uneven.counts.tolist() == [10, 5, 5, 5]
    proportional = compare_windows(reference + uneven.counts * 0.1, reference, uneven)
    assert proportional == pytest.approx({"mean": 0.1, "standard_error": 0}, abs=1e-12)
    single = compare_windows(reference[:1] + 1, reference[:1], Windows(even.tokens[:1], 11))
    assert single == {"mean": 0.1, "standard_error": None}


def test_large_logits_do_not_overflow() -> None:
    assert negative_log_likelihoods(np.array([[6e4, 0.0]]), np.array([0])) == pytest.approx([0])
