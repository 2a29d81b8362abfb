"""Figures by hand, perplexity and the reference against transformers, texts that will do."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.falcons import VARIANTS, VOCABULARY, make_falcon
from tests.weight_folders import open_checkpoint
from tests.workspaces import FALCON_TINY, Recorder, build, build_of, make_workspace, report_of
from vacc_gen.generator.backends.onnxruntime import reference
from vacc_gen.generator.backends.onnxruntime.backend import OnnxRuntimeBackend
from vacc_gen.generator.backends.onnxruntime.export import plan_export
from vacc_gen.generator.backends.onnxruntime.verify import (
    Sample,
    Trace,
    Windows,
    choose_windows,
    compare,
    compare_windows,
    cut_text,
    loss,
    score_windows,
)
from vacc_gen.generator.calibration.tokenizer import TOKENIZER_FILE, Tokenizer
from vacc_gen.generator.progress import Progress
from vacc_gen.generator.workspace import load_workspace
from vacc_gen.schema.errors import StageError, VaccGenError
from vacc_gen.schema.precision import Precision
from vacc_gen.schema.recipe import Verification

MODELING = Path(__file__).parents[4] / "generator" / "templates" / "modeling_falcon_vacc.py"

TRACE = Trace(
    text=np.array([[1.0, 2.0, -4.0], [0.0, 1.0, 0.5], [3.0, 1.0, 0.0]], np.float32),
    greedy=np.array([[1.0, 2.0, -4.0], [3.0, 1.0, 0.0]], np.float32),
    window_losses=np.array([]),
)


def cut(token_ids, total=128, size=1, **settings):
    return choose_windows(token_ids, Verification(**settings), total, size)


def test_figures_of_a_comparison():
    tokenizer = Tokenizer(FALCON_TINY / TOKENIZER_FILE)
    same = compare(TRACE, TRACE, tokenizer)
    assert (same["prefill_max_abs_diff"], same["decode_max_rel_diff"]) == (0, 0)
    assert (same["greedy_tokens_equal"], same["first_difference"]) == (True, None)
    expected = Trace(
        text=TRACE.text + np.array([[0.5, 0, 0], [0, 0, 0], [-0.25, 0, -1]], np.float32),
        greedy=np.array([[1.0, 2.0, -4.0], [3.0, 1.0, 3.5]], np.float32),
        window_losses=np.array([]),
    )
    assert compare(TRACE, expected, tokenizer) == {
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


def test_perplexity_of_even_logits():
    even = np.zeros((2, 4), np.float32)
    sample = Sample((3, 3), (1, 2), cut([1, 2], window=2))
    assert Trace(even, even, np.array([])).perplexity(sample) == pytest.approx(4)


@pytest.mark.parametrize(
    ("lengths", "prompt"), [((64, 128), 64), ((512, 1024), 128), ((64, 80), 48)]
)
def test_a_sample_fits_the_lengths(tmp_path, lengths, prompt):
    target = {"prefill": lengths[0], "total": lengths[1], "tp": 1}
    workspace = make_workspace(tmp_path / "w", target=target)
    sample = cut_text(build_of(workspace))
    assert (len(sample.prompt), len(sample.rest)) == (prompt, 33)


@pytest.mark.parametrize(
    ("content", "window", "words"),
    [
        (None, 16, "cannot read"),
        (b"\xff", 16, "own.txt as UTF-8 text"),
        (b"Jesus wept.", 16, "32 decode steps leave no room .* text has 6 tokens"),
        (b"Jesus wept. " * 20, 128, "window is 128 tokens, the verification text has 83"),
        (b"Jesus wept. " * 99, 129, "window is 129 tokens, target.total has 128"),
    ],
)
def test_a_text_that_cannot_be_used(tmp_path, content, window, words):
    verification = {"text": "own.txt", "window": window}
    workspace = make_workspace(tmp_path / "workspace", verification=verification)
    if content is not None:
        (workspace.root / "own.txt").write_bytes(content)
    with pytest.raises((StageError, VaccGenError), match=words):
        OnnxRuntimeBackend().check(build_of(workspace))


def test_one_run_serves_all_jobs_and_what_is_known_is_not_run_again(built):
    before, recipe = report_of(built), built.root / "vacc.yaml"
    alone = build(built, OnnxRuntimeBackend(), precisions=(Precision.INT8,))
    tokens = 9 * 127 + 64 + 32 + 64 + 31  # windows; the text, and what the model chose
    assert alone.labels[-1] == f"torch in fp32 on {tokens} tokens, layer by layer"
    assert "4 of 4 layers, about 0.0 s left" in alone.said
    assert report_of(built)["parity"]["precisions"]["int8"]["reference"] == "torch"
    (score,) = report_of(built)["perplexity"]["windows"]["scores"]
    assert score["nll_difference"]["reference"] == "torch"
    both = build(built, OnnxRuntimeBackend())
    assert [label[:8] for label in both.labels].count("run fp16") == 4
    assert both.labels[-2:] == [
        "load torch",
        f"torch in fp32 on {tokens + 95} tokens, layer by layer",
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


@pytest.mark.parametrize("stride", [64, 40])
@pytest.mark.parametrize("variant", VARIANTS)
def test_it_is_that_of_transformers(variant, stride, tmp_path):
    """Of a window that overlaps the one before, only the new tokens count."""
    oracle = make_falcon(variant, tmp_path / "checkpoint")
    ids = torch.randint(VOCABULARY, (300,), generator=torch.Generator().manual_seed(5))
    windows = cut(ids.tolist(), window=64, stride=stride, perplexity_windows=3)
    wanted = []
    for start in (0, stride, 2 * stride):
        labels = ids[start : start + 64].clone()
        if start:
            labels[: 64 - stride] = -100
        with torch.no_grad():
            loss = oracle(ids[start : start + 64][None], labels=labels[None]).loss
        wanted.append(float(loss) * int((labels[1:] >= 0).sum()))
    export, out = plan_export(open_checkpoint(tmp_path / "checkpoint"), "fp32"), tmp_path / "out"
    export.write(out)
    losses = score_windows(export, out, windows, Progress())
    assert losses == pytest.approx(wanted, rel=1e-5)
    tokens = 63 + 2 * min(stride, 63)
    assert windows.perplexity(losses) == pytest.approx(math.exp(sum(wanted) / tokens), rel=1e-5)


def test_logits_that_are_not_finite_are_no_perplexity(tmp_path):
    make_falcon("7b", tmp_path / "checkpoint")
    export, out = plan_export(open_checkpoint(tmp_path / "checkpoint"), "fp32"), tmp_path / "out"
    export.write(out)
    with (out / "weights.bin").open("r+b") as file:
        file.seek(export.layout.tensors["transformer.ln_f.weight"].offset_bytes)
        file.write(np.float32("nan").tobytes())
    windows = cut([3] * 64, window=32)
    with pytest.raises(StageError, match=r"out on window 1: 4192 of 4192 logits are NaN") as caught:
        score_windows(export, out, windows, Progress())
    assert "run --verify" in caught.value.hint


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
    settings, tokens, total, billions, expected
):
    size = int(2e9 * billions)
    windows = cut(list(range(tokens)), total, size, **settings)
    assert (*windows.tokens.shape, windows.stride) == expected


def test_a_difference_has_the_error_of_its_pairs():
    """Of windows of one size, that of a mean: the standard deviation over the root of their number.

    Of others, that of a ratio.
    """
    base = np.array([100.0, 900.0, 500.0, 300.0])
    change = np.array([0.3, 0.1, 0.2, 0.6])
    even = Windows(np.zeros((4, 11), np.int64), 11)
    made = compare_windows(base + change, base, even)
    error = (change / 10).std(ddof=1) / 2
    assert made == pytest.approx({"mean": 0.03, "standard_error": error})
    uneven = Windows(np.zeros((4, 11), np.int64), 5)
    assert uneven.counts.tolist() == [10, 5, 5, 5]
    proportional = compare_windows(base + uneven.counts * 0.1, base, uneven)
    assert proportional == pytest.approx({"mean": 0.1, "standard_error": 0}, abs=1e-12)
    single = compare_windows(base[:1] + 1, base[:1], Windows(even.tokens[:1], 11))
    assert single == {"mean": 0.1, "standard_error": None}


def test_large_logits_do_not_overflow():
    assert loss(np.array([[6e4, 0.0]]), [0]) == pytest.approx(0)


# --- the reference ----------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["falcon-tiny", "falcon-tiny-40b", "falcon-tiny-rw"])
def test_logits_of_every_text_are_those_of_transformers(model):
    """Lengths differ, and one length has more texts than go through a layer at once."""
    from transformers import AutoModelForCausalLM

    folder = FALCON_TINY.with_name(model)
    generator = torch.Generator().manual_seed(1)
    texts = [
        (torch.randint(1000, (length,), generator=generator).tolist(), count)
        for length, count in ((48, 1), (300, 300), (300, 3), (300, 1), (7, 6))
    ]
    checkpoint = open_checkpoint(folder)
    streamed = reference.reference_logits(MODELING, checkpoint, texts, Progress())
    whole = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for (ids, count), made in zip(texts, streamed, strict=True):
        with torch.inference_mode():
            expected = whole(torch.tensor([ids])).logits[0, -count:].numpy()
        np.testing.assert_allclose(made, expected, atol=1e-4)


def test_no_weights_stay_behind(monkeypatch):
    checkpoint, counter = open_checkpoint(FALCON_TINY), Recorder()
    model = reference.build_on_meta(MODELING, checkpoint)
    parameters = dict(model.named_parameters())
    monkeypatch.setattr(reference, "build_on_meta", lambda *_: model)
    texts = [([5, 6, 7], 1), ([8, 9], 2)]
    for _ in reference.reference_logits(MODELING, checkpoint, texts, counter):
        loaded = [n for n, p in model.named_parameters() if p.device.type != "meta"]
        assert loaded == ["lm_head.weight"]
    assert {p.device.type for p in parameters.values()} == {"meta"}
    tied_bytes = checkpoint.tensors["transformer.word_embeddings.weight"].length_bytes
    stored_bytes = sum(tensor.length_bytes for tensor in checkpoint.tensors.values())
    assert counter.done_bytes == stored_bytes + tied_bytes  # a tied head is read again
