"""The embedded verify stage: compiled models against what they were made of, on real text.

Each model gets a prompt, then the text token by token, then continues the prompt by itself, and
reads the windows that perplexity is measured on. The reference, the torch model in fp32, reads its
weights once for all jobs of a build: the first one's step runs all models, and keeps all figures.

Legend of shapes: N compared positions, G greedy tokens, V vocabulary, W windows.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vacc_gen.generator.backends.base import STATE_FOLDER, Build, Outcome, Step
from vacc_gen.generator.backends.onnxruntime.export import DTYPES
from vacc_gen.generator.backends.onnxruntime.perplexity import (
    Losses,
    Windows,
    choose_windows,
    compare_windows,
    negative_log_likelihoods,
    score_windows,
    window_loss,
)
from vacc_gen.generator.backends.onnxruntime.runtime import OnnxRuntimeModel
from vacc_gen.generator.backends.onnxruntime.weights.source import checkpoint_of
from vacc_gen.generator.calibration.tokenizer import TOKENIZER_FILE, Tokenizer
from vacc_gen.generator.files import write_atomically
from vacc_gen.generator.plan import CompileJob
from vacc_gen.generator.progress import Progress, timed
from vacc_gen.schema.artifacts import MANIFEST_FILE, sha256_of
from vacc_gen.schema.errors import StageError, UnreadableError
from vacc_gen.schema.json_files import read_json
from vacc_gen.schema.precision import Precision

TORCH = "torch"
"""The reference in the report: the modeling file in fp32."""

TEXT_FILE = "verification.txt"
"""Colossians 4 and 1 Thessalonians 1 and 2, King James Version: public domain."""

RESULTS_FILE = "verify.json"
"""Keeps the figures of all jobs with what they depend on, between the steps of a build."""

MAX_PROMPT_TOKENS = 128
"""Enough to show a difference; a longer prompt costs the reference more than it shows."""

Logits = NDArray[np.float32]


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

    is_beside_fp16 = any(other.precision is Precision.FP16 for other in build.jobs)
    return Step({**facts, "thresholds": thresholds, "beside_fp16": is_beside_fp16}, run)


def _figures(build: Build, facts: object, progress: Progress) -> dict[str, Any]:
    """The figures of each job of `build` by its name: kept ones, or where there are none, new ones.

    They depend on `facts`, JSON values, and on the compiled folders, whose manifests are written
    anew by each compilation.
    """
    file = build.root / STATE_FOLDER / "work" / RESULTS_FILE
    manifests = [build.deploy_dir(job) / MANIFEST_FILE for job in build.jobs]
    key = [facts, *([m.read_text(), m.stat().st_mtime_ns] for m in manifests)]
    kept = read_json(file) or {}
    if kept.get("key") != key:
        kept = {"key": key, "figures": _compare_all(build, progress)}
        write_atomically(file, json.dumps(kept))
    figures: dict[str, Any] = kept["figures"]
    return figures


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
        score: dict[str, object] = {"precision": precision}
        score["perplexity"] = windows.perplexity(trace.window_losses)
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
class Sample:
    """What models read of the verification text."""

    prompt: tuple[int, ...]
    rest: tuple[int, ...]
    """What follows: one token for each decode step, then the one that the last step predicts."""
    windows: Windows


def _read_text(build: Build) -> bytes:
    """The text that the recipe names, or the one that ships.

    Raises:
        UnreadableError: the file cannot be read or is not UTF-8.
    """
    named = build.plan.recipe.verification.text
    if named is None:
        return files(__package__).joinpath(TEXT_FILE).read_bytes()
    path = build.root / named
    try:
        text = path.read_bytes()
        text.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableError(f"cannot read {path} as UTF-8 text: {error}") from error
    return text


def cut_text(build: Build) -> Sample:
    """Cut the verification text into a prompt and decode steps that fit the recipe, and windows.

    Raises:
        StageError: the text, or the lengths, leave no room for the decode steps or a window.
        UnreadableError: as `_read_text`.
    """
    target, verification = build.plan.recipe.target, build.plan.recipe.verification
    steps = verification.decode_steps
    ids = Tokenizer(build.weights.path / TOKENIZER_FILE).encode(_read_text(build))
    room = target.total - steps
    if room < 1:
        raise StageError(
            f"target.total, {target.total}, has no room for a prompt and {steps} decode steps",
            "raise target.total, or lower verification.decode_steps (32 at least)",
        )
    if len(ids) < steps + 2:
        raise StageError(
            f"the verification text has {len(ids)} tokens, {steps} decode steps need {steps + 2}",
            "name a longer one as verification.text in vacc.yaml",
        )
    prompt = min(target.prefill, MAX_PROMPT_TOKENS, room, len(ids) - steps - 1)
    windows = choose_windows(ids, verification, target.total, build.weights.tensor_bytes)
    return Sample(tuple(ids[:prompt]), tuple(ids[prompt : prompt + steps + 1]), windows)


# --- traces ---------------------------------------------------------------------------------


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
        return math.exp(negative_log_likelihoods(self.text, np.array(sample.rest)).mean())


def _run_compiled(build: Build, job: CompileJob, sample: Sample, progress: Progress) -> Trace:
    name, folder = job.precision.value, build.deploy_dir(job)
    fed = sample.rest[:-1]
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
    checkpoint, quantization = checkpoint_of(build.weights), build.plan.recipe.quantization
    dtype = DTYPES[job.precision]
    losses = score_windows(checkpoint, dtype, quantization, folder, sample.windows, progress)
    return Trace(np.stack(text), np.stack(greedy), losses)


def _run_torch(
    build: Build, sample: Sample, traces: Sequence[Trace], progress: Progress
) -> list[Trace]:
    """The torch model on all texts, and on the continuation that each of `traces` chose.

    Up to the first difference a continuation is the torch model's own too, so no token-by-token
    loop is needed.
    """
    progress.start("load torch")
    from vacc_gen.generator.backends.onnxruntime.reference import Text, reference_logits

    first = len(sample.prompt) - 1
    positions = range(first, first + len(sample.rest))
    texts: list[Text] = [((*sample.prompt, *sample.rest[:-1]), positions)]
    for trace in traces:
        chosen = trace.greedy.argmax(axis=1).tolist()
        texts.append(((*sample.prompt, *chosen), positions[:-1]))
    tokens, counts = sample.windows.tokens, sample.windows.counts
    read = [*texts, *((ids.tolist(), range(len(ids))) for ids in tokens)]
    checkpoint = checkpoint_of(build.weights)
    outputs = reference_logits(build.modeling_file, checkpoint, read, progress)
    text, *greedy = islice(outputs, len(texts))
    losses = np.array([*map(window_loss, outputs, tokens, counts)])
    return [Trace(text, rows, losses) for rows in greedy]


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
