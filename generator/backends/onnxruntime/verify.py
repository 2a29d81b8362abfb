"""The embedded verify stage: a compiled model against what it was made of, on real text.

fp16 is compared with the torch model in fp32, others with fp16 where that is built too. Each model
gets two prompts, then the text token by token, then continues by itself.

Legend of shapes: N compared positions, G greedy tokens, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vacc_gen.generator.backends.base import Build, Outcome
from vacc_gen.generator.backends.onnxruntime.export import DTYPES, planned_layout
from vacc_gen.generator.backends.onnxruntime.perplexity import (
    WINDOW_TOKENS,
    cut_windows,
    negative_log_likelihood,
    score_weights,
)
from vacc_gen.generator.backends.onnxruntime.runtime import OnnxRuntimeModel
from vacc_gen.generator.backends.onnxruntime.weights.source import open_checkpoint
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
    sample = sample_text(build)
    trace = _run_compiled(build.deploy_dir(job), sample, progress)
    trace_file = _trace_file(build, job)
    trace.save(trace_file)
    perplexities: dict[str, object] = {job.precision.value: trace.perplexity(sample)}
    if against is None:
        reference, expected = TORCH, _run_torch(build, sample, trace, progress)
        perplexities[TORCH] = expected.perplexity(sample)
    else:
        reference, expected = against.precision.value, load_trace(_trace_file(build, against))
    limit = getattr(build.plan.recipe.verification.max_abs_diff, job.precision.value)
    tokenizer = Tokenizer(build.weights.path / TOKENIZER_FILE)
    parity = compare(trace, expected) | {
        "reference": reference,
        "max_abs_diff_allowed": limit,
        "first_difference": _described(first_difference(trace, expected), tokenizer),
    }
    perplexities |= _window_perplexity(build, job, tokenizer, progress)
    return Outcome(
        (trace_file,),
        {"parity": parity, "perplexity": perplexities},
        failure=_failure(parity, reference, limit),
    )


# --- the text -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sample:
    """The tokens that models are compared on."""

    ids: tuple[int, ...]
    """The prompt, then one token for each decode step, then the one that the last step predicts."""
    prompt_tokens: int

    @property
    def prompt_lengths(self) -> tuple[int, ...]:
        """Prompts that are tried: half of it, and all of it."""
        return tuple(sorted({max(1, self.prompt_tokens // 2), self.prompt_tokens}))

    @property
    def steps(self) -> int:
        """Tokens that are decoded one by one."""
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
    except OSError as error:
        raise UnreadableError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UnreadableError(f"{path} is not UTF-8 text: {error}") from error
    return text


def sample_text(build: Build) -> Sample:
    """Cut the verification text into a prompt and decode steps that fit the recipe's lengths.

    Raises:
        UnreadableError: the text cannot be read.
        StageError: the text, or the lengths, leave no room for the decode steps.
    """
    target, steps = build.plan.recipe.target, build.plan.recipe.verification.decode_steps
    ids = Tokenizer(build.weights.path / TOKENIZER_FILE).encode(read_text(build))
    room = target.total - steps
    if room < 1:
        raise StageError(
            f"target.total, {target.total} tokens, has no room for a prompt and {steps} decode "
            "steps",
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
    greedy_ids: NDArray[np.int64]
    """(G,), each the likeliest token after those before it."""
    greedy: Logits
    """(G, V): row g is what greedy token g was chosen from."""

    def save(self, file: Path) -> None:
        """Write it as .npz."""
        np.savez(file, **vars(self))

    def perplexity(self, sample: Sample) -> float:
        """Perplexity of the decoded tokens."""
        next_ids = np.array(sample.ids[sample.prompt_tokens :])
        logits = np.concatenate([self.prefill[-1:], self.decode])
        return math.exp(negative_log_likelihood(logits, next_ids) / len(next_ids))


def load_trace(file: Path) -> Trace:
    """Read what `Trace.save` wrote."""
    with np.load(file) as arrays:
        return Trace(**arrays)


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
    tokens = [int(rows[0].argmax())]
    while len(tokens) < sample.steps:
        rows.append(model.decode(tokens[-1]))
        tokens.append(int(rows[-1].argmax()))
    return Trace(np.stack(prefill), np.stack(decode), np.array(tokens), np.stack(rows))


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
    continued = (*sample.ids[: sample.prompt_tokens], *trace.greedy_ids[:-1].tolist())
    greedy = model.logits(continued, range(first, first + len(trace.greedy_ids)))
    return Trace(logits[: len(prefill)], logits[len(prefill) :], greedy.argmax(axis=1), greedy)


# --- figures --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """Where two models first choose different tokens."""

    position: int
    """Which greedy token, from 0."""
    token: int
    reference_token: int
    logit_gap: float
    """By how much the reference prefers its own token."""


def compare(trace: Trace, reference: Trace) -> dict[str, object]:
    """The figures of a comparison. A relative difference is of the row's largest logit."""
    return {
        "prefill_max_abs_diff": _max_abs_diff(trace.prefill, reference.prefill),
        "prefill_max_rel_diff": _max_rel_diff(trace.prefill, reference.prefill),
        "decode_max_abs_diff": _max_abs_diff(trace.decode, reference.decode),
        "decode_max_rel_diff": _max_rel_diff(trace.decode, reference.decode),
        "decode_steps": len(trace.decode),
        "greedy_tokens": len(trace.greedy_ids),
        "greedy_tokens_equal": first_difference(trace, reference) is None,
    }


def first_difference(trace: Trace, reference: Trace) -> Difference | None:
    """The first greedy token that `reference` would not have chosen."""
    for position, (token, row) in enumerate(zip(trace.greedy_ids, reference.greedy, strict=True)):
        best = int(row.argmax())
        if token != best:
            return Difference(position, int(token), best, float(row[best] - row[token]))
    return None


def _max_abs_diff(logits: Logits, reference: Logits) -> float:
    return float(np.abs(logits - reference).max())


def _max_rel_diff(logits: Logits, reference: Logits) -> float:
    scale = np.abs(reference).max(axis=1, keepdims=True)
    return float((np.abs(logits - reference) / scale).max())


def _described(difference: Difference | None, tokenizer: Tokenizer) -> dict[str, object] | None:
    """A first difference with its tokens as text."""
    if difference is None:
        return None
    return asdict(difference) | {
        "token": tokenizer.decode([difference.token]),
        "reference_token": tokenizer.decode([difference.reference_token]),
    }


def _failure(parity: dict[str, object], reference: str, limit: float) -> str | None:
    """What is beyond the threshold, and by how much. NaN is beyond any."""
    problems = []
    for part in ("prefill", "decode"):
        diff = parity[f"{part}_max_abs_diff"]
        assert isinstance(diff, float)
        if not diff <= limit:
            problems.append(
                f"{part} logits differ from {reference} by {diff:.4g}, {limit:g} is allowed "
                f"({diff / limit:.3g} times that)"
            )
    return "; ".join(problems) or None


def _window_perplexity(
    build: Build, job: CompileJob, tokenizer: Tokenizer, progress: Progress
) -> dict[str, object]:
    """Perplexity on windows of the text: the report's `windows`, or nothing if it fills none."""
    recipe = build.plan.recipe
    windows = cut_windows(
        tokenizer.encode(read_text(build)), recipe.verification.perplexity_windows
    )
    if len(windows) == 0:
        return {}
    progress.start(f"perplexity on {len(windows)} windows of {WINDOW_TOKENS} tokens")
    checkpoint = open_checkpoint(build.weights.path)
    value = score_weights(
        checkpoint,
        planned_layout(checkpoint, DTYPES[job.precision], recipe.quantization),
        build.deploy_dir(job) / WEIGHTS_FILE,
        windows,
        accuracy_level=recipe.quantization.accuracy_level,
        work_dir=build.work_dir(job).parent,
    )
    scores = [{"precision": job.precision.value, "perplexity": value}]
    return {"windows": {"window_tokens": WINDOW_TOKENS, "windows": len(windows), "scores": scores}}
