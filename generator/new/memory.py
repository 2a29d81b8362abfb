"""The estimate of memory as text: a few lines that fit a terminal of 80 columns."""

from __future__ import annotations

from vacc_gen import presets
from vacc_gen.generator.plan import Plan
from vacc_gen.schema.errors import plural
from vacc_gen.schema.geometry import SERVED_BATCH, Footprint, footprint, least_tp
from vacc_gen.schema.preset import Card


def target_lines(plan: Plan) -> list[str]:
    """Return what each die holds: a line for each precision, what fits, the heads.

    Where no card is chosen, a line names those that would do.
    """
    target, card = plan.recipe.target, _card(plan)
    on = f"{card.name} of {_size_text(card.die_memory_bytes)}, " if card else ""
    served = f"tp {target.tp}, {target.total} tokens, {SERVED_BATCH} requests at once"
    lines, fits = [f"estimate per die: {on}{served}"], []
    for estimate in _estimates(plan):
        precision = estimate.precision
        weights, cache = _size_text(estimate.weights_bytes), _size_text(estimate.kv_cache_bytes)
        line = f"  {precision.value:4}  weights {weights:>8}  KV cache {cache:>8}  "
        if card:
            tp = least_tp(plan.geometry, precision, target.total, card.die_memory_bytes)
            fits.append(f"{precision.value} {f'from tp {tp}' if tp else 'with no tp'}")
            lines.append(line + _left(estimate, card))
        else:
            cards, size = presets.CARDS.all(), estimate.total_bytes
            names = [known.name for known in cards if size <= known.die_memory_bytes]
            lines.append(f"{line}fits {', '.join(names) or 'no known card'}")
    if card:
        lines.append(f"  fits: {', '.join(fits)}")
    return [*lines, f"  {plan.geometry.heads_sentence(target.tp)}"]


def memory_note(plan: Plan) -> str:
    """Return how the fullest die does, in the precision that takes most; empty where none is."""
    worst = max(_estimates(plan), key=lambda estimate: estimate.total_bytes, default=None)
    if worst is None:
        return ""
    card = _card(plan)
    if card is None:
        return f"{_size_text(worst.total_bytes)} a die in {worst.precision.value}"
    cards = plural(-(-worst.tp // card.dies), "card")
    return f"{cards}, {_left(worst, card)} a die in {worst.precision.value}"


def _estimates(plan: Plan) -> list[Footprint]:
    target, jobs = plan.recipe.target, plan.vamc_jobs
    return [footprint(plan.geometry, job.precision, target.tp, target.total) for job in jobs]


def _card(plan: Plan) -> Card | None:
    name = plan.recipe.target.card
    return None if name is None else presets.CARDS.find(name)


def _left(estimate: Footprint, card: Card) -> str:
    left = card.die_memory_bytes - estimate.total_bytes
    return f"left {_size_text(left)}" if left >= 0 else f"short {_size_text(-left)}"


def _size_text(count: int) -> str:
    """Return a number of bytes in GiB, to a tenth; in MiB where that would round to nothing."""
    gib = count / (1 << 30)
    return f"{gib:.1f} GiB" if gib >= 0.05 else f"{gib * 1024:.1f} MiB"
