from pathlib import Path

from vacc_gen import presets
from vacc_gen.generator.new.choices import Choices
from vacc_gen.generator.new.memory import memory_note, target_lines


def plan(model, **choices):
    return Choices(model=model, **choices).decide().plan


def test_a_plan_with_a_card_and_the_same_in_the_guide():
    lines = target_lines(plan("falcon-40b", card="VA1-16G"))
    assert lines == [
        "estimate per die: VA1-16G of 8.0 GiB, tp 8, 2048 tokens, 16 requests at once",
        "  fp16  weights  9.6 GiB  KV cache  0.5 GiB  short 2.1 GiB",
        "  int8  weights  5.0 GiB  KV cache  0.5 GiB  left 2.5 GiB",
        "  fits: fp16 from tp 16, int8 from tp 8",
        "  16 attention heads and 1 KV head a die",
    ]
    guide = (Path(__file__).parents[3] / "docs/explanation/memory.md").read_text(encoding="utf-8")
    assert "\n".join(lines) in guide


def test_a_plan_without_a_card_names_those_that_would_do():
    assert target_lines(plan("falcon-40b"))[1:3] == [
        "  fp16  weights  9.6 GiB  KV cache  0.5 GiB  fits VA10L, VA16",
        "  int8  weights  5.0 GiB  KV cache  0.5 GiB  fits VA1-16G, VA10L, VA16",
    ]
    huge = {"precision": ("fp16",), "tp": 1}
    assert target_lines(plan("falcon-180B", **huge))[1].endswith("  fits no known card")
    assert target_lines(plan("falcon-180B", **huge, card="VA1-16G"))[2] == "  fits: fp16 with no tp"


def test_the_note_beside_a_choice_is_of_the_precision_that_takes_most():
    assert memory_note(plan("falcon-40b")) == "10.1 GiB a die in fp16"
    assert memory_note(plan("falcon-40b", card="va16")) == "2 cards, left 21.9 GiB a die in fp16"
    assert memory_note(plan("falcon-tiny", card="VA1-16G", precision=("int8",))) == (
        "1 card, left 8.0 GiB a die in int8"
    )
    assert memory_note(plan("falcon-7b", precision=("int4",))) == ""


def test_no_line_is_wider_than_a_terminal():
    for model in presets.MODELS.all():
        if model.any_size or model.vision:
            continue
        for card in (None, *presets.CARDS.names()):
            choices = {"precision": ("fp16", "int8", "kv8"), "total": 8192, "tp": 6, "card": card}
            assert max(map(len, target_lines(plan(model.name, **choices)))) <= 80, model.name
