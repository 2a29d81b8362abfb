"""The figures of a comparison, against what they must be by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vacc_gen.generator.backends.onnxruntime.parity import (
    Difference,
    Trace,
    compare,
    load_trace,
    perplexity,
)

TRACE = Trace(
    prefill=np.array([[1.0, 2.0, -4.0]], np.float32),
    decode=np.array([[0.0, 1.0, 0.5], [3.0, 1.0, 0.0]], np.float32),
    greedy_ids=(1, 0),
    greedy=np.array([[1.0, 2.0, -4.0], [3.0, 1.0, 0.0]], np.float32),
)


def test_a_model_is_equal_to_itself() -> None:
    parity = compare(TRACE, TRACE.prefill, TRACE.decode, TRACE.greedy)
    assert (parity.prefill_max_abs_diff, parity.decode_max_abs_diff) == (0, 0)
    assert (parity.prefill_max_rel_diff, parity.decode_max_rel_diff) == (0, 0)
    assert (parity.decode_steps, parity.greedy_tokens) == (2, 2)
    assert parity.greedy_tokens_equal
    assert parity.first_difference is None


def test_the_largest_difference_counts_and_is_put_in_proportion() -> None:
    prefill = TRACE.prefill + np.array([[0.5, 0.0, 0.0]], np.float32)
    decode = TRACE.decode - np.array([[0.0, 0.0, 0.0], [0.25, 0.0, 1.0]], np.float32)
    parity = compare(TRACE, prefill, decode, TRACE.greedy)
    assert parity.prefill_max_abs_diff == 0.5
    assert parity.prefill_max_rel_diff == 0.5 / 4
    assert parity.decode_max_abs_diff == 1
    assert parity.decode_max_rel_diff == pytest.approx(1 / 2.75)


def test_the_first_difference_is_named_with_its_gap() -> None:
    greedy = np.array([[1.0, 2.0, -4.0], [3.0, 1.0, 3.5]], np.float32)
    parity = compare(TRACE, TRACE.prefill, TRACE.decode, greedy)
    assert not parity.greedy_tokens_equal
    assert parity.first_difference == Difference(1, token=0, reference_token=2, logit_gap=0.5)


def test_what_is_no_number_is_within_no_threshold() -> None:
    broken = replace(TRACE, decode=TRACE.decode * np.float32("nan"))
    parity = compare(broken, TRACE.prefill, TRACE.decode, TRACE.greedy)
    assert math.isnan(parity.decode_max_abs_diff)
    assert not parity.decode_max_abs_diff <= 1e9


def test_perplexity_of_a_fair_coin_is_two() -> None:
    rows = np.array([[5.0, 5.0, -1e9], [0.0, 0.0, -1e9]], np.float32)
    assert perplexity(rows, [0, 1]) == pytest.approx(2)


def test_perplexity_takes_large_logits() -> None:
    assert perplexity(np.array([[6e4, 0.0]], np.float32), [0]) == pytest.approx(1)


def test_a_trace_survives_its_file(tmp_path: Path) -> None:
    TRACE.save(tmp_path / "trace.npz")
    again = load_trace(tmp_path / "trace.npz")
    assert again.greedy_ids == TRACE.greedy_ids
    for name in ("prefill", "decode", "greedy"):
        assert (getattr(again, name) == getattr(TRACE, name)).all()
