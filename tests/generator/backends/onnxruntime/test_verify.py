"""The figures of a comparison, by hand, and texts that will do or will not."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.workspaces import FALCON_TINY, build, build_of, make_workspace, report_of
from vacc_gen.generator.backends.onnxruntime.backend import OnnxRuntimeBackend
from vacc_gen.generator.backends.onnxruntime.perplexity import cut_windows
from vacc_gen.generator.backends.onnxruntime.verify import Sample, Trace, compare, cut_text
from vacc_gen.generator.calibration.tokenizer import TOKENIZER_FILE, Tokenizer
from vacc_gen.generator.workspace import Workspace, load_workspace
from vacc_gen.schema.errors import StageError, VaccGenError
from vacc_gen.schema.precision import Precision

TRACE = Trace(
    text=np.array([[1.0, 2.0, -4.0], [0.0, 1.0, 0.5], [3.0, 1.0, 0.0]], np.float32),
    greedy=np.array([[1.0, 2.0, -4.0], [3.0, 1.0, 0.0]], np.float32),
    window_losses=np.array([]),
)


def test_figures_of_a_comparison() -> None:
    tokenizer = Tokenizer(FALCON_TINY / TOKENIZER_FILE)
    same = compare(TRACE, TRACE, tokenizer)
    assert (same["prefill_max_abs_diff"], same["decode_max_rel_diff"]) == (0, 0)
    assert (same["greedy_tokens_equal"], same["first_difference"]) == (True, None)
    reference = Trace(
        text=TRACE.text + np.array([[0.5, 0, 0], [0, 0, 0], [-0.25, 0, -1]], np.float32),
        greedy=np.array([[1.0, 2.0, -4.0], [3.0, 1.0, 3.5]], np.float32),
        window_losses=np.array([]),
    )
    assert compare(TRACE, reference, tokenizer) == {
        "prefill_max_abs_diff": 0.5,
        "prefill_max_rel_diff": 0.5 / 4,
        "decode_max_abs_diff": 1,
        "decode_max_rel_diff": pytest.approx(1 / 2.75),
        "decode_steps": 2,
        "greedy_tokens": 2,
        "greedy_tokens_equal": False,
        "first_difference": {
            "position": 1,
            "token": tokenizer.decode([0]),
            "reference_token": tokenizer.decode([2]),
            "logit_gap": 0.5,
        },
    }
    broken = compare(replace(TRACE, text=TRACE.text * np.float32("nan")), TRACE, tokenizer)
    assert math.isnan(broken["decode_max_abs_diff"])


def test_perplexity_of_even_logits() -> None:
    even = np.zeros((2, 4), np.float32)
    sample = Sample((3, 3), (1, 2), cut_windows([1, 2], 2, 2))
    assert Trace(even, even, np.array([])).perplexity(sample) == pytest.approx(4)


@pytest.mark.parametrize(
    ("lengths", "prompt"), [((64, 128), 64), ((512, 1024), 128), ((64, 80), 48)]
)
def test_a_sample_fits_the_lengths(tmp_path: Path, lengths: tuple[int, int], prompt: int) -> None:
    target = {"prefill": lengths[0], "total": lengths[1], "tp": 1}
    workspace = make_workspace(tmp_path / "w", target=target)
    sample = cut_text(build_of(workspace))
    assert (len(sample.prompt), len(sample.rest)) == (prompt, 33)


@pytest.mark.parametrize(
    ("content", "window", "words"),
    [
        (None, 16, "cannot read"),
        (b"\xff", 16, "own.txt as UTF-8 text"),
        (b"Jesus wept.", 16, "32 decode steps need 34"),
        (b"Jesus wept. " * 20, 128, "window is 128 tokens, the verification text has 83"),
        (b"Jesus wept. " * 99, 129, "window is 129 tokens, target.total has 128"),
    ],
)
def test_a_text_that_cannot_be_used(
    tmp_path: Path, content: bytes | None, window: int, words: str
) -> None:
    verification = {"text": "own.txt", "window": window}
    workspace = make_workspace(tmp_path / "workspace", verification=verification)
    if content is not None:
        (workspace.root / "own.txt").write_bytes(content)
    with pytest.raises((StageError, VaccGenError), match=words):
        OnnxRuntimeBackend().check(build_of(workspace))


def test_one_run_serves_all_jobs_and_what_is_known_is_not_run_again(built: Workspace) -> None:
    before, recipe = report_of(built), built.root / "vacc.yaml"
    alone = build(built, OnnxRuntimeBackend(), precisions=(Precision.INT8,))
    tokens = 9 * 128 + 2 * (64 + 32)  # windows; the text, and what the model chose
    assert alone.labels[-1] == f"torch in fp32 on {tokens} tokens, layer by layer"
    assert "4 of 4 layers, about 0.0 s left" in alone.said
    both = build(built, OnnxRuntimeBackend())
    assert [label[:8] for label in both.labels].count("run fp16") == 4
    assert both.labels[-2:] == [
        "load torch",
        f"torch in fp32 on {tokens + 96} tokens, layer by layer",
    ]
    for part in ("parity", "perplexity"):
        assert report_of(built)[part] == before[part]
    recipe.write_text(recipe.read_text().replace('"int8": 1.0', '"int8": 0.9'))
    stricter = load_workspace(built.root)
    assert build(stricter, OnnxRuntimeBackend()).labels == []
    assert report_of(built)["parity"]["precisions"]["int8"]["max_abs_diff_allowed"] == 0.9
    recipe.write_text(recipe.read_text().replace('"int8": 0.9', '"int8": 0.8'))
    kept = built.root / ".vacc-gen" / "work" / "verify.json"
    kept.write_bytes(kept.read_bytes()[:1000])
    assert build(load_workspace(built.root), OnnxRuntimeBackend()).labels == both.labels
