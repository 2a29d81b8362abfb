"""A target plan as text: a few lines that fit a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Sequence

from vacc_gen import presets
from vacc_gen.generator.plan import Plan
from vacc_gen.schema.footprint import Footprint, TargetPlan, target_plan
from vacc_gen.schema.preset import Card

BAR_WIDTH = 10
GIB = 1 << 30
MIB = 1 << 20


def plan_target(plan: Plan) -> TargetPlan:
    """Return the target plan of a workspace."""
    target = plan.recipe.target
    return target_plan(
        plan.geometry,
        tuple(job.precision for job in plan.vamc_jobs),
        target.tp,
        target.total,
        None if target.card is None else presets.CARDS.find(target.card),
    )


def target_lines(plan: TargetPlan, cards: Sequence[Card] | None = None) -> tuple[str, ...]:
    """Return a plan in lines: one for each precision, what fits, what becomes of the heads.

    Without a card in the plan it says which of `cards` would do; None stands for all known ones.
    """
    card = plan.card
    on = f"{card.name} of {binary_size(card.die_memory_bytes)}, " if card else ""
    served = f"tp {plan.heads.tp}, {plan.total_tokens} tokens, {plan.batch} requests at once"
    lines = [f"estimate per die: {on}{served}"]
    known = presets.CARDS.all() if cards is None else cards
    lines += [f"  {footprint_line(one, card, known)}" for one in plan.footprints]
    if card:
        fits = ", ".join(
            f"{precision.value} {_from(fitting)}" for precision, fitting in plan.fitting_tp.items()
        )
        lines.append(f"  fits: {fits}")
    lines += [f"  {sentence}" for sentence in plan.heads.sentences()]
    return tuple(lines)


def footprint_line(one: Footprint, card: Card | None, cards: Sequence[Card] = ()) -> str:
    """Return one precision's figures: on `card` with a bar, or else with those of `cards` it fits.

    A line has up to 80 columns, as long as no figure has more than three digits before the point.
    """
    weights, cache = binary_size(one.weights_bytes), binary_size(one.kv_cache_bytes)
    name, words = f"{one.precision.value:4}", f"weights {weights:>8}  KV cache {cache:>8}"
    if card is None:
        names = [known.name for known in cards if one.left_bytes(known) >= 0]
        return f"{name}  {words}  fits {', '.join(names) or 'no known card'}"
    left = one.left_bytes(card)
    rest = f"left {binary_size(left)}" if left >= 0 else f"short {binary_size(-left)}"
    return f"{name}  {bar(one, card)}  {words}  {rest}"


def bar(one: Footprint, card: Card, width: int = BAR_WIDTH) -> str:
    """Return a die's memory as `[##--......]`: weights, KV cache, what is left.

    A part that is there gets at least one character; a full die is full.
    """
    weights = _cells(one.weights_bytes, card, width)
    cache = _cells(one.kv_cache_bytes, card, width)
    filled = ("#" * weights + "-" * cache)[:width]
    if one.left_bytes(card) < 0:
        filled = filled.ljust(width, "-")
    return f"[{filled:.<{width}}]"


def binary_size(count: int) -> str:
    """Return a number of bytes in GiB, to a tenth; in MiB where that would round to nothing."""
    return f"{count / GIB:.1f} GiB" if count >= GIB / 20 else f"{count / MIB:.1f} MiB"


def _cells(count: int, card: Card, width: int) -> int:
    return max(1, round(width * count / card.die_memory_bytes)) if count else 0


def _from(fitting: Sequence[int]) -> str:
    return f"from tp {fitting[0]}" if fitting else "with no tp"
