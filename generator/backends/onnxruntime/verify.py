"""The embedded verify stage: compiled models against what they were made of, on real text.

Each model gets two prompts, then the text token by token, then continues by itself, and reads the
windows that perplexity is measured on. The reference, the torch model in fp32, is loaded once for
all jobs of a build: the first one's step runs them all, and each step compares its own.

Legend of shapes: N compared positions, G greedy tokens, V vocabulary, W windows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

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
    window_loss,
)
from vacc_gen.generator.backends.onnxruntime.runtime import OnnxRuntimeModel
from vacc_gen.generator.backends.onnxruntime.weights.source import checkpoint_of
from vacc_gen.generator.backends.onnxruntime.weights.weight_file import WEIGHTS_FILE
from vacc_gen.generator.calibration.tokenizer import TOKENIZER_FILE, Tokenizer
from vacc_gen.generator.files import staged_file
from vacc_gen.generator.plan import CompileJob
from vacc_gen.generator.progress import Progress, timed
from vacc_gen.schema.errors import StageError, UnreadableError
from vacc_gen.schema.json_files import MANIFEST_FILE

COMPILED, TORCH = "compiled", "torch"
"""Models that have traces; `torch`, the modeling file in fp32, is the reference in the report."""

TEXT_FILE = "verification.txt"
"""Colossians 4 and 1 Thessalonians 1 and 2, King James Version: public domain."""

MAX_PROMPT_TOKENS = 128
"""Enough to show a difference; a longer prompt costs the reference more than it shows."""

Logits = NDArray[np.float32]
Facts = Mapping[str, object]


def verify_job(
    build: Build, job: CompileJob, against: CompileJob | None, facts: Facts, progress: Progress
) -> Outcome:
    """Compare what was compiled for `job` with the torch model.

    Its perplexity is compared with that of `against`, the job of fp16, where that is built too.
    Traces depend on `facts`, JSON values, beside the compiled folders. Differences beyond the
    recipe's thresholds are the outcome's failure.
    """
    traces = _Traces(build, facts, progress)
    trace, expected = traces.compiled(job), traces.reference(job)
    base, base_name = expected, TORCH
    if against is not None:
        base, base_name = traces.compiled(against), against.precision.value
    sample, windows, precision = traces.sample, traces.windows, job.precision.value
    score: dict[str, object] = {"precision": precision}
    score["perplexity"] = windows.perplexity(trace.window_losses)
    if against is not job:
        difference = compare_windows(trace.window_losses, base.window_losses, windows)
        score["nll_difference"] = {"reference": base_name, **difference}
    perplexities = {
        precision: trace.perplexity(sample),
        TORCH: expected.perplexity(sample),
        "windows": {
            "window_tokens": windows.tokens.shape[1],
            "stride_tokens": windows.stride,
            "windows": len(windows.tokens),
            "predicted_tokens": int(windows.counts.sum()),
            TORCH: windows.perplexity(expected.window_losses),
            "scores": [score],
        },
    }
    limit = getattr(build.plan.recipe.verification.max_abs_diff, precision)
    figures = compare(trace, expected, Tokenizer(build.weights.path / TOKENIZER_FILE))
    parity = {**figures, "reference": TORCH, "max_abs_diff_allowed": limit}
    # NaN is beyond any limit.
    problems = [
        f"{part} logits differ from {TORCH} by {diff:.4g}, {limit:g} is allowed "
        f"({diff / limit:.3g} times that)"
        for part in ("prefill", "decode")
        if not (diff := parity[f"{part}_max_abs_diff"]) <= limit
    ]
    details = {"parity": parity, "perplexity": perplexities}
    kept = (traces.file(job, COMPILED), traces.file(job, TORCH))
    return Outcome(kept, details, failure="; ".join(problems) or None)


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


def cut_text(build: Build) -> tuple[Sample, Windows]:
    """Cut the verification text into a prompt and decode steps that fit the recipe, and windows.

    Raises:
        StageError: the text, or the lengths, leave no room for the decode steps or a window.
        UnreadableError: as `read_text`.
    """
    target, verification = build.plan.recipe.target, build.plan.recipe.verification
    steps = verification.decode_steps
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
    windows = choose_windows(ids, verification, target.total, build.weights.tensor_bytes)
    return Sample(tuple(ids[: prompt + steps + 1]), prompt), windows


# --- traces ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trace:
    """A model's logits for a sample and for its own continuation of the prompt, and its losses."""

    prefill: Logits
    """(N, V), after prompts of growing length; the last is the whole prompt."""
    decode: Logits
    """(N, V), after each token of the text that follows the prompt."""
    greedy: Logits
    """(G, V), what each greedy token, the likeliest after those before it, was chosen from."""
    window_losses: Losses
    """(W,)"""

    def perplexity(self, sample: Sample) -> float:
        """Perplexity of the decoded tokens."""
        next_ids = np.array(sample.ids[sample.prompt_tokens :])
        logits = np.concatenate([self.prefill[-1:], self.decode])
        return math.exp(negative_log_likelihoods(logits, next_ids).mean())


class _Traces:
    """Traces of a build's jobs, kept on disk with what they depend on."""

    def __init__(self, build: Build, facts: Facts, progress: Progress) -> None:
        self.sample, self.windows = cut_text(build)
        self._build, self._facts, self._progress = build, facts, progress

    def file(self, job: CompileJob, model: str) -> Path:
        return self._build.work_dir(job).with_name(f"{job.name}.{model}.npz")

    def compiled(self, job: CompileJob) -> Trace:
        return self._kept(job, COMPILED) or self._keep(job, COMPILED, self._run_compiled(job))

    def reference(self, job: CompileJob) -> Trace:
        """The reference's trace for `job`; one run makes those of all jobs that lack theirs."""
        if kept := self._kept(job, TORCH):
            return kept
        jobs = [each for each in self._build.jobs if not self._kept(each, TORCH)]
        made = self._run_torch([self.compiled(each) for each in jobs])
        for each, trace in zip(jobs, made, strict=True):
            self._keep(each, TORCH, trace)
        return made[jobs.index(job)]

    def _key(self, job: CompileJob) -> str:
        """What the traces of `job` depend on. Its manifest is written anew by each compilation."""
        manifest = self._build.deploy_dir(job) / MANIFEST_FILE
        return json.dumps([self._facts, manifest.read_text(), manifest.stat().st_mtime_ns])

    def _kept(self, job: CompileJob, model: str) -> Trace | None:
        try:
            with np.load(self.file(job, model)) as file:
                arrays = dict(file)
        except (OSError, ValueError, BadZipFile):  # not there, or damaged
            return None
        return Trace(**arrays) if arrays.pop("key", None) == self._key(job) else None

    def _keep(self, job: CompileJob, model: str, trace: Trace) -> Trace:
        with staged_file(self.file(job, model)) as file:
            np.savez(file, key=self._key(job), **vars(trace))
        return trace

    def _run_compiled(self, job: CompileJob) -> Trace:
        sample, progress, name = self.sample, self._progress, job.precision.value
        folder = self._build.deploy_dir(job)
        progress.start(f"run {name}: load, prompt of {sample.prompt_tokens} tokens")
        model = OnnxRuntimeModel(folder)
        prefill = [model.prefill(sample.ids[:length]) for length in sample.prompt_lengths]
        progress.start(f"run {name}: {sample.steps} tokens of text")
        text = sample.ids[sample.prompt_tokens : -1]
        decode = [model.decode(token) for token in timed(text, "tokens", progress)]
        progress.start(f"run {name}: {sample.steps} greedy tokens")
        model.rewind()
        rows = prefill[-1:]  # that of the whole prompt
        for _ in timed(range(1, sample.steps), "tokens", progress):
            rows.append(model.decode(int(rows[-1].argmax())))
        del model  # its memory, before the weights are loaded once more
        count, length = self.windows.tokens.shape
        progress.start(f"run {name}: {count} windows of {length} tokens")
        losses = score_windows(
            checkpoint_of(self._build.weights),
            DTYPES[job.precision],
            self._build.plan.recipe.quantization,
            folder / WEIGHTS_FILE,
            self.windows,
            self._build.root / STATE_FOLDER,
            progress,
        )
        return Trace(np.stack(prefill), np.stack(decode), np.stack(rows), losses)

    def _run_torch(self, traces: Sequence[Trace]) -> list[Trace]:
        """The torch model on all texts, and on the continuation that each of `traces` chose.

        Up to the first difference a continuation is the torch model's own too, so no token-by-token
        loop is needed.
        """
        from vacc_gen.generator.backends.onnxruntime.reference import ReferenceModel, Text

        self._progress.start("load torch")
        build, sample = self._build, self.sample
        model = ReferenceModel(build.modeling_file, checkpoint_of(build.weights), self._progress)
        first = sample.prompt_tokens - 1
        prefill = [length - 1 for length in sample.prompt_lengths]
        texts: list[Text] = [(sample.ids[:-1], [*prefill, *range(first + 1, len(sample.ids) - 1)])]
        for trace in traces:
            continued = (*sample.ids[: first + 1], *trace.greedy.argmax(axis=1).tolist())
            texts.append((continued, range(first, first + len(trace.greedy))))
        tokens, counts = self.windows.tokens, self.windows.counts
        outputs = model.logits([*texts, *((ids.tolist(), range(len(ids))) for ids in tokens)])
        read, *greedy = islice(outputs, len(texts))
        losses = np.array([*map(window_loss, outputs, tokens, counts)])
        split = len(prefill)
        return [Trace(read[:split], read[split:], rows, losses) for rows in greedy]


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
