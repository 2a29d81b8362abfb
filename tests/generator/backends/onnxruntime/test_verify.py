"""The figures of a comparison, against what they must be by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.workspaces import make_workspace
from vacc_gen.generator.backends.onnxruntime.backend import OnnxRuntimeBackend
from vacc_gen.generator.backends.onnxruntime.verify import (
    Difference,
    Sample,
    Trace,
    compare,
    first_difference,
    load_trace,
    sample_text,
)
from vacc_gen.generator.build import preflight
from vacc_gen.generator.files import sha256_of
from vacc_gen.schema.errors import StageError, VaccGenError

TRACE = Trace(
    prefill=np.array([[1.0, 2.0, -4.0]], np.float32),
    decode=np.array([[0.0, 1.0, 0.5], [3.0, 1.0, 0.0]], np.float32),
    greedy_ids=np.array([1, 0]),
    greedy=np.array([[1.0, 2.0, -4.0], [3.0, 1.0, 0.0]], np.float32),
)


def test_a_model_is_equal_to_itself() -> None:
    assert compare(TRACE, TRACE) == {
        "prefill_max_abs_diff": 0,
        "prefill_max_rel_diff": 0,
        "decode_max_abs_diff": 0,
        "decode_max_rel_diff": 0,
        "decode_steps": 2,
        "greedy_tokens": 2,
        "greedy_tokens_equal": True,
    }
    assert first_difference(TRACE, TRACE) is None


def test_the_largest_difference_counts_and_is_put_in_proportion() -> None:
    prefill = TRACE.prefill + np.array([[0.5, 0.0, 0.0]], np.float32)
    decode = TRACE.decode - np.array([[0.0, 0.0, 0.0], [0.25, 0.0, 1.0]], np.float32)
    parity = compare(TRACE, replace(TRACE, prefill=prefill, decode=decode))
    assert parity["prefill_max_abs_diff"] == 0.5
    assert parity["prefill_max_rel_diff"] == 0.5 / 4
    assert parity["decode_max_abs_diff"] == 1
    assert parity["decode_max_rel_diff"] == pytest.approx(1 / 2.75)


def test_the_first_difference_is_named_with_its_gap() -> None:
    greedy = np.array([[1.0, 2.0, -4.0], [3.0, 1.0, 3.5]], np.float32)
    reference = replace(TRACE, greedy=greedy)
    assert compare(TRACE, reference)["greedy_tokens_equal"] is False
    found = first_difference(TRACE, reference)
    assert found == Difference(1, token=0, reference_token=2, logit_gap=0.5)


def test_what_is_not_a_number_is_within_no_threshold() -> None:
    broken = replace(TRACE, decode=TRACE.decode * np.float32("nan"))
    diff = compare(broken, TRACE)["decode_max_abs_diff"]
    assert isinstance(diff, float)
    assert math.isnan(diff)
    assert not diff <= 1e9


def test_perplexity_is_that_of_the_decoded_tokens() -> None:
    even = np.zeros((1, 4), np.float32)
    trace = Trace(even, even, np.array([0]), even)
    assert trace.perplexity(Sample(ids=(3, 3, 1, 2), prompt_tokens=2)) == pytest.approx(4)


def test_a_trace_survives_its_file(tmp_path: Path) -> None:
    TRACE.save(tmp_path / "trace.npz")
    again = load_trace(tmp_path / "trace.npz")
    for name in ("prefill", "decode", "greedy_ids", "greedy"):
        assert (getattr(again, name) == getattr(TRACE, name)).all()


@pytest.mark.parametrize(
    ("lengths", "prompt"), [((64, 128), 64), ((512, 1024), 128), ((64, 80), 48)]
)
def test_a_sample_fits_the_lengths(tmp_path: Path, lengths: tuple[int, int], prompt: int) -> None:
    target = {"prefill": lengths[0], "total": lengths[1], "tp": 1}
    workspace = make_workspace(tmp_path / "w", target=target)
    sample = sample_text(preflight.check_build(workspace, workspace.plan.jobs, sha256_of))
    assert (sample.prompt_tokens, sample.steps) == (prompt, 32)
    assert sample.prompt_lengths == (prompt // 2, prompt)
    assert len(sample.ids) == prompt + 33


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot read"),
        (b"\xff", "is not UTF-8 text"),
        (b"Jesus wept.", "32 decode steps need 34"),
    ],
)
def test_a_text_that_cannot_be_used(tmp_path: Path, content: bytes | None, words: str) -> None:
    workspace = make_workspace(tmp_path / "workspace", verification={"text": "own.txt"})
    if content is not None:
        (workspace.root / "own.txt").write_bytes(content)
    build = preflight.check_build(workspace, workspace.plan.jobs, sha256_of)
    with pytest.raises((StageError, VaccGenError), match=words):
        OnnxRuntimeBackend().check(build)
