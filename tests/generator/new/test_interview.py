import shutil
from pathlib import Path

import pytest

from vacc_gen import presets
from vacc_gen.generator.new.choices import Choices
from vacc_gen.generator.new.interview import Interview
from vacc_gen.generator.new.wizard import FROM_CHECKPOINT, QUESTIONS
from vacc_gen.generator.workspace.workspace import create
from vacc_gen.schema.errors import UsageError, VaccGenError
from vacc_gen.schema.lint.check import check_paths
from vacc_gen.schema.lint.diagnostics import Severity

FALCON_TINY = Path(__file__).parents[2] / "data" / "falcon-tiny"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def walk(interview, **answers):
    """Answer every question that is asked: from `answers`, else what is offered."""
    asked = []
    while interview.question:
        name = interview.question.name
        asked.append(name)
        interview.answer(answers.get(name.replace(" ", "_"), interview.suggestion()))
    return asked


def test_questions_have_names_and_words_of_their_own():
    assert len({question.name for question in QUESTIONS}) == len(QUESTIONS)
    for question in QUESTIONS:
        assert question.prompt.endswith("?")
        assert question.help.endswith(".")
        assert len(question.prompt) <= 80


@pytest.mark.parametrize("model", presets.MODELS.names()[::9])
def test_enter_all_the_way_says_no_more_than_the_model(model):
    interview = Interview()
    walk(interview, model=model)
    draft = interview.draft
    said = Choices(model=model, out=draft.choices.out, align_qkv=draft.choices.align_qkv)
    assert draft.choices == said
    assert draft.choices.decide() == draft.decision


def test_weights_that_stand_here_are_offered(here):
    shutil.copytree(FALCON_TINY, here / "falcon-tiny")
    interview = Interview()
    walk(interview, model="falcon-tiny")
    assert interview.draft.choices == Choices(
        model="falcon-tiny", checkpoint="falcon-tiny", out="falcon-tiny-2"
    )


def test_a_checkpoint_tells_the_model(here):
    shutil.copytree(FALCON_TINY, here / "w")
    interview = Interview()
    asked = walk(interview, model=FROM_CHECKPOINT, checkpoint="w/", precisions="fp16")
    assert interview.draft.decision.preset.name == "falcon-tiny"
    assert interview.draft.choices == Choices(checkpoint="w", precisions=("fp16",))
    assert "calibration" not in asked


def test_questions_are_asked_where_they_apply():
    tiny = walk(Interview(), model="falcon-tiny")
    assert {"align qkv", "texts"}.isdisjoint(tiny)
    split = Interview()
    assert "align qkv" in walk(split, model="falcon-tiny", tp="2")
    assert not split.draft.decision.recipe.target.align_qkv  # multi-query, published without
    grouped = walk(Interview(), model="falcon-40b", tp="16", calibration="c4")
    assert {"align qkv", "texts"} <= set(grouped)


def test_an_answer_may_be_a_home_folder(here, monkeypatch):
    monkeypatch.setenv("HOME", str(here))
    shutil.copytree(FALCON_TINY, here / "w")
    interview = Interview()
    walk(interview, model=FROM_CHECKPOINT, checkpoint="~/w", folder="~/made")
    assert interview.draft.choices.checkpoint == str(here / "w")
    assert interview.draft.choices.out == str(here / "made")


def test_a_longer_prompt_makes_room_for_an_answer():
    interview = Interview()
    walk(interview, model="Qwen2-7B", prefill="4096")
    target = interview.draft.decision.recipe.target
    assert (target.prefill, target.total) == (4096, 8192)


def test_what_cannot_be_leaves_the_question_open(here):
    (here / "full").mkdir()
    (here / "full" / "x").touch()
    interview = Interview()
    for name, answer in (
        ("model", "nothing like it"),
        ("checkpoint", "full"),
        ("precisions", ""),
        ("tp", "0"),
        ("prefill", "17"),
        ("total", "512"),
        ("folder", "full"),
        ("folder", "full/x/y"),
        ("folder", ""),
    ):
        while interview.question.name != name:
            interview.answer(interview.suggestion())
        with pytest.raises(VaccGenError):
            interview.answer(answer)
        assert interview.question.name == name


def test_going_back_to_the_start_and_no_further():
    interview = Interview()
    walk(interview)
    steps = 0
    while interview.back():
        steps += 1
    assert steps == len(QUESTIONS) - 1
    assert interview.draft is None
    assert interview.answered == []


def test_another_model_brings_its_own_defaults_but_keeps_what_was_chosen():
    interview = Interview()
    walk(interview, model="falcon-7b", prefill="512")
    while interview.back():
        pass
    walk(interview, model="falcon-180B")
    target = interview.draft.decision.recipe.target
    assert (target.prefill, target.tp) == (512, presets.MODELS.find("falcon-180B").recommended.tp)


def test_what_the_command_line_gave_is_offered():
    given = Choices(name="mine", tp=2, card="va16", calibration="C4:a/b.gz", precisions=("int8",))
    interview = Interview(given)
    walk(interview, model="falcon-7b")
    assert interview.draft.choices == Choices(
        model="falcon-7b",
        name="mine",
        tp=2,
        card="VA16",
        calibration="c4:a/b.gz",
        precisions=("int8",),
    )
    with pytest.raises(UsageError, match="no card"):
        Interview(Choices(card="abacus"))


def test_a_draft_warns_as_validate_would():
    interview = Interview()
    walk(interview, model="falcon-7b", tp="4", total="4096")
    workspace = create(Path("w"), interview.draft.recipe_text)
    found = check_paths([str(workspace.root)], presets.KNOWN).diagnostics
    warned = {one.message for one in found if one.severity is Severity.WARNING}
    assert {one.message for one in interview.draft.warnings} == warned
    assert "71 attention heads cannot be split over tp 4" in warned
