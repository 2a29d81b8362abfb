import pytest

from vacc_gen.generator.cli.page import Page, matching_paths
from vacc_gen.generator.new.choices import Choices
from vacc_gen.generator.new.interview import Interview
from vacc_gen.generator.new.wizard import FROM_CHECKPOINT


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("weights-a", "weights-b", ".hidden", "模型"):
        (tmp_path / name).mkdir()
    (tmp_path / "weights-a" / "config.json").touch()
    (tmp_path / "notes.txt").touch()
    return tmp_path


def page_of(name):
    interview = Interview()
    while interview.question.name != name:
        interview.answer(interview.suggestion())
    return Page(interview)


def values(options):
    return [option.value for option in options]


def test_paths_are_completed_as_a_shell_does(here, monkeypatch):
    assert values(matching_paths("", folders=True)) == ["weights-a/", "weights-b/", "模型/"]
    assert "notes.txt" in values(matching_paths("", folders=False))
    assert values(matching_paths("./w", folders=True)) == ["./weights-a/", "./weights-b/"]
    assert values(matching_paths(".h", folders=True)) == [".hidden/"]
    assert matching_paths("weights-a/config.json/", folders=False) == []
    assert matching_paths("nowhere/", folders=True) == []
    monkeypatch.setenv("HOME", str(here))
    assert values(matching_paths("~/模", folders=True)) == ["~/模型/"]
    page = page_of("checkpoint")
    page.type("w")
    page.complete()
    assert page.text == "weights-"
    page.complete()
    assert page.text == "weights-"


def test_stepping_through_paths_keeps_what_is_offered():
    page = page_of("checkpoint")
    offered = page.rows
    stepped = []
    for _ in range(4):
        page.step(1)
        stepped.append(page.text)
    assert stepped == ["weights-a/", "weights-b/", "模型/", "模型/"]
    assert page.rows == offered


def test_search_takes_words_of_name_summary_and_repository():
    page = page_of("model")
    assert page.value == "falcon-7b-instruct"
    page.type("tiiuae 180b CHAT")
    assert values(page.rows) == ["falcon-180B-chat"]
    assert page.value == "falcon-180B-chat"
    page.type("no such thing")
    assert page.value == ""
    assert page.meaning.error is not None
    page.step(1)
    page.type("")
    assert len(page.rows) > 100


def test_a_model_comes_before_those_that_are_likened_to_it():
    page = Page(Interview())
    page.type("Qwen2.5-VL-3B")
    assert page.value == "Qwen2.5-VL-3B-Instruct"
    assert [row.value for row in page.rows[1:]] == ["OCRFlux-3B"]


def test_what_was_given_is_offered_though_the_list_lacks_it():
    interview = Interview(Choices(environment="clip-py38"))
    while interview.question.name != "environment":
        interview.answer(interview.suggestion())
    page = Page(interview)
    assert page.value == page.rows[0].value == "clip-py38"
    assert "qwen3_gptq-py310" not in {row.value for row in page.rows}


def test_letters_seek_the_option_that_begins_so():
    page = page_of("card")
    for letter in "va16":
        page.seek(letter)
    assert page.value == "VA16"
    page.seek("#")
    assert page.value == "VA16"
    page.seek("N")
    assert page.value == "not decided"
    page.seek("v")
    page.step(-1)
    page.seek("a")
    assert page.value == "not decided"


def test_weights_are_said_later_only_where_the_model_was_said():
    assert "Leave it empty" in page_of("checkpoint").help
    interview = Interview()
    interview.answer(FROM_CHECKPOINT)
    page = Page(interview)
    assert page.help == "Folder with config.json, tokenizer.json and safetensors shards."
    page.type("")
    assert page.meaning.error is not None


def test_numbers_step_to_what_is_offered_next():
    page = page_of("tp")
    assert page.text == "4"
    page.step(1)
    assert page.text == "8"
    page.type("5")
    page.step(-1)
    assert page.text == "4"
    page.type("5")
    page.step(1)
    assert page.text == "8"
    page.step(10)
    page.step(1)
    assert page.text == "32"
    page.type("many")
    page.step(1)
    assert page.text == "1"


def test_warnings_are_those_of_this_answer():
    page = page_of("total")
    assert page.warnings() == []
    page.type("4096")
    assert page.warnings() == ["total 4096 is longer than the model's 2048 positions"]
