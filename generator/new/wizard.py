"""The questions that lead to a workspace, as data. Asked in this order; see `interview`.

Answers are text, as a person types them. A question says which choices its answer makes; whether
they are possible is decided where the command line's are, in `choices` and by the rules of
`validate`.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from vacc_gen import presets
from vacc_gen.generator.new.choices import Choices
from vacc_gen.generator.new.draft import Draft
from vacc_gen.generator.new.memory import binary_size
from vacc_gen.generator.new.question import Option, Question
from vacc_gen.generator.workspace.workspace import is_occupied
from vacc_gen.schema.errors import UsageError
from vacc_gen.schema.footprint import TP_CHOICES, footprint
from vacc_gen.schema.precision import Precision
from vacc_gen.schema.preset import Card

FROM_CHECKPOINT = "from a checkpoint"
NO_CARD = "not decided"
NO_SET = "none"
LENGTHS = (128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
"""Tokens; what the arrow keys offer, any other length can be typed."""

PRECISION_NOTES = {
    "fp16": "weights and KV cache in fp16",
    "int8": "weights in int8, by GPTQ; KV cache in fp16",
    "int4": "weights in int4, on the embedded backend alone: Falcon, no cards",
    "kv8": "weights in fp16, KV cache in int8; published for ChatGLM",
}


def _planned(draft: Draft | None) -> Draft:
    if draft is None:
        raise AssertionError("only the first two questions come before a model is known")
    return draft


# --- model and checkpoint ---


def _models(draft: Draft | None) -> list[Option]:
    # Those of any size have none without a checkpoint, and that tells its model anyway.
    known = [one for one in presets.MODELS.all() if not one.any_size]
    falcons_first = sorted(known, key=lambda one: not one.name.casefold().startswith("falcon"))
    return [
        Option(FROM_CHECKPOINT, "its config.json tells which model it is"),
        *(
            Option(one.name, one.summary, f"{one.family} {one.huggingface_id or ''}")
            for one in falcons_first
        ),
    ]


def _choose_model(choices: Choices, answer: str) -> Choices:
    return replace(choices, model=None if answer == FROM_CHECKPOINT else answer)


def _weights_here(draft: Draft | None) -> str:
    """Return the folder of the model's weights, where it stands under its name right here."""
    if draft is None:
        return ""
    name = (draft.decision.preset.huggingface_id or draft.decision.preset.name).rpartition("/")[2]
    return f"{name}/" if Path(name, "config.json").is_file() else ""


def _choose_checkpoint(choices: Choices, answer: str) -> Choices:
    if not answer and choices.model is None:
        raise UsageError("which folder are the weights in?")
    return replace(choices, checkpoint=_path(answer))


def _path(answer: str) -> str | None:
    """Return a path as the command line would have it: `~` told, no slash at the end."""
    return os.path.normpath(Path(answer).expanduser()) if answer else None


def _on_weights(draft: Draft) -> str | None:
    path = draft.choices.checkpoint
    if path is None or draft.workspace.model_config is not None:
        return None
    return f"{path} has no weights yet; `vacc-gen fetch` will bring them"


# --- precisions and target ---


def _choose_precisions(choices: Choices, answer: str) -> Choices:
    if not answer:
        raise UsageError("at least one precision", hint="the space bar takes and leaves one")
    return replace(choices, precisions=tuple(answer.split()))


def _cards(draft: Draft | None) -> list[Option]:
    known = [Option(card.name, card.summary) for card in presets.CARDS.all()]
    return [Option(NO_CARD, "the estimate then names the cards that would do"), *known]


def _choose_card(choices: Choices, answer: str) -> Choices:
    return replace(choices, card=None if answer == NO_CARD else answer)


def _dies(draft: Draft | None) -> list[Option]:
    return [Option(str(tp), _holds(_planned(draft), tp)) for tp in TP_CHOICES]


def _holds(draft: Draft, tp: int) -> str:
    """Say how the fullest die does with `tp` dies, in the precision that takes most."""
    target = draft.decision.recipe.target
    worst = max(
        (
            footprint(draft.plan.geometry, job.precision, tp, target.total)
            for job in draft.plan.vamc_jobs
        ),
        key=lambda one: one.total_bytes,
    )
    if target.card is None:
        return f"{binary_size(worst.total_bytes)} a die in {worst.precision.value}"
    card = presets.CARDS.find(target.card)
    left = worst.left_bytes(card)
    state = f"left {binary_size(left)}" if left >= 0 else f"short {binary_size(-left)}"
    return f"{_count_cards(tp, card)}, {state} a die in {worst.precision.value}"


def _count_cards(tp: int, card: Card) -> str:
    cards = -(-tp // card.dies)
    return f"{cards} card" if cards == 1 else f"{cards} cards"


def _number(answer: str) -> int:
    try:
        return int(answer)
    except ValueError:
        said = f"{answer!r} is not a whole number" if answer else "how many? A whole number"
        raise UsageError(said) from None


def _choose_prefill(choices: Choices, answer: str) -> Choices:
    """Take a prompt's length; an answer of the same length gets room beside it."""
    prefill = _number(answer)
    try:
        return replace(choices, prefill=prefill, total=_fitting_total(choices, prefill))
    except UsageError:
        return replace(choices, prefill=prefill)


def _fitting_total(choices: Choices, prefill: int) -> int | None:
    total = choices.decide().recipe.target.total
    return choices.total if prefill <= total else 2 * prefill


def _lengths(draft: Draft | None, least: int = 0) -> list[Option]:
    most = _planned(draft).plan.geometry.max_positions
    return [Option(str(length)) for length in LENGTHS if least <= length <= most]


def _splits_oddly(draft: Draft | None) -> bool:
    """Whether the model shares KV heads among query heads, and tp does not divide them."""
    geometry, target = _planned(draft).plan.geometry, _planned(draft).decision.recipe.target
    shared = geometry.kv_heads < geometry.attention_heads
    return shared and geometry.kv_heads % target.tp != 0


def _is_multi_query(draft: Draft | None) -> bool:
    return _planned(draft).plan.geometry.kv_heads == 1


# --- calibration ---


def _quantizes(draft: Draft | None) -> bool:
    return Precision.INT8 in _planned(draft).decision.recipe.precisions


def _choose_set(choices: Choices, answer: str) -> Choices:
    if answer == NO_SET:
        return replace(choices, calibration=None)
    file = presets.CALIBRATION_SETS.find(answer).files[0].rpartition("/")[2]
    return replace(choices, calibration=f"{answer}:{file}")


def _given_set(choices: Choices) -> str | None:
    name = (choices.calibration or "").partition(":")[0]
    return presets.CALIBRATION_SETS.find(name).name if name else None


def _choose_set_path(choices: Choices, answer: str) -> Choices:
    if not answer:
        raise UsageError("where is it, or where will it be?")
    name = (choices.calibration or "").partition(":")[0]
    return replace(choices, calibration=f"{name}:{_path(answer)}")


def _set_path(draft: Draft | None) -> str:
    return (_planned(draft).choices.calibration or "").partition(":")[2]


def _on_texts(draft: Draft) -> str | None:
    path = (draft.choices.calibration or "").partition(":")[2]
    if Path(path).exists():
        return None
    return f"{path} is not there yet; `vacc-gen fetch` will bring it"


# --- environment and folder ---


def _environments(draft: Draft | None) -> list[Option]:
    """Return the environments that models are compiled in, this model's own first."""
    own = _planned(draft).decision.preset.environment
    used = {model.environment for model in presets.MODELS.all()}
    known = [one for one in presets.ENVIRONMENTS.all() if one.name in used]
    known.sort(key=lambda one: one.name != own)
    return [Option(one.name, one.summary) for one in known]


def _free_folder(draft: Draft | None) -> str:
    """Return the model's name, or one made of it that nothing stands at."""
    name = _planned(draft).decision.preset.name
    if not is_occupied(Path(name)):
        return name
    number = 2
    while is_occupied(Path(f"{name}-{number}")):
        number += 1
    return f"{name}-{number}"


def _choose_folder(choices: Choices, answer: str) -> Choices:
    path = _path(answer)
    if path is None:
        raise UsageError("which folder?")
    if is_occupied(Path(path)):
        raise UsageError(f"{path} exists and is not empty", hint="name another folder")
    parent = next(folder for folder in Path(path).absolute().parents if folder.exists())
    if not (parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)):
        raise UsageError(f"nothing can be written in {parent}", hint="name another folder")
    return replace(choices, out=path)


QUESTIONS = (
    Question(
        name="model",
        prompt="Which model?",
        help="Type to search: name, family, Hugging Face id.",
        kind="one",
        choose=_choose_model,
        default=lambda draft: "falcon-7b-instruct",
        options=_models,
    ),
    Question(
        name="checkpoint",
        prompt="Where are its weights?",
        help="Folder with config.json, tokenizer.json and safetensors shards.",
        advice=lambda draft: "Leave it empty to say it later, in vacc.yaml." if draft else "",
        kind="folder",
        choose=_choose_checkpoint,
        default=_weights_here,
        remark=_on_weights,
    ),
    Question(
        name="precisions",
        prompt="Which precisions?",
        help="Each is compiled for itself, from a config of its own.",
        kind="several",
        choose=_choose_precisions,
        given=lambda choices: " ".join(choices.precisions) or None,
        default=lambda draft: " ".join(_planned(draft).decision.recipe.precisions),
        options=lambda draft: [Option(one.value, PRECISION_NOTES[one.value]) for one in Precision],
        shows_memory=True,
    ),
    Question(
        name="card",
        prompt="Which card will it run on?",
        help="Only the estimate of memory hangs on it.",
        kind="one",
        choose=_choose_card,
        given=lambda choices: choices.card and presets.CARDS.find(choices.card).name,
        default=lambda draft: _planned(draft).decision.recipe.target.card or NO_CARD,
        options=_cards,
        shows_memory=True,
    ),
    Question(
        name="tp",
        prompt="Over how many dies is the model split?",
        help="Tensor parallelism counts dies, not cards.",
        kind="number",
        choose=lambda choices, answer: replace(choices, tp=_number(answer)),
        given=lambda choices: choices.tp,
        default=lambda draft: str(_planned(draft).decision.recipe.target.tp),
        options=_dies,
        shows_memory=True,
    ),
    Question(
        name="prefill",
        prompt="How long may a prompt be, in tokens?",
        help="A multiple of 16. Shorter prompts are padded to it.",
        kind="number",
        choose=_choose_prefill,
        given=lambda choices: choices.prefill,
        default=lambda draft: str(_planned(draft).decision.recipe.target.prefill),
        options=_lengths,
        shows_memory=True,
    ),
    Question(
        name="total",
        prompt="How long may prompt and answer be together, in tokens?",
        help="A multiple of 16. The KV cache has room for this many.",
        kind="number",
        choose=lambda choices, answer: replace(choices, total=_number(answer)),
        given=lambda choices: choices.total,
        default=lambda draft: str(_planned(draft).decision.recipe.target.total),
        options=lambda draft: _lengths(draft, _planned(draft).decision.recipe.target.prefill),
        shows_memory=True,
    ),
    Question(
        name="optimize for",
        prompt="What matters more?",
        help="Compiled with or without `b2s`.",
        kind="one",
        choose=lambda choices, answer: replace(
            choices, optimize_for="latency" if answer == "latency" else "throughput"
        ),
        given=lambda choices: choices.optimize_for,
        default=lambda draft: _planned(draft).decision.recipe.target.optimize_for,
        options=lambda draft: [
            Option("throughput", "many requests at once: b2s on"),
            Option("latency", "one answer soon: b2s off"),
        ],
    ),
    Question(
        name="align qkv",
        prompt="The KV heads cannot be split over the dies. Pad them?",
        help="The compiler's `align_qkv`.",
        advice=lambda draft: (
            "The published configs leave it out."
            if _is_multi_query(draft)
            else "Grouped-query models may need it; the published configs leave it out."
        ),
        kind="one",
        choose=lambda choices, answer: replace(choices, align_qkv=answer == "yes"),
        given=lambda choices: "yes" if choices.align_qkv else None,
        default=lambda draft: "no",
        options=lambda draft: [Option("yes", "align_qkv: true"), Option("no", "leave it out")],
        applies=_splits_oddly,
        shows_memory=True,
    ),
    Question(
        name="calibration",
        prompt="Which texts is int8 calibrated on?",
        help="Texts like those that the model will meet serve best.",
        kind="one",
        choose=_choose_set,
        given=_given_set,
        default=lambda draft: NO_SET,
        options=lambda draft: [
            Option(NO_SET, "the compiler's default data"),
            *(Option(one.name, one.summary) for one in presets.CALIBRATION_SETS.all()),
        ],
        applies=_quantizes,
    ),
    Question(
        name="texts",
        prompt="Where are these texts?",
        help="The file, or the folder that holds it.",
        kind="file",
        choose=_choose_set_path,
        given=lambda choices: (choices.calibration or "").partition(":")[2] or None,
        default=_set_path,
        remark=_on_texts,
        applies=lambda draft: _planned(draft).decision.recipe.calibration is not None,
    ),
    Question(
        name="environment",
        prompt="Which packages shall the compiler's Python have?",
        help="The vendor's pins for a family of models, locked by hash.",
        kind="one",
        choose=lambda choices, answer: replace(choices, environment=answer),
        given=lambda choices: (
            choices.environment and presets.ENVIRONMENTS.find(choices.environment).name
        ),
        default=lambda draft: _planned(draft).decision.recipe.environment.preset,
        options=_environments,
    ),
    Question(
        name="folder",
        prompt="Which folder shall be made?",
        help="Everything goes into it: the recipe, the configs, code, scripts, the lock.",
        kind="folder",
        choose=_choose_folder,
        given=lambda choices: choices.out,
        default=_free_folder,
    ),
)
