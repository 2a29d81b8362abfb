from pathlib import Path

import pytest

from vacc_gen import presets
from vacc_gen.generator.new.memory import bar, target_lines
from vacc_gen.schema.footprint import Footprint, target_plan
from vacc_gen.schema.precision import Precision

CARD = presets.CARDS.find("VA1-16G")
BOTH = (Precision.FP16, Precision.INT8)


def geometry(name):
    return presets.MODELS.find(name).geometry


def test_a_plan_with_a_card():
    assert target_lines(target_plan(geometry("falcon-40b"), BOTH, 8, 2048, CARD)) == (
        "estimate per die: VA1-16G of 8.0 GiB, tp 8, 2048 tokens, 16 requests at once",
        "  fp16  [##########]  weights  9.6 GiB  KV cache  0.5 GiB  short 2.1 GiB",
        "  int8  [######-...]  weights  5.0 GiB  KV cache  0.5 GiB  left 2.5 GiB",
        "  fits: fp16 from tp 16, int8 from tp 8",
        "  16 attention heads a die",
        "  1 KV head a die",
    )


def test_a_plan_without_a_card_names_those_that_would_do():
    lines = target_lines(target_plan(geometry("falcon-40b"), BOTH, 8, 2048))
    assert lines[1:3] == (
        "  fp16  weights  9.6 GiB  KV cache  0.5 GiB  fits VA10L, VA16",
        "  int8  weights  5.0 GiB  KV cache  0.5 GiB  fits VA1-16G, VA10L, VA16",
    )
    huge = target_lines(target_plan(geometry("falcon-180B"), BOTH, 1, 2048))
    assert all(line.endswith("  fits no known card") for line in huge[1:3])
    huge = target_lines(target_plan(geometry("falcon-180B"), (Precision.FP16,), 8, 2048, CARD))
    assert huge[2] == "  fits: fp16 with no tp"


@pytest.mark.parametrize("card", [None, *presets.CARDS.all()], ids=lambda card: card and card.name)
def test_no_line_is_wider_than_a_terminal(card):
    for model in presets.MODELS.all():
        for tp in (1, 6, 16):
            plan = target_plan(model.geometry, tuple(Precision), tp, 8192, card)
            assert max(len(line) for line in target_lines(plan)) <= 80


@pytest.mark.parametrize(
    ("weights", "cache", "drawn"),
    [
        (0, 0, "[........]"),
        (1, 1, "[#-......]"),
        (4 << 30, 1 << 30, "[####-...]"),
        (7 << 30, 1 << 30, "[#######-]"),
        (8 << 30, 1 << 30, "[########]"),
        (1 << 30, 8 << 30, "[#-------]"),
    ],
)
def test_a_bar_is_as_long_as_its_parts(weights, cache, drawn):
    assert bar(Footprint(Precision.FP16, 1, weights, cache), CARD, width=8) == drawn


def test_the_guide_shows_what_is_printed():
    guide = (Path(__file__).parents[3] / "docs" / "memory.md").read_text(encoding="utf-8")
    lines = target_lines(target_plan(geometry("falcon-40b"), BOTH, 8, 2048, CARD))
    assert "\n".join(lines) in guide
