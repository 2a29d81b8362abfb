"""The estimate of memory as text: a few lines that fit a terminal of 80 columns."""

from __future__ import annotations

from vacc_gen import presets
from vacc_gen.generator.plan import Plan
from vacc_gen.schema.footprint import (
    SERVED_BATCH,
    Footprint,
    HeadSplit,
    count_of,
    footprint,
    least_tp,
)
from vacc_gen.schema.preset import Card

GIB = 1 << 30
MIB = 1 << 20


def target_lines(plan: Plan) -> list[str]:
    """Return what each die holds: a line for each precision, what fits, the heads.

    Where no card is chosen, a line names those that would do.
    """
    target, card = plan.recipe.target, _card(plan)
    on = f"{card.name} of {binary_size(card.die_memory_bytes)}, " if card else ""
    served = f"tp {target.tp}, {target.total} tokens, {SERVED_BATCH} requests at once"
    lines = [f"estimate per die: {on}{served}"]
    lines += [f"  {_line(estimate, card)}" for estimate in _estimates(plan)]
    if card:
        fits = []
        for job in plan.vamc_jobs:
            tp = least_tp(plan.geometry, job.precision, target.total, card)
            fits.append(f"{job.precision.value} {f'from tp {tp}' if tp else 'with no tp'}")
        lines.append(f"  fits: {', '.join(fits)}")
    return [*lines, f"  {heads_of(plan).sentence()}"]


def memory_note(plan: Plan) -> str:
    """Return how the fullest die does, in the precision that takes most; empty where none is."""
    worst = max(_estimates(plan), key=lambda estimate: estimate.total_bytes, default=None)
    if worst is None:
        return ""
    card = _card(plan)
    if card is None:
        return f"{binary_size(worst.total_bytes)} a die in {worst.precision.value}"
    cards = count_of(-(-worst.tp // card.dies), "card")
    return f"{cards}, {_left(worst, card)} a die in {worst.precision.value}"


def heads_of(plan: Plan) -> HeadSplit:
    """Return how the heads are split over the dies."""
    return HeadSplit(plan.recipe.target.tp, plan.geometry.attention_heads, plan.geometry.kv_heads)


def binary_size(count: int) -> str:
    """Return a number of bytes in GiB, to a tenth; in MiB where that would round to nothing."""
    return f"{count / GIB:.1f} GiB" if count >= GIB / 20 else f"{count / MIB:.1f} MiB"


def _estimates(plan: Plan) -> list[Footprint]:
    target = plan.recipe.target
    jobs = plan.vamc_jobs
    return [footprint(plan.geometry, job.precision, target.tp, target.total) for job in jobs]


def _card(plan: Plan) -> Card | None:
    name = plan.recipe.target.card
    return None if name is None else presets.CARDS.find(name)


def _line(estimate: Footprint, card: Card | None) -> str:
    weights, cache = binary_size(estimate.weights_bytes), binary_size(estimate.kv_cache_bytes)
    words = f"{estimate.precision.value:4}  weights {weights:>8}  KV cache {cache:>8}"
    if card is not None:
        return f"{words}  {_left(estimate, card)}"
    names = [known.name for known in presets.CARDS.all() if estimate.left_bytes(known) >= 0]
    return f"{words}  fits {', '.join(names) or 'no known card'}"


def _left(estimate: Footprint, card: Card) -> str:
    left = estimate.left_bytes(card)
    return f"left {binary_size(left)}" if left >= 0 else f"short {binary_size(-left)}"
