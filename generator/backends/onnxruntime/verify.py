"""The embedded verify stage: a compiled model against what it was made of, on real text.

fp16 is compared with the torch model in fp32, others with fp16 where that is built too. Each model
gets two prompts, then the text token by token, then continues by itself. What weights cost shows
in the perplexity (perplexity.py).

Legend of shapes: N compared positions, G greedy tokens, V vocabulary, W windows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vacc_gen.generator.backends.base import STATE_FOLDER, Build, Outcome
from vacc_gen.generator.backends.onnxruntime.export import DTYPES
from vacc_gen.generator.backends.onnxruntime.perplexity import (
    Losses,
    Windows,
    choose_windows,
    compare_windows,
    negative_log_likelihoods,
    score_windows,
)
from vacc_gen.generator.backends.onnxruntime.runtime import OnnxRuntimeModel, check_finite
from vacc_gen.generator.backends.onnxruntime.weights.source import checkpoint_of
from vacc_gen.generator.backends.onnxruntime.weights.weight_file import WEIGHTS_FILE
from vacc_gen.generator.calibration.tokenizer import TOKENIZER_FILE, Tokenizer
from vacc_gen.generator.plan import CompileJob
from vacc_gen.generator.progress import Progress
from vacc_gen.schema.errors import StageError, UnreadableError

TORCH = "torch"
"""The reference's name in the report: the modeling file, in fp32."""

TEXT_FILE = "verification.txt"
"""Colossians 4 and 1 Thessalonians 1 and 2, King James Version: public domain."""

MAX_PROMPT_TOKENS = 128
"""Enough to show a difference; a longer prompt costs the reference more than it shows."""

Logits = NDArray[np.float32]


def verify_job(
    build: Build, job: CompileJob, against: CompileJob | None, progress: Progress
) -> Outcome:
    """Compare what was compiled for `job` with that for `against`, or with the torch model.

    Differences beyond the recipe's thresholds are the outcome's failure.
    """
    recipe, precision = build.plan.recipe, job.precision.value
    sample = sample_text(build)
    trace = _run_compiled(build.deploy_dir(job), sample, progress)
    losses, windows = _score(build, job, against, progress)
    trace_file = _trace_file(build, job)
    np.savez(trace_file, window_losses=losses, **vars(trace))
    perplexities: dict[str, object] = {precision: trace.perplexity(sample), "windows": windows}
    if against is None:
        reference, expected = TORCH, _run_torch(build, sample, trace, progress)
        perplexities[TORCH] = expected.perplexity(sample)
    else:
        reference = against.precision.value
        with np.load(_trace_file(build, against)) as arrays:
            expected = Trace(**{part: arrays[part] for part in vars(trace)})
    limit = getattr(recipe.verification.max_abs_diff, precision)
    tokenizer = Tokenizer(build.weights.path / TOKENIZER_FILE)
    figures = compare(trace, expected, tokenizer)
    parity = {**figures, "reference": reference, "max_abs_diff_allowed": limit}
    # NaN is beyond any limit.
    problems = [
        f"{part} logits differ from {reference} by {diff:.4g}, {limit:g} is allowed "
        f"({diff / limit:.3g} times that)"
        for part in ("prefill", "decode")
        if not (diff := parity[f"{part}_max_abs_diff"]) <= limit
    ]
    details = {"parity": parity, "perplexity": perplexities}
    return Outcome((trace_file,), details, failure="; ".join(problems) or None)


# --- the text -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sample:
    ids: tuple[int, ...]
    """The prompt, then one token for each decode step, then the one that the last step predicts."""
    prompt_tokens: int

    @property
    def prompt_lengths(self) -> tuple[int, ...]:
        """Prompts that are tried: half of it, and all of it."""
        return tuple(sorted({max(1, self.prompt_tokens // 2), self.prompt_tokens}))

    @property
    def steps(self) -> int:
        return len(self.ids) - self.prompt_tokens - 1


def read_text(build: Build) -> bytes:
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


def sample_text(build: Build) -> Sample:
    """Cut the verification text into a prompt and decode steps that fit the recipe's lengths.

    Raises:
        StageError: the text, or the lengths, leave no room for the decode steps.
    """
    target, steps = build.plan.recipe.target, build.plan.recipe.verification.decode_steps
    ids = Tokenizer(build.weights.path / TOKENIZER_FILE).encode(read_text(build))
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
    return Sample(tuple(ids[: prompt + steps + 1]), prompt)


def text_windows(build: Build) -> Windows:
    """The windows of the verification text; raises as `choose_windows` and `read_text`."""
    recipe = build.plan.recipe
    ids = Tokenizer(build.weights.path / TOKENIZER_FILE).encode(read_text(build))
    return choose_windows(ids, recipe.verification, recipe.target.total)


# --- traces ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trace:
    """A model's logits for a sample, and for its own continuation of the prompt."""

    prefill: Logits
    """(N, V), after prompts of growing length; the last is the whole prompt."""
    decode: Logits
    """(N, V), after each token of the text that follows the prompt."""
    greedy: Logits
    """(G, V), what each greedy token, the likeliest after those before it, was chosen from."""

    def perplexity(self, sample: Sample) -> float:
        """Perplexity of the decoded tokens."""
        next_ids = np.array(sample.ids[sample.prompt_tokens :])
        logits = np.concatenate([self.prefill[-1:], self.decode])
        return math.exp(negative_log_likelihoods(logits, next_ids).mean())


def _trace_file(build: Build, job: CompileJob) -> Path:
    """Where a job's trace is kept, for those that are compared with it."""
    return build.work_dir(job).with_name(f"{job.name}.trace.npz")


def _run_compiled(folder: Path, sample: Sample, progress: Progress) -> Trace:
    model = OnnxRuntimeModel(folder)
    progress.start(f"prompt of {sample.prompt_tokens} tokens")
    prefill = [model.prefill(sample.ids[:length]) for length in sample.prompt_lengths]
    progress.start(f"{sample.steps} tokens of text")
    decode = [model.decode(token) for token in sample.ids[sample.prompt_tokens : -1]]
    progress.start(f"{sample.steps} greedy tokens")
    model.rewind()
    rows = prefill[-1:]  # that of the whole prompt
    while len(rows) < sample.steps:
        rows.append(model.decode(int(rows[-1].argmax())))
    return Trace(np.stack(prefill), np.stack(decode), np.stack(rows))


def _score(
    build: Build, job: CompileJob, against: CompileJob | None, progress: Progress
) -> tuple[Losses, dict[str, object]]:
    """The losses of a job's windows (W,), and the report's `windows`."""
    windows = text_windows(build)
    count, length = windows.tokens.shape
    progress.start(f"perplexity on {count} windows of {length} tokens")
    losses = score_windows(
        checkpoint_of(build.weights),
        DTYPES[job.precision],
        build.plan.recipe.quantization,
        build.deploy_dir(job) / WEIGHTS_FILE,
        windows,
        build.root / STATE_FOLDER,
    )
    perplexity = windows.perplexity(losses)
    score: dict[str, object] = {"precision": job.precision.value, "perplexity": perplexity}
    if against is not None:
        with np.load(_trace_file(build, against)) as arrays:
            difference = compare_windows(losses, arrays["window_losses"], windows)
        score["nll_difference"] = {"reference": against.precision.value, **difference}
    return losses, {
        "window_tokens": length,
        "stride_tokens": windows.stride,
        "windows": count,
        "predicted_tokens": int(windows.counts.sum()),
        "scores": [score],
    }


def _run_torch(build: Build, sample: Sample, trace: Trace, progress: Progress) -> Trace:
    """The torch model on the same text, and on the continuation that `trace` chose.

    Up to the first difference that continuation is the model's own too, so no token-by-token loop
    is needed.
    """
    from vacc_gen.generator.backends.onnxruntime.reference import ReferenceModel

    progress.start("load torch")
    model = ReferenceModel(build.modeling_file, checkpoint_of(build.weights), progress)
    first = sample.prompt_tokens - 1
    prefill = [length - 1 for length in sample.prompt_lengths]
    decode = range(first + 1, first + 1 + sample.steps)
    logits = model.logits(sample.ids[:-1], [*prefill, *decode])
    continued = (*sample.ids[: sample.prompt_tokens], *trace.greedy[:-1].argmax(axis=1).tolist())
    greedy = model.logits(continued, range(first, first + len(trace.greedy)))
    check_finite(np.concatenate([logits, greedy]), "the torch model")
    return Trace(logits[: len(prefill)], logits[len(prefill) :], greedy)


# --- figures --------------------------------------------------------------------------------


def compare(trace: Trace, reference: Trace, tokenizer: Tokenizer) -> dict[str, Any]:
    """The figures of a comparison. A relative difference is of the row's largest logit."""
    figures: dict[str, Any] = {}
    for part in ("prefill", "decode"):
        expected = getattr(reference, part)
        diff = np.abs(getattr(trace, part) - expected)
        scale = np.abs(expected).max(axis=1, keepdims=True)
        figures[f"{part}_max_abs_diff"] = float(diff.max())
        figures[f"{part}_max_rel_diff"] = float((diff / scale).max())
    chosen, best = trace.greedy.argmax(axis=1), reference.greedy.argmax(axis=1)
    differ = np.flatnonzero(chosen != best)
    figures |= {
        "decode_steps": len(trace.decode),
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
