"""The embedded verify stage: compiled models against what they were made of, on real text.

Each model gets a prompt, then the text token by token, then continues the prompt by itself, and
reads the windows that perplexity is measured on. The reference, the torch model in fp32, reads its
weights once for all jobs of a build: the first one's step runs all models, and keeps all figures.

Legend of shapes: N compared positions, G greedy tokens, V vocabulary, W windows of S tokens.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vacc_gen.generator.backends.base import STATE_FOLDER, Build, Outcome, Step
from vacc_gen.generator.backends.onnxruntime.deployment import open_session
from vacc_gen.generator.backends.onnxruntime.export import Export, plan_job
from vacc_gen.generator.backends.onnxruntime.runtime import OnnxRuntimeModel, check_finite
from vacc_gen.generator.backends.onnxruntime.weights.source import checkpoint_of
from vacc_gen.generator.calibration.tokenizer import TOKENIZER_FILE, Tokenizer
from vacc_gen.generator.files import write_atomically
from vacc_gen.generator.plan import CompileJob
from vacc_gen.generator.progress import Progress, timed
from vacc_gen.schema.errors import StageError, UnreadableError
from vacc_gen.schema.json_files import MANIFEST_FILE, read_json, sha256_of
from vacc_gen.schema.precision import Precision
from vacc_gen.schema.recipe import LENGTH_STEP_TOKENS, Verification

TORCH = "torch"
"""The reference in the report: the modeling file in fp32."""

TEXT_FILE = "verification.txt"
"""Colossians 4 and 1 Thessalonians 1 and 2, King James Version: public domain."""

MAX_PROMPT_TOKENS = 128
"""Enough to show a difference; a longer prompt costs the reference more than it shows."""

DEFAULT_WINDOW_TOKENS = 512

DEFAULT_LEAST_WINDOWS = 8
"""A shorter text gets shorter windows: the error of a figure shows in how windows differ."""

DEFAULT_PRODUCTS = 8e12
"""Most checkpoint bytes x tokens of default windows: 9 windows of 64 tokens of a 7B model, which
cost the reference about a minute on two cores."""

Logits = NDArray[np.float32]
Tokens = NDArray[np.int64]
Losses = NDArray[np.float64]
"""Negative log-likelihoods in nats; of windows (W,): each the sum over what it predicts."""


def verify_step(build: Build, job: CompileJob, packages: Sequence[str | None]) -> Step:
    """Compare what was compiled for `job` with torch, and its perplexity with that of fp16.

    Differences beyond the recipe's thresholds are the outcome's failure.
    """
    verification = build.plan.recipe.verification.model_dump(mode="json")
    thresholds = verification.pop("max_abs_diff")
    facts = {
        "verification": verification,
        "text": hashlib.sha256(_read_text(build)).hexdigest(),
        "modeling": sha256_of(build.modeling_file),
        "packages": packages,
    }

    def run(progress: Progress) -> Outcome:
        figures = _figures(build, facts, progress)[job.name]
        limit = thresholds[job.precision.value]
        parity = {**figures["parity"], "reference": TORCH, "max_abs_diff_allowed": limit}
        # NaN is beyond any limit.
        problems = [
            f"{part} logits differ from {TORCH} by {diff:.4g}, {limit:g} is allowed "
            f"({diff / limit:.3g} times that)"
            for part in ("prefill", "decode")
            if not (diff := parity[f"{part}_max_abs_diff"]) <= limit
        ]
        return Outcome((), {**figures, "parity": parity}, failure="; ".join(problems) or None)

    return Step({**facts, "thresholds": thresholds, "first": build.jobs[0].name}, run)


def _figures(build: Build, facts: object, progress: Progress) -> dict[str, Any]:
    """The figures of each job of `build` by its name, kept between the steps of a build.

    They depend on `facts`, JSON values, and on the compiled folders, whose manifests are written
    anew by each compilation.
    """
    file = build.root / STATE_FOLDER / "work" / "verify.json"
    manifests = [build.deploy_dir(job) / MANIFEST_FILE for job in build.jobs]
    key = [facts, *([m.read_text(), m.stat().st_mtime_ns] for m in manifests)]
    kept = read_json(file) or {}
    if kept.get("key") != key:
        kept = {"key": key, "figures": _compare_all(build, progress)}
        write_atomically(file, json.dumps(kept))
    return dict(kept["figures"])


def _compare_all(build: Build, progress: Progress) -> dict[str, Any]:
    """Run the models of all jobs, then the reference on what they chose; compare them."""
    sample = cut_text(build)
    windows, tokenizer = sample.windows, Tokenizer(build.weights.path / TOKENIZER_FILE)
    compiled = [_run_compiled(build, job, sample, progress) for job in build.jobs]
    references = _run_torch(build, sample, compiled, progress)
    base, base_name = references[0], TORCH
    if build.jobs[0].precision is Precision.FP16:  # it is the first where it is built
        base, base_name = compiled[0], Precision.FP16.value
    figures: dict[str, Any] = {}
    for job, trace, expected in zip(build.jobs, compiled, references, strict=True):
        precision = job.precision.value
        perplexity = windows.perplexity(trace.window_losses)
        score: dict[str, Any] = {"precision": precision, "perplexity": perplexity}
        if base is not trace:
            difference = compare_windows(trace.window_losses, base.window_losses, windows)
            score["nll_difference"] = {"reference": base_name, **difference}
        of_windows = {
            "window_tokens": windows.tokens.shape[1],
            "stride_tokens": windows.stride,
            "windows": len(windows.tokens),
            "predicted_tokens": int(windows.counts.sum()),
            TORCH: windows.perplexity(expected.window_losses),
            "scores": [score],
        }
        perplexities = {precision: trace.perplexity(sample), TORCH: expected.perplexity(sample)}
        figures[job.name] = {
            "parity": compare(trace, expected, tokenizer),
            "perplexity": {**perplexities, "windows": of_windows},
        }
    return figures


# --- the text -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Windows:
    """Windows of a text, each read in one pass; no token is predicted twice."""

    tokens: Tokens
    """(W, S)"""
    stride: int
    """Tokens from one window to the next, S at most."""

    @property
    def counts(self) -> Tokens:
        """Tokens that each window predicts, its last ones, (W,): those new to it, but the first."""
        count, length = self.tokens.shape
        return np.array([length - 1] + [min(self.stride, length - 1)] * (count - 1), np.int64)

    def perplexity(self, losses: Losses) -> float:
        return math.exp(losses.sum() / self.counts.sum())


@dataclass(frozen=True)
class Sample:
    """What models read of the verification text."""

    prompt: tuple[int, ...]
    rest: tuple[int, ...]
    """What follows: one token for each decode step, then the one that the last step predicts."""
    windows: Windows


def _read_text(build: Build) -> bytes:
    """The text that the recipe names, or the one that ships."""
    named = build.plan.recipe.verification.text
    path = build.root / named if named else Path(__file__).with_name(TEXT_FILE)
    try:
        return path.read_bytes().decode().encode()
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableError(f"cannot read {path} as UTF-8 text: {error}") from error


def cut_text(build: Build) -> Sample:
    """Cut the verification text into a prompt and decode steps that fit the recipe, and windows.

    A StageError or an UnreadableError says why it will not do.
    """
    target, verification = build.plan.recipe.target, build.plan.recipe.verification
    steps = verification.decode_steps
    ids = Tokenizer(build.weights.path / TOKENIZER_FILE).encode(_read_text(build))
    prompt = min(target.prefill, MAX_PROMPT_TOKENS, target.total - steps, len(ids) - steps - 1)
    if prompt < 1:
        raise StageError(
            f"{steps} decode steps leave no room for a prompt: target.total is {target.total}, and "
            f"the verification text has {len(ids)} tokens",
            "lower verification.decode_steps (32 at least), raise target.total, or name a longer "
            "text as verification.text in vacc.yaml",
        )
    windows = choose_windows(ids, verification, target.total, build.weights.tensor_bytes)
    return Sample(tuple(ids[:prompt]), tuple(ids[prompt : prompt + steps + 1]), windows)


def choose_windows(
    token_ids: list[int], verification: Verification, total: int, checkpoint_bytes: int
) -> Windows:
    """Cut a text as the recipe says, `total` being its target.total, and for a size of the model.

    A window that is longer than `total` or the text is a StageError.
    """
    window, most = verification.window, verification.perplexity_windows
    if window is None:
        affordable = int(DEFAULT_PRODUCTS / checkpoint_bytes)
        least = min(len(token_ids), affordable) // DEFAULT_LEAST_WINDOWS
        window = min(DEFAULT_WINDOW_TOKENS, total, least)
        window = max(LENGTH_STEP_TOKENS, window // LENGTH_STEP_TOKENS * LENGTH_STEP_TOKENS)
        most = min(most, max(DEFAULT_LEAST_WINDOWS, affordable // window))
    for limit, whose in ((total, "target.total"), (len(token_ids), "the verification text")):
        if window > limit:
            raise StageError(
                f"verification.window is {window} tokens, {whose} has {limit}",
                f"set verification.window in vacc.yaml to {limit} or less, or leave it out",
            )
    stride = verification.stride or window
    starts = range(0, len(token_ids) - window + 1, stride)[:most]
    tokens = np.array([token_ids[start : start + window] for start in starts], np.int64)
    return Windows(tokens, stride)


# --- models ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trace:
    """A model's logits for a sample and for its own continuation of the prompt, and its losses."""

    text: Logits
    """(N, V), after the prompt, and after each token of the text that follows it."""
    greedy: Logits
    """(G, V), what each greedy token, the likeliest after those before it, was chosen from."""
    window_losses: Losses
    """(W,)"""

    def perplexity(self, sample: Sample) -> float:
        """Perplexity of the decoded tokens."""
        return math.exp(loss(self.text, sample.rest) / len(sample.rest))


def _run_compiled(build: Build, job: CompileJob, sample: Sample, progress: Progress) -> Trace:
    name, folder, fed = job.precision.value, build.deploy_dir(job), sample.rest[:-1]
    progress.start(f"run {name}: load, prompt of {len(sample.prompt)} tokens")
    model = OnnxRuntimeModel(folder)
    text = [model.prefill(sample.prompt)]
    progress.start(f"run {name}: {len(fed)} tokens of text")
    text += [model.decode(token) for token in timed(fed, "tokens", progress)]
    progress.start(f"run {name}: {len(fed)} greedy tokens")
    greedy = [model.prefill(sample.prompt)]
    for _ in timed(fed[1:], "tokens", progress):
        greedy.append(model.decode(int(greedy[-1].argmax())))
    del model  # its memory, before the weights are loaded once more
    count, length = sample.windows.tokens.shape
    progress.start(f"run {name}: {count} windows of {length} tokens")
    losses = score_windows(plan_job(build, job), folder, sample.windows, progress)
    return Trace(np.stack(text), np.stack(greedy), losses)


def score_windows(export: Export, folder: Path, windows: Windows, progress: Progress) -> Losses:
    """The losses (W,) of the model that was written to `folder`.

    Its graph here is like prefill.onnx, but gives the logits of every position.

    Raises:
        StageError: a logit is not finite.
    """
    from vacc_gen.generator.backends.onnxruntime.graph.falcon import SCORING_AXES, falcon_graph

    architecture, activations = export.checkpoint.architecture, export.quantization.activations
    graph = falcon_graph("scoring", architecture, export.layout, SCORING_AXES, activations, {})
    session = open_session(folder, graph.SerializeToString())
    length = windows.tokens.shape[1]
    mask, positions = np.ones((1, length), np.int64), np.arange(length, dtype=np.int64)[None]
    losses: list[float] = []
    for ids in timed(list(windows.tokens), "windows", progress):
        feeds = {"input_ids": ids[None], "attention_mask": mask, "position_ids": positions}
        (logits,) = session.run(["logits"], feeds)  # (1, S, V)
        check_finite(logits, f"{folder.name} on window {len(losses) + 1}")
        count = windows.counts[len(losses)]
        losses.append(loss(logits[0, -count - 1 : -1], ids[-count:]))
    return np.array(losses)


def _run_torch(
    build: Build, sample: Sample, traces: Sequence[Trace], progress: Progress
) -> list[Trace]:
    """The torch model on all texts, and on the continuation that each of `traces` chose.

    Up to the first difference a continuation is the torch model's own too, so no token-by-token
    loop is needed.
    """
    progress.start("load torch")
    from vacc_gen.generator.backends.onnxruntime.reference import Text, reference_logits

    def text(before: Sequence[int], predicted: Sequence[int]) -> Text:
        return (*before, *predicted[:-1]), len(predicted)

    chosen = [trace.greedy.argmax(axis=1).tolist() for trace in traces]
    texts = [text(sample.prompt, tokens) for tokens in (sample.rest, *chosen)]
    pairs = list(zip(sample.windows.tokens.tolist(), sample.windows.counts, strict=True))
    texts += [text(ids[:-count], ids[-count:]) for ids, count in pairs]
    checkpoint = checkpoint_of(build.weights)
    outputs = reference_logits(build.modeling_file, checkpoint, texts, progress)
    read, *greedy = islice(outputs, 1 + len(traces))
    losses = [loss(rows, ids[-count:]) for rows, (ids, count) in zip(outputs, pairs, strict=True)]
    return [Trace(read, rows, np.array(losses)) for rows in greedy]


# --- figures --------------------------------------------------------------------------------


def loss(logits: NDArray[np.generic], next_ids: Sequence[int]) -> float:
    """The sum of -log p(next id) (N,) by `logits` (N, V)."""
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    losses = np.log(np.exp(wide).sum(axis=1)) - wide[np.arange(len(next_ids)), next_ids]
    return float(losses.sum())


def compare_windows(losses: Losses, reference: Losses, windows: Windows) -> dict[str, object]:
    """The difference of two models' mean losses, in nats a token, and its standard error.

    Paired: windows that are hard for both count for neither. One window has no error.
    """
    difference, counts = losses - reference, windows.counts
    mean = float(difference.sum() / counts.sum())
    error = None
    if len(counts) > 1:
        spread = ((difference - mean * counts) ** 2).sum() * len(counts) / (len(counts) - 1)
        error = float(math.sqrt(spread) / counts.sum())
    return {"mean": mean, "standard_error": error}


def compare(trace: Trace, reference: Trace, tokenizer: Tokenizer) -> dict[str, Any]:
    """The figures of a comparison. A relative difference is of the row's largest logit."""
    figures: dict[str, Any] = {}
    for part, rows in (("prefill", slice(1)), ("decode", slice(1, None))):
        expected = reference.text[rows]
        diff = np.abs(trace.text[rows] - expected)
        scale = np.abs(expected).max(axis=1, keepdims=True)
        figures[f"{part}_max_abs_diff"] = float(diff.max())
        figures[f"{part}_max_rel_diff"] = float((diff / scale).max())
    chosen, best = trace.greedy.argmax(axis=1), reference.greedy.argmax(axis=1)
    differ = np.flatnonzero(chosen != best)
    figures |= {
        "decode_steps": len(trace.text) - 1,
        "greedy_tokens": len(trace.greedy),
        "greedy_tokens_equal": len(differ) == 0,
        "first_difference": None,
    }
    if len(differ):
        first = int(differ[0])
        row, token, wanted = reference.greedy[first], int(chosen[first]), int(best[first])
        figures["first_difference"] = {
            "position": first,
            "token": tokenizer.decode([token]),
            "reference_token": tokenizer.decode([wanted]),
            "logit_gap": float(row[wanted] - row[token]),
        }
    return figures
