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
    current: Callable[[Decision], str]
    """Returns the answer so far, which may be the preset's."""
    read: Callable[[str], Any]
    """Returns an answer as the field's value; raises UsageError."""
    options: Callable[[Decision | None], Iterable[Option]] = lambda decision: ()
    adjust: Callable[[Choices], Choices] = lambda choices: choices
    """Changes other choices where the answer does not go with them."""


def decided(choices: Choices) -> Decision | None:
    """Return what choices come to; None before a model is known. Raises VaccGenError."""
    return choices.decide() if choices.model or choices.checkpoint else None


def applicable(choices: Choices) -> list[Question]:
    """Return the questions that matter; texts are for int8 alone."""
    decision = decided(choices)
    is_int8 = decision is None or Precision.INT8 in decision.recipe.precisions
    return [one for one in QUESTIONS if is_int8 or one.field != "calibration"]


def answer(choices: Choices, question: Question, text: str) -> Choices:
    """Return the choices with an answer; what the preset would decide alike stays undecided.

    Raises:
        VaccGenError: the answer is impossible.
    """
    after = replace(choices, **{question.field: question.read(text)})
    try:
        decision = decided(after)
    except VaccGenError:
        after = question.adjust(after)
        decision = decided(after)
    before = replace(choices, **{question.field: getattr(Choices(), question.field)})
    try:
        alike = decided(before)
    except VaccGenError:
        return after
    same = alike and decision and (alike.root, alike.recipe) == (decision.root, decision.recipe)
    return before if same else after


def options_of(choices: Choices, question: Question) -> Iterator[Option]:
    """Yield the answers to offer, with the memory that each would take; impossible ones left out.

    The answer so far is always among them.
    """
    decision = decided(choices)
    offered = list(question.options(decision))
    now = question.current(decision).partition(":")[0] if decision else ""
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


def _text(text: str) -> str | None:
    return None if text in (FROM_CHECKPOINT, NO_CARD) else text


def _set_and_path(text: str) -> str | None:
    name, _, path = text.partition(":")
    return None if name == NO_SET else f"{name}:{_path(path) or ''}"


def _new_folder(text: str) -> str:
    path = _path(text)
    if path is None or is_occupied(Path(path)):
        problem = f"{path} exists and is not empty" if path else "no folder is named"
        raise UsageError(problem, hint="name another folder")
    return path


def _models(decision: Decision | None) -> Iterator[Option]:
    yield Option(FROM_CHECKPOINT, "detected from its config.json")
    by_falcon = sorted(presets.MODELS.all(), key=lambda preset: not preset.runs_embedded)
    yield from (Option(one.name, one.summary) for one in by_falcon if not one.any_size)


def _environments(decision: Decision | None) -> list[Option]:
    own = decision.plan.preset.environment if decision else ""
    known = sorted(presets.ENVIRONMENTS.all(), key=lambda preset: preset.name != own)
    return [Option(preset.name, preset.summary) for preset in known]


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"{text!r} is not a whole number") from None


def _path(text: str) -> str | None:
    """Return a path as the command line would have it: no `~`, no slash at the end."""
    return os.path.normpath(Path(text).expanduser()) if text else None


def _free_folder(decision: Decision) -> str:
    """Return the folder to make, with a number where something stands there."""
    root, number = str(decision.root), 2
    while is_occupied(Path(root)):
        root, number = f"{decision.root}-{number}", number + 1
    return root


def _weights(decision: Decision) -> str:
    checkpoint, default = decision.recipe.model.checkpoint, default_checkpoint(decision.plan.preset)
    return "" if checkpoint == default else os.path.relpath(decision.root / checkpoint)


def _texts(decision: Decision) -> str:
    calibration = decision.recipe.calibration
    if calibration is None:
        return NO_SET
    return f"{calibration.set}:{os.path.relpath(decision.root / calibration.path)}"


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
        current=lambda decision: decision.plan.preset.name,
        read=_text,
        options=_models,
        adjust=lambda choices: Choices(model=choices.model, name=choices.name, out=choices.out),
    ),
    Question(
        field="checkpoint",
        kind="folder",
        prompt="Where are its weights?",
        explanation="A checkpoint is a folder with config.json, tokenizer.json and safetensors "
        "files. Leave it empty, and `vacc-gen fetch` downloads them into the workspace.",
        current=_weights,
        read=_path,
    ),
    Question(
        field="precision",
        kind="several",
        prompt="Which precisions?",
        explanation="Each precision is compiled into a model of its own, fp16 being exact. int8 "
        "weights are made by GPTQ, which rounds them so that outputs on sample texts change least.",
        current=lambda decision: " ".join(decision.recipe.precisions),
        read=lambda text: tuple(text.split()),
        options=lambda _: itertools.starmap(Option, PRECISION_NOTES.items()),
        adjust=lambda choices: replace(choices, calibration=None),
    ),
    Question(
        field="card",
        kind="choice",
        prompt="Which card will it run on?",
        explanation="A card has one or more dies, each with memory of its own. The choice affects "
        "only the memory estimate.",
        current=lambda decision: decision.recipe.target.card or NO_CARD,
        read=_text,
        options=lambda _: map(Option, (NO_CARD, *presets.CARDS.names())),
    ),
    Question(
        field="tp",
        kind="number",
        prompt="Over how many dies is the model split?",
        explanation="tp, tensor parallelism, splits every layer over that many dies. A die is one "
        "chip of a card: count dies, not cards.",
        current=lambda decision: str(decision.recipe.target.tp),
        read=_number,
        options=lambda _: [Option(str(tp)) for tp in TP_CHOICES],
    ),
    Question(
        field="prefill",
        kind="number",
        prompt="How many tokens may a prompt have?",
        explanation="Prefill is the step that reads the whole prompt at once, compiled for this "
        "one length, a multiple of 16. Shorter prompts are padded to it.",
        current=lambda decision: str(decision.recipe.target.prefill),
        read=_number,
        options=_lengths,
        # As much again for the answer.
        adjust=lambda choices: replace(choices, total=2 * (choices.prefill or 0)),
    ),
    Question(
        field="total",
        kind="number",
        prompt="How many tokens may prompt and answer have?",
        explanation="The KV cache keeps keys and values of every token, so its memory grows with "
        "this length. It is a multiple of 16.",
        current=lambda decision: str(decision.recipe.target.total),
        read=_number,
        options=_lengths,
    ),
    Question(
        field="optimize_for",
        kind="choice",
        prompt="What matters more?",
        explanation="`b2s` is the compiler's option for serving many requests at once, as most "
        "published configs do. Without it a single answer comes sooner.",
        current=lambda decision: decision.recipe.target.optimize_for,
        read=_text,
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
        current=_texts,
        read=_set_and_path,
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
        current=lambda decision: decision.recipe.environment.preset,
        read=_text,
        options=_environments,
    ),
    Question(
        field="out",
        kind="folder",
        prompt="Which folder will hold the workspace?",
        explanation="A workspace is a folder with the recipe vacc.yaml and all that is generated "
        "from it: compile configs, code, scripts, lock. Nothing outside it is written.",
        current=_free_folder,
        read=_new_folder,
    ),
)
