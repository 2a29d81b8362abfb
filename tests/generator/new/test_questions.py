import shutil

import pytest

from tests.workspaces import FALCON_TINY
from vacc_gen import presets
from vacc_gen.generator.new.choices import Choices
from vacc_gen.generator.new.questions import (
    FROM_CHECKPOINT,
    QUESTIONS,
    answer,
    answers_of,
    applicable,
    decided,
    options_of,
)
from vacc_gen.schema.errors import VaccGenError

BY_FIELD = {question.field: question for question in QUESTIONS}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answer_all(choices=None, **answers):
    """Answer every question: from `answers`, else what is offered."""
    choices = choices or Choices()
    for question in QUESTIONS:
        if question in applicable(choices):
            decision = decided(choices)
            offered = answers_of(decision)[question.field] if decision else ""
            choices = answer(choices, question, answers.get(question.field, offered))
    return choices


@pytest.mark.parametrize("model", ["falcon-7b", "Qwen2.5-VL-3B-Instruct", "chatglm3-6b"])
def test_what_the_preset_decides_is_left_to_it(model):
    assert answer_all(model=model) == Choices(model=model)
    fields = [question.field for question in applicable(Choices(model=model))]
    assert ("calibration" in fields) is (model != "Qwen2.5-VL-3B-Instruct")


def test_an_answer_may_be_a_home_folder(here, monkeypatch):
    monkeypatch.setenv("HOME", str(here))
    shutil.copytree(FALCON_TINY, here / "w")
    choices = answer_all(model=FROM_CHECKPOINT, checkpoint="~/w/", out="~/made")
    assert choices == Choices(checkpoint=str(here / "w"), out=str(here / "made"))


def test_a_longer_prompt_makes_room_for_an_answer():
    choices = answer_all(model="Qwen2-7B", prefill="4096")
    assert (choices.prefill, choices.total) == (4096, 8192)


def test_another_model_keeps_what_holds_for_it():
    chosen = Choices(model="falcon-7b", prefill=512, precision=("int8",), out="w")
    assert answer(chosen, BY_FIELD["model"], "falcon-180B") == Choices(
        model="falcon-180B", prefill=512, precision=("int8",), out="w"
    )
    assert answer(chosen, BY_FIELD["model"], "Qwen2-VL-7B-Instruct") == Choices(
        model="Qwen2-VL-7B-Instruct", out="w"
    )


def test_the_model_s_own_environment_comes_first():
    options = list(options_of(Choices(model="Qwen3-8B"), BY_FIELD["environment"]))
    assert options[0].value == "qwen3-py310"
    assert {option.value for option in options} == set(presets.ENVIRONMENTS.names())


def test_what_was_chosen_is_always_offered(here):
    config = (FALCON_TINY / "config.json").read_text().replace('_layers": 4', '_layers": 5')
    (here / "w").mkdir()
    (here / "w" / "config.json").write_text(config)
    chosen = Choices(checkpoint="w", environment="clip-py38", tp=6, card="va16")
    answers = answers_of(chosen.decide())
    for field in ("model", "environment", "tp", "card", "calibration"):
        assert answers[field] in [option.value for option in options_of(chosen, BY_FIELD[field])]
    assert answers["model"] == "falcon"  # any size


def test_lengths_end_where_the_model_does_and_hold_what_was_chosen():
    chosen = Choices(model="falcon-7b", prefill=48, total=96)
    assert [one.value for one in options_of(chosen, BY_FIELD["total"])] == [
        *("96", "128", "256", "512", "1024", "2048")
    ]


@pytest.mark.parametrize(
    ("field", "text"), [("model", "nothing like it"), ("total", "512"), ("out", "falcon-7b")]
)
def test_what_is_impossible_is_refused(here, field, text):
    (here / "falcon-7b").touch()
    with pytest.raises(VaccGenError):
        answer(Choices(model="falcon-7b"), BY_FIELD[field], text)
