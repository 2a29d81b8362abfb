"""The embedded verify stage: a compiled model against what it was made of, on real text.

fp16 is compared with the torch model in fp32, others with fp16 where that is built too. Each model
gets two prompts, then the text token by token, then continues by itself. What weights cost shows
in the perplexity on windows of the text, each read in one pass.

Legend of shapes: N compared positions, G greedy tokens, V vocabulary, W windows of S tokens.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vacc_gen.generator.backends.base import STATE_FOLDER, Build, Outcome
from vacc_gen.generator.backends.onnxruntime.export import DTYPES, planned_layout
from vacc_gen.generator.backends.onnxruntime.runtime import OnnxRuntimeModel
from vacc_gen.generator.backends.onnxruntime.session import open_session
from vacc_gen.generator.backends.onnxruntime.weights.source import Checkpoint, open_checkpoint
from vacc_gen.generator.backends.onnxruntime.weights.weight_file import WEIGHTS_FILE, Dtype
from vacc_gen.generator.calibration.tokenizer import TOKENIZER_FILE, Tokenizer
from vacc_gen.generator.plan import CompileJob
from vacc_gen.generator.progress import Progress
from vacc_gen.schema.errors import StageError, UnreadableError
from vacc_gen.schema.precision import Quantization

TORCH = "torch"
"""The reference's name in the report: the modeling file, in fp32."""

TEXT_FILE = "verification.txt"
"""Colossians 4 and 1 Thessalonians 1 and 2, King James Version: public domain."""

MAX_PROMPT_TOKENS = 128
"""Enough to show a difference; a longer prompt costs the reference more than it shows."""

WINDOW_TOKENS = 128
"""Short enough for any model's positions, and what small models are usually compared at."""

Logits = NDArray[np.float32]
Tokens = NDArray[np.int64]


def verify_job(
    build: Build, job: CompileJob, against: CompileJob | None, progress: Progress
) -> Outcome:
    """Compare what was compiled for `job` with that for `against`, or with the torch model.

    Differences beyond the recipe's thresholds are the outcome's failure.
    """
    recipe, precision = build.plan.recipe, job.precision.value
    sample = sample_text(build)
    trace = _run_compiled(build.deploy_dir(job), sample, progress)
    trace_file = _trace_file(build, job)
    np.savez(trace_file, **vars(trace))
    perplexities: dict[str, object] = {precision: trace.perplexity(sample)}
    if against is None:
        reference, expected = TORCH, _run_torch(build, sample, trace, progress)
        perplexities[TORCH] = expected.perplexity(sample)
    else:
        reference = against.precision.value
        with np.load(_trace_file(build, against)) as arrays:
            expected = Trace(**arrays)
    limit = getattr(recipe.verification.max_abs_diff, precision)
    tokenizer = Tokenizer(build.weights.path / TOKENIZER_FILE)
    figures = compare(trace, expected, tokenizer)
    parity = {**figures, "reference": reference, "max_abs_diff_allowed": limit}
    perplexities |= _window_scores(build, job, tokenizer, progress)
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
        return math.exp(negative_log_likelihood(logits, next_ids) / len(next_ids))


def _trace_file(build: Build, job: CompileJob) -> Path:
    """Where a job's trace is kept, for those that are compared with it."""
    return build.work_dir(job).with_name(f"{job.name}.trace.npz")


def _run_compiled(folder: Path, sample: Sample, progress: Progress) -> Trace:
    model = OnnxRuntimeModel(folder, one_session=True)
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


def _run_torch(build: Build, sample: Sample, trace: Trace, progress: Progress) -> Trace:
    """The torch model on the same text, and on the continuation that `trace` chose.

    Up to the first difference that continuation is the model's own too, so no token-by-token loop
    is needed.
    """
    from vacc_gen.generator.backends.onnxruntime.reference import ReferenceModel

    progress.start("load torch")
    model = ReferenceModel(build.modeling_file, open_checkpoint(build.weights.path), progress)
    first = sample.prompt_tokens - 1
    prefill = [length - 1 for length in sample.prompt_lengths]
    decode = range(first + 1, first + 1 + sample.steps)
    logits = model.logits(sample.ids[:-1], [*prefill, *decode])
    continued = (*sample.ids[: sample.prompt_tokens], *trace.greedy[:-1].argmax(axis=1).tolist())
    greedy = model.logits(continued, range(first, first + len(trace.greedy)))
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


# --- perplexity -----------------------------------------------------------------------------


def _window_scores(
    build: Build, job: CompileJob, tokenizer: Tokenizer, progress: Progress
) -> dict[str, object]:
    """The report's `windows`, or nothing where the text fills none."""
    recipe = build.plan.recipe
    ids = tokenizer.encode(read_text(build))
    windows = cut_windows(ids, recipe.verification.perplexity_windows)
    if len(windows) == 0:
        return {}
    progress.start(f"perplexity on {len(windows)} windows of {WINDOW_TOKENS} tokens")
    value = score_weights(
        open_checkpoint(build.weights.path),
        DTYPES[job.precision],
        recipe.quantization,
        build.deploy_dir(job) / WEIGHTS_FILE,
        windows,
        build.root / STATE_FOLDER,
    )
    scores = [{"precision": job.precision.value, "perplexity": value}]
    return {"windows": {"window_tokens": WINDOW_TOKENS, "windows": len(windows), "scores": scores}}


def cut_windows(token_ids: list[int], most: int | None = None) -> Tokens:
    """Cut a text into windows (W, `WINDOW_TOKENS`), at most `most`; a shorter rest is dropped."""
    used = len(token_ids) // WINDOW_TOKENS * WINDOW_TOKENS
    return np.array(token_ids[:used], np.int64).reshape(-1, WINDOW_TOKENS)[:most]


def score_weights(
    checkpoint: Checkpoint,
    dtype: Dtype,
    quantization: Quantization,
    weights: Path,
    windows: Tokens,
    work_dir: Path,
) -> float:
    """Perplexity on `windows` (W, S) of the model whose weights are the file `weights`.

    Every token of a window but the first is predicted. The graph, which is like prefill.onnx but
    gives the logits of every position, is made in `work_dir` and deleted afterwards.
    """
    from vacc_gen.generator.backends.onnxruntime.graph.falcon import SCORING_AXES, falcon_graph

    layout = planned_layout(checkpoint, dtype, quantization)
    level = quantization.accuracy_level
    model = falcon_graph("scoring", checkpoint.architecture, layout, SCORING_AXES, level, {})
    length = windows.shape[1]
    mask = np.ones((1, length), np.int64)
    positions = np.arange(length, dtype=np.int64)[None]
    total = 0.0
    with tempfile.TemporaryDirectory(prefix="scoring.", dir=work_dir) as folder:
        graph = Path(folder, "scoring.onnx")
        graph.write_bytes(model.SerializeToString())
        try:
            # ONNX Runtime refuses links that lead out of the folder, but not a second name.
            os.link(weights, graph.with_name(WEIGHTS_FILE))
        except OSError:  # another disk, or one without hard links
            shutil.copyfile(weights, graph.with_name(WEIGHTS_FILE))
        session = open_session(graph)
        for window in windows:
            feeds = {"input_ids": window[None], "attention_mask": mask, "position_ids": positions}
            (logits,) = session.run(["logits"], feeds)  # (1, S, V)
            total += negative_log_likelihood(logits[0, :-1], window[1:])
    return math.exp(total / (len(windows) * (length - 1)))


def negative_log_likelihood(logits: NDArray[np.generic], next_ids: Tokens) -> float:
    """Sum over rows of `logits` (N, V) of -log p(next id)."""
    wide = logits.astype(np.float64)
    log_sum = np.logaddexp.reduce(wide, axis=1)
    return float((log_sum - wide[np.arange(len(next_ids)), next_ids]).sum())
