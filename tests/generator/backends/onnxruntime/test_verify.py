"""The figures of a comparison, by hand, and perplexity on windows against transformers."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.falcons import VARIANTS, VOCABULARY, make_falcon
from tests.workspaces import FALCON_TINY, make_workspace
from vacc_gen.generator.backends.onnxruntime.backend import OnnxRuntimeBackend
from vacc_gen.generator.backends.onnxruntime.export import export_graphs
from vacc_gen.generator.backends.onnxruntime.verify import (
    Sample,
    Trace,
    compare,
    cut_windows,
    negative_log_likelihood,
    sample_text,
    score_weights,
)
from vacc_gen.generator.backends.onnxruntime.weights.source import Checkpoint, open_checkpoint
from vacc_gen.generator.build import preflight
from vacc_gen.generator.calibration.tokenizer import TOKENIZER_FILE, Tokenizer
from vacc_gen.generator.files import sha256_of
from vacc_gen.schema.errors import StageError, VaccGenError
from vacc_gen.schema.precision import Quantization

TRACE = Trace(
    prefill=np.array([[1.0, 2.0, -4.0]], np.float32),
    decode=np.array([[0.0, 1.0, 0.5], [3.0, 1.0, 0.0]], np.float32),
    greedy=np.array([[1.0, 2.0, -4.0], [3.0, 1.0, 0.0]], np.float32),
)


def compared(trace: Trace, reference: Trace) -> dict[str, Any]:
    return compare(trace, reference, Tokenizer(FALCON_TINY / TOKENIZER_FILE))


def test_a_model_is_equal_to_itself() -> None:
    assert compared(TRACE, TRACE) == {
        "prefill_max_abs_diff": 0,
        "prefill_max_rel_diff": 0,
        "decode_max_abs_diff": 0,
        "decode_max_rel_diff": 0,
        "decode_steps": 2,
        "greedy_tokens": 2,
        "greedy_tokens_equal": True,
        "first_difference": None,
    }


def test_the_largest_difference_counts_and_is_put_in_proportion() -> None:
    prefill = TRACE.prefill + np.array([[0.5, 0.0, 0.0]], np.float32)
    decode = TRACE.decode - np.array([[0.0, 0.0, 0.0], [0.25, 0.0, 1.0]], np.float32)
    parity = compared(TRACE, replace(TRACE, prefill=prefill, decode=decode))
    assert parity["prefill_max_abs_diff"] == 0.5
    assert parity["prefill_max_rel_diff"] == 0.5 / 4
    assert parity["decode_max_abs_diff"] == 1
    assert parity["decode_max_rel_diff"] == pytest.approx(1 / 2.75)
    broken = compared(replace(TRACE, decode=TRACE.decode * np.float32("nan")), TRACE)
    assert math.isnan(broken["decode_max_abs_diff"])


def test_the_first_difference_is_named_with_its_gap() -> None:
    greedy = np.array([[1.0, 2.0, -4.0], [3.0, 1.0, 3.5]], np.float32)
    parity = compared(TRACE, replace(TRACE, greedy=greedy))
    assert parity["greedy_tokens_equal"] is False
    tokenizer = Tokenizer(FALCON_TINY / TOKENIZER_FILE)
    assert parity["first_difference"] == {
        "position": 1,
        "token": tokenizer.decode([0]),
        "reference_token": tokenizer.decode([2]),
        "logit_gap": 0.5,
    }


def test_perplexity_is_that_of_the_decoded_tokens() -> None:
    even = np.zeros((1, 4), np.float32)
    trace = Trace(even, even, even)
    assert trace.perplexity(Sample(ids=(3, 3, 1, 2), prompt_tokens=2)) == pytest.approx(4)


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
        (b"\xff", "own.txt as UTF-8 text"),
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


# --- perplexity on windows ------------------------------------------------------------------


def scored(
    checkpoint: Checkpoint, tmp_path: Path, dtype: Any, windows: Any, accuracy_level: int = 4
) -> float:
    out, work = tmp_path / dtype, tmp_path / "work"
    export_graphs(checkpoint, out, dtype=dtype, force=True)
    work.mkdir(exist_ok=True)
    quantization = Quantization(accuracy_level=accuracy_level)
    value = score_weights(checkpoint, dtype, quantization, out / "weights.bin", windows, work)
    assert list(work.iterdir()) == []
    return value


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_is_that_of_transformers(variant: str, tmp_path: Path) -> None:
    oracle = make_falcon(variant, tmp_path / "checkpoint")
    ids = torch.randint(VOCABULARY, (300,), generator=torch.Generator().manual_seed(5))
    windows = cut_windows(ids.tolist())
    with torch.no_grad():
        losses = [oracle(ids[i : i + 128][None], labels=ids[i : i + 128][None]) for i in (0, 128)]
    wanted = math.exp(float(sum(output.loss for output in losses)) / 2)
    checkpoint = open_checkpoint(tmp_path / "checkpoint")
    assert scored(checkpoint, tmp_path, "fp32", windows) == pytest.approx(wanted, rel=1e-5)


def test_windows_are_whole_and_as_many_as_asked() -> None:
    ids = list(range(1000))
    assert cut_windows(ids).shape == (7, 128)
    assert cut_windows(ids, 3).tolist() == np.arange(384).reshape(3, 128).tolist()
    assert cut_windows(ids[:100]).shape == (0, 128)


def test_int8_activations_are_felt(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(FALCON_TINY)
    windows = cut_windows([i * 7 % 2048 for i in range(256)])
    exact = scored(checkpoint, tmp_path, "int8", windows, accuracy_level=0)
    assert scored(checkpoint, tmp_path, "int8", windows) != exact


def test_likelihood_of_a_fair_coin_and_of_large_logits() -> None:
    rows = np.array([[5.0, 5.0, -1e9], [0.0, 0.0, -1e9]], np.float32)
    assert negative_log_likelihood(rows, np.array([0, 1])) == pytest.approx(2 * math.log(2))
    assert negative_log_likelihood(np.array([[6e4, 0.0]]), np.array([0])) == pytest.approx(0)
