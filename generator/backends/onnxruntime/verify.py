"""The embedded verify stage: what was compiled against what it was made of, on real text.

fp16 is compared with the torch model in fp32, others with fp16 where that is built too. Each is
given prompts, then the text token by token, then goes on by itself.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vacc_gen.generator.backends.base import Build, Outcome
from vacc_gen.generator.backends.onnxruntime.cache_readback import CacheReadback, read_back_cache
from vacc_gen.generator.backends.onnxruntime.graph.kv_cache import read_kv_cache
from vacc_gen.generator.backends.onnxruntime.model import (
    DECODE_GRAPH,
    PREFILL_GRAPH,
    OnnxRuntimeModel,
)
from vacc_gen.generator.backends.onnxruntime.parity import (
    Difference,
    Parity,
    Trace,
    compare,
    load_trace,
    perplexity,
)
from vacc_gen.generator.backends.onnxruntime.quantization_record import read_record
from vacc_gen.generator.backends.onnxruntime.readback import Readback, read_back
from vacc_gen.generator.backends.onnxruntime.reference import ReferenceModel
from vacc_gen.generator.backends.onnxruntime.sample import Sample, modeling_file_of, sample_text
from vacc_gen.generator.backends.onnxruntime.scores import score_job
from vacc_gen.generator.backends.onnxruntime.weights.source import open_checkpoint
from vacc_gen.generator.calibration.tokenizer import Tokenizer
from vacc_gen.generator.plan import CompileJob
from vacc_gen.generator.progress import Progress
from vacc_gen.schema.precision import Precision
from vacc_gen.schema.recipe import Recipe

TORCH = "torch"
"""The reference's name in the report: the modeling file, in fp32."""


def verify_job(
    build: Build,
    job: CompileJob,
    against: CompileJob | None,
    progress: Progress,
) -> Outcome:
    """Compare what was compiled for `job` with that for `against`, or with the torch model.

    Differences beyond the recipe's thresholds are the outcome's failure.
    """
    sample = sample_text(build)
    trace = _trace(build.deploy_dir(job), sample, progress)
    trace_file = trace_file_of(build, job)
    trace.save(trace_file)
    next_ids = sample.ids[sample.prompt_tokens :]
    perplexities = {job.precision.value: _perplexity(trace, next_ids)}
    if against is None:
        reference = TORCH
        of_reference = _reference(build, sample, trace, progress)
        perplexities[TORCH] = _perplexity(of_reference, next_ids)
    else:
        reference = against.precision.value
        of_reference = load_trace(trace_file_of(build, against))
    parity = compare(trace, of_reference.prefill, of_reference.decode, of_reference.greedy)
    limit = _limit(build.plan.recipe, job.precision)
    figures = parity.figures() | {
        "reference": reference,
        "max_abs_diff_allowed": limit,
        "first_difference": _told(parity.first_difference, build),
    }
    readback, problems = _read_back(build, job, progress)
    failures = [_failure(parity, reference, limit), *problems]
    return Outcome(
        (trace_file,),
        {
            "parity": figures,
            "readback": readback,
            "perplexity": perplexities | score_job(build, job, progress),
        },
        failure="; ".join(failure for failure in failures if failure) or None,
    )


def _read_back(
    build: Build, job: CompileJob, progress: Progress
) -> tuple[dict[str, object] | None, list[str]]:
    """What was found of int weights or an int8 cache and what of it is wrong; None without such."""
    folder = build.deploy_dir(job)
    graphs = (PREFILL_GRAPH, DECODE_GRAPH)
    meant, scales = read_record(folder), read_kv_cache(folder)
    found: Readback | CacheReadback
    if meant is not None:
        progress.start("read the weights back")
        found = read_back(folder, graphs, open_checkpoint(build.weights.path), meant)
    elif scales is not None:
        progress.start("read the scales of the KV cache back")
        found = read_back_cache(folder, graphs, scales)
    else:
        return None, []
    return found.figures(), found.problems


def trace_file_of(build: Build, job: CompileJob) -> Path:
    """Where a job's trace is kept, for those that are compared with it."""
    return build.work_dir(job).with_name(f"{job.name}.trace.npz")


def _trace(folder: Path, sample: Sample, progress: Progress) -> Trace:
    model = OnnxRuntimeModel(folder, one_session=True)
    progress.start(f"{sample.prompt_tokens} tokens of prompt")
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
    return Trace(np.stack(prefill), np.stack(decode), tuple(tokens), np.stack(rows))


def _reference(build: Build, sample: Sample, trace: Trace, progress: Progress) -> Trace:
    """The torch model on the same text, and on the continuation that `trace` chose.

    That continuation is the model's own as long as the likeliest token of each row is the chosen
    one, so no token-by-token loop is needed.
    """
    progress.start("load torch")
    checkpoint = open_checkpoint(build.weights.path)
    model = ReferenceModel(modeling_file_of(build), checkpoint, progress)
    first = sample.prompt_tokens - 1
    prefill = [length - 1 for length in sample.prompt_lengths]
    decode = range(first + 1, first + 1 + sample.steps)
    forced = model.logits(sample.ids[:-1], [*prefill, *decode])
    chosen = (*sample.prompt, *trace.greedy_ids[:-1])
    greedy = model.logits(chosen, range(first, first + len(trace.greedy_ids)))
    return Trace(
        forced[: len(prefill)],
        forced[len(prefill) :],
        tuple(int(token) for token in greedy.argmax(axis=1)),
        greedy,
    )


def _perplexity(trace: Trace, next_ids: tuple[int, ...]) -> float:
    return perplexity(np.concatenate([trace.prefill[-1:], trace.decode]), next_ids)


def _limit(recipe: Recipe, precision: Precision) -> float:
    limit: float = getattr(recipe.verification.max_abs_diff, precision.value)
    return limit


def _failure(parity: Parity, reference: str, limit: float) -> str | None:
    """What is beyond the threshold, and by how much. NaN is beyond any."""
    beyond = [
        f"{part} logits differ from {reference} by {diff:.4g}, {limit:g} is allowed "
        f"({diff / limit:.3g} times that)"
        for part, diff in (
            ("prefill", parity.prefill_max_abs_diff),
            ("decode", parity.decode_max_abs_diff),
        )
        if not diff <= limit
    ]
    return "; ".join(beyond) or None


def _told(difference: Difference | None, build: Build) -> dict[str, object] | None:
    """A first difference with its tokens as text."""
    if difference is None:
        return None
    tokenizer = Tokenizer(build.weights.path / "tokenizer.json")
    return {
        "position": difference.position,
        "token": tokenizer.decode([difference.token]),
        "reference_token": tokenizer.decode([difference.reference_token]),
        "logit_gap": difference.logit_gap,
    }
