"""The questions of `vacc-gen new`, as data. Asked in this order; every answer is text."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from vacc_gen import presets
from vacc_gen.generator.files import is_occupied
from vacc_gen.generator.new.choices import Choices, Decision, default_checkpoint
from vacc_gen.generator.new.memory import memory_note
from vacc_gen.schema.errors import UsageError, VaccGenError
from vacc_gen.schema.geometry import TP_CHOICES
from vacc_gen.schema.precision import Precision

FROM_CHECKPOINT = "from a checkpoint"
NO_CARD = "not decided"
NO_SET = "none"
LENGTHS = (128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
"""Tokens; what is offered, any other multiple of 16 can be typed."""

MEMORY_FIELDS = ("model", "precision", "card", "tp", "prefill", "total")
"""Each answer to these is shown with the memory that it takes."""

PRECISION_NOTES = {
    "fp16": "weights and KV cache in fp16",
    "int8": "weights in int8, by GPTQ",
    "int4": "weights in int4, on the embedded backend alone: Falcon, no cards",
    "kv8": "KV cache in int8; published for ChatGLM",
}


@dataclass(frozen=True)
class Option:
    value: str
    note: str = ""


@dataclass(frozen=True)
class Question:
    """One question, and which field of `Choices` its answer decides."""

    field: str
    kind: Literal["search", "choice", "own", "several", "number", "folder", "texts"]
    """own: the first option is the model's; one entry stands for the rest."""
    prompt: str
    explanation: str
    """Two sentences on the terms in it."""
    options: Callable[[Decision | None], Iterable[Option]] = lambda decision: ()


def decided(choices: Choices) -> Decision | None:
    """Return what choices come to; None before a model is known. Raises VaccGenError."""
    return choices.decide() if choices.model or choices.checkpoint else None


def answers_of(decision: Decision) -> dict[str, str]:
    """Return all answers so far by their fields, those of the preset included."""
    recipe, root = decision.recipe, decision.root
    checkpoint, calibration, target = recipe.model.checkpoint, recipe.calibration, recipe.target
    is_default = checkpoint == default_checkpoint(decision.plan.preset)
    texts = NO_SET
    if calibration is not None:
        texts = f"{calibration.set}:{os.path.relpath(root / calibration.path)}"
    return {
        "model": decision.plan.preset.name,
        "checkpoint": "" if is_default else os.path.relpath(root / checkpoint),
        "precision": " ".join(recipe.precisions),
        "card": target.card or NO_CARD,
        "tp": str(target.tp),
        "prefill": str(target.prefill),
        "total": str(target.total),
        "optimize_for": target.optimize_for,
        "calibration": texts,
        "environment": recipe.environment.preset,
        "out": str(root),
    }


def applicable(choices: Choices) -> list[Question]:
    """Return the questions that matter; texts are for int8 alone."""
    decision = decided(choices)
    is_int8 = decision is None or Precision.INT8 in decision.recipe.precisions
    return [one for one in QUESTIONS if is_int8 or one.field != "calibration"]


def answer(choices: Choices, question: Question, text: str) -> Choices:
    """Return the choices with an answer; one that changes nothing is left to the preset.

    Raises:
        VaccGenError: the answer is impossible.
    """
    before = decided(choices)
    if before is None or text != answers_of(before)[question.field]:
        value = _value(question.kind, text)
        choices = _possible(replace(choices, **{question.field: value}), question.field)
    if question.field == "out" and is_occupied(root := choices.decide().root):
        raise UsageError(f"{root} exists and is not empty", hint="name another folder")
    return choices


def _value(kind: str, text: str) -> Any:
    """Return an answer as the value of its field."""
    if kind == "number":
        if not text.isdecimal():
            raise UsageError(f"{text!r} is not a whole number")
        return int(text)
    if kind == "several":
        return tuple(text.split())
    if kind == "folder":
        return _path(text)
    if kind == "texts":
        name, _, path = text.partition(":")
        return None if name == NO_SET else f"{name}:{_path(path) or ''}"
    return None if text in (FROM_CHECKPOINT, NO_CARD) else text


def _path(text: str) -> str | None:
    """Return a path as the command line would have it: no `~`, no slash at the end."""
    return os.path.normpath(Path(text).expanduser()) if text else None


def _possible(choices: Choices, field: str) -> Choices:
    """Return choices without those that do not go with the answer to `field`."""
    if field == "model" and choices.model is None:
        return choices  # the next question is for the checkpoint
    try:
        choices.decide()
    except VaccGenError:
        if field == "model":
            choices = Choices(model=choices.model, name=choices.name, out=choices.out)
        elif field == "precision":
            choices = replace(choices, calibration=None)
        elif field == "prefill":  # as much again for the answer
            choices = replace(choices, total=2 * (choices.prefill or 0))
        choices.decide()
    return choices


def options_of(choices: Choices, question: Question) -> Iterator[Option]:
    """Yield the answers to offer, with the memory that each would take; impossible ones left out.

    The answer so far is always among them.
    """
    decision = decided(choices)
    offered = list(question.options(decision))
    now = answers_of(decision)[question.field].partition(":")[0] if decision else ""
    if now and question.kind != "several" and now not in (option.value for option in offered):
        offered.append(Option(now))
    if question.kind == "number":
        offered.sort(key=lambda option: int(option.value))
    for option in offered:
        note = option.note
        if question.field in MEMORY_FIELDS:
            try:
                after = decided(answer(choices, question, option.value))
            except VaccGenError:
                continue
            note = "; ".join(filter(None, (memory_note(after.plan) if after else "", note)))
        yield Option(option.value, note)


def _models(decision: Decision | None) -> Iterator[Option]:
    yield Option(FROM_CHECKPOINT, "detected from its config.json")
    by_falcon = sorted(presets.MODELS.all(), key=lambda preset: not preset.runs_embedded)
    yield from (Option(one.name, one.summary) for one in by_falcon if not one.any_size)


def _environments(decision: Decision | None) -> list[Option]:
    own = decision.plan.preset.environment if decision else ""
    known = sorted(presets.ENVIRONMENTS.all(), key=lambda preset: preset.name != own)
    return [Option(preset.name, preset.summary) for preset in known]


def _lengths(decision: Decision | None) -> list[Option]:
    most = decision.plan.geometry.max_positions if decision else LENGTHS[-1]
    return [Option(str(length)) for length in LENGTHS if length <= most]


QUESTIONS = (
    Question(
        field="model",
        kind="search",
        prompt="Which model?",
        explanation="A preset holds a model's sizes and what its vendor publishes for it. The "
        "memory beside it is of each die, a chip of a card, at the published settings.",
        options=_models,
    ),
    Question(
        field="checkpoint",
        kind="folder",
        prompt="Where are its weights?",
        explanation="A checkpoint is a folder with config.json, tokenizer.json and safetensors "
        "files. Leave it empty, and `vacc-gen fetch` downloads them into the workspace.",
    ),
    Question(
        field="precision",
        kind="several",
        prompt="Which precisions?",
        explanation="Each precision is compiled into a model of its own, fp16 being exact. int8 "
        "weights are made by GPTQ, which rounds them so that outputs on sample texts change least.",
        options=lambda _: itertools.starmap(Option, PRECISION_NOTES.items()),
    ),
    Question(
        field="card",
        kind="choice",
        prompt="Which card will it run on?",
        explanation="A card has one or more dies, each with memory of its own. The choice affects "
        "only the memory estimate.",
        options=lambda _: map(Option, (NO_CARD, *presets.CARDS.names())),
    ),
    Question(
        field="tp",
        kind="number",
        prompt="Over how many dies is the model split?",
        explanation="tp, tensor parallelism, splits every layer over that many dies. A die is one "
        "chip of a card: count dies, not cards.",
        options=lambda _: [Option(str(tp)) for tp in TP_CHOICES],
    ),
    Question(
        field="prefill",
        kind="number",
        prompt="How many tokens may a prompt have?",
        explanation="Prefill is the step that reads the whole prompt at once, compiled for this "
        "one length, a multiple of 16. Shorter prompts are padded to it.",
        options=_lengths,
    ),
    Question(
        field="total",
        kind="number",
        prompt="How many tokens may prompt and answer have?",
        explanation="The KV cache keeps keys and values of every token, so its memory grows with "
        "this length. It is a multiple of 16.",
        options=_lengths,
    ),
    Question(
        field="optimize_for",
        kind="choice",
        prompt="What matters more?",
        explanation="`b2s` is the compiler's option for serving many requests at once, as most "
        "published configs do. Without it a single answer comes sooner.",
        options=lambda _: [
            Option("throughput", "many requests at once: b2s on"),
            Option("latency", "one answer soon: b2s off"),
        ],
    ),
    Question(
        field="calibration",
        kind="texts",
        prompt="Which texts is int8 calibrated on?",
        explanation="GPTQ runs sample texts through the model to see which weights matter; texts "
        "like those that it will meet serve best. `vacc-gen fetch` downloads those of a set.",
        options=lambda _: [
            Option(NO_SET, "the compiler's default data"),
            *(Option(texts.name, texts.summary) for texts in presets.CALIBRATION_SETS.all()),
        ],
    ),
    Question(
        field="environment",
        kind="own",
        prompt="Which environment?",
        explanation="The Python packages that the compiler runs with, as its vendor pins them for "
        "a family of models. Versions are locked by hash.",
        options=_environments,
    ),
    Question(
        field="out",
        kind="folder",
        prompt="Which folder will hold the workspace?",
        explanation="A workspace is a folder with the recipe vacc.yaml and all that is generated "
        "from it: compile configs, code, scripts, lock. Nothing outside it is written.",
    ),
)
