"""The questions of `vacc-gen new`, asked in a real terminal."""

import re
import shlex
import shutil

import pytest

from tests.terminals import BACKSPACE, CTRL_U, DOWN, ENTER, SPACE, Terminal
from tests.workspaces import FALCON_TINY, files_of
from vacc_gen.generator.new.choices import Choices
from vacc_gen.generator.new.questions import QUESTIONS, options_of

COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9\d|10\d)(?:;\d+)*m")
LAST = "Write it, or change an answer?"
(MODEL, CHECKPOINT, PRECISION, CARD, TP, PREFILL, TOTAL, GOAL, TEXTS, ENVIRONMENT, FOLDER) = (
    question.prompt for question in QUESTIONS
)


@pytest.fixture
def asked(tmp_path):
    """Start `vacc-gen new` in an empty folder, on a terminal."""

    def start(*arguments, **terminal):
        return Terminal(tmp_path, "new", *arguments, lines=40, **terminal)

    return start


def reply(terminal, prompt, *keys):
    """Wait for a prompt, press keys and Enter."""
    terminal.wait_for(f"{prompt} (")
    terminal.send(*keys, ENTER)


def go_on(terminal, *prompts):
    """Take what each prompt offers."""
    for prompt in prompts:
        reply(terminal, prompt)


def line_of(terminal):
    (line,) = re.findall(r"the same in one line:\n  (vacc-gen new .*)\n", terminal.printed)
    return shlex.split(line)[1:]


@pytest.mark.parametrize("columns", [80, 40])
def test_questions_explain_themselves_and_enter_makes_what_the_printed_line_makes(
    asked, run, tmp_path, columns
):
    terminal = asked(columns=columns)
    for step, question in enumerate(QUESTIONS, 1):
        terminal.wait_for(f"step {step} of {len(QUESTIONS)}: {question.prompt} (")
        terminal.send("?")
        terminal.wait_for(question.explanation)
        terminal.wait_for(f"step {step} of {len(QUESTIONS)}: {question.prompt} (")
        for option in options_of(Choices(model="falcon-7b-instruct"), question):
            if question.field not in ("model", "environment"):  # which do not show all at once
                terminal.wait_for(f"{option.value} {option.note}".rstrip())
        go_on(terminal, question.prompt)
    terminal.wait_for("weights 3.3 GiB KV cache 0.2 GiB")
    go_on(terminal, LAST)
    assert terminal.exit_code() == 0
    assert line_of(terminal) == ["new", "--model", "falcon-7b-instruct"]
    assert "\n  vacc-gen fetch falcon-7b-instruct " in terminal.printed
    assert not COLOUR.search(terminal.received)
    made = files_of(tmp_path / "falcon-7b-instruct")
    shutil.move(tmp_path / "falcon-7b-instruct", tmp_path / "first")
    assert run(*line_of(terminal)).code == 0
    assert files_of(tmp_path / "falcon-7b-instruct") == made


def test_every_question_can_be_answered(asked, tmp_path):
    shutil.copytree(FALCON_TINY, tmp_path / "模型 权重")
    terminal = asked()
    reply(terminal, MODEL, "from a check")
    terminal.wait_for(f"{CHECKPOINT} (")
    terminal.send("模型", "\t")  # the menu has no colours either
    terminal.wait_for("权重")
    terminal.settle()
    reply(terminal, CHECKPOINT, CTRL_U, "模型 权重")
    reply(terminal, PRECISION, SPACE, DOWN, DOWN, DOWN, SPACE)
    reply(terminal, CARD, DOWN)
    reply(terminal, TP, *[DOWN] * 6)
    terminal.wait_for("number in digits:")
    terminal.send("2?", ENTER)  # `?` explains, and what was typed stays
    reply(terminal, PREFILL, DOWN)
    reply(terminal, TOTAL)
    reply(terminal, GOAL, DOWN)
    reply(terminal, TEXTS, DOWN, DOWN)
    reply(terminal, "Where are these texts?", CTRL_U, "data/c4.json.gz")
    terminal.wait_for(f"step 10 of 11: {ENVIRONMENT} (")
    assert "llama-py310" not in terminal.screen, "others stand behind one entry"
    reply(terminal, ENVIRONMENT, DOWN)
    terminal.wait_for("llama-py310")
    terminal.send(*[DOWN] * 6, ENTER)
    reply(terminal, FOLDER, CTRL_U, "输出")
    terminal.wait_for("calibration   c4:data/c4.json.gz")
    assert "precision     int8 kv8" in terminal.screen
    go_on(terminal, LAST)
    assert terminal.exit_code() == 0
    assert not COLOUR.search(terminal.received)
    assert line_of(terminal) == [
        *("new", "--checkpoint", "模型 权重", "--out", "输出"),
        *("--precision", "int8", "--precision", "kv8", "--prefill", "256", "--tp", "2"),
        *("--card", "VA1-16G", "--calibration", "c4:data/c4.json.gz"),
        *("--optimize-for", "latency", "--environment", "llama-py310"),
    ]


def test_any_answer_can_be_changed_on_the_last_page(asked, tmp_path):
    terminal = asked("--tp", "2", "--calibration", "c4:c4.gz")
    go_on(terminal, *(question.prompt for question in QUESTIONS[:-2]), "Where are these texts?")
    go_on(terminal, ENVIRONMENT, FOLDER)
    terminal.wait_for("tp            2")
    reply(terminal, LAST, *[DOWN] * 3)
    reply(terminal, f"change: {PRECISION}", DOWN, SPACE)  # fp16 alone: no texts
    terminal.wait_for("precision     fp16\n")
    assert "calibration" not in terminal.screen.rpartition(LAST)[2]
    reply(terminal, LAST, DOWN)
    reply(terminal, f"change: {MODEL}", "Qwen2.5-VL-7B-I")
    terminal.wait_for("model         Qwen2.5-VL-7B-Instruct")
    assert "tp            2" in terminal.screen.rpartition(LAST)[2]
    go_on(terminal, LAST)
    assert terminal.exit_code() == 0
    options = "--model Qwen2.5-VL-7B-Instruct --precision fp16 --tp 2"
    assert line_of(terminal)[1:] == shlex.split(options)


def test_what_is_impossible_is_said_and_asked_again(asked, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("precious")
    terminal = asked()
    terminal.wait_for(MODEL)
    terminal.send("flacon", ENTER, *[BACKSPACE] * 6, "falcon-7b-i")
    go_on(terminal, MODEL)
    reply(terminal, CHECKPOINT, "thesis")
    terminal.wait_for("thesis has no config.json")
    terminal.settle()
    go_on(terminal, CHECKPOINT)
    terminal.wait_for(PRECISION)
    terminal.send(SPACE, DOWN, SPACE, ENTER)
    terminal.wait_for("Choose at least one.")
    terminal.settle()
    reply(terminal, PRECISION, SPACE)
    go_on(terminal, CARD)
    for typed, said in (("two", "'two' is not a whole number"), ("65", "--tp: must be less than")):
        reply(terminal, TP, *[DOWN] * 4)
        terminal.wait_for("number in digits:")
        terminal.send(typed, ENTER)
        terminal.wait_for(said)
        terminal.settle()
    go_on(terminal, TP, PREFILL)
    reply(terminal, TOTAL, *[DOWN])
    terminal.wait_for("number in digits:")
    terminal.send("1000", ENTER)
    terminal.wait_for("nearest: 992 and 1008")
    terminal.settle()
    go_on(terminal, TOTAL, GOAL, TEXTS, ENVIRONMENT)
    reply(terminal, FOLDER, CTRL_U, "thesis")
    terminal.wait_for("thesis exists and is not empty")
    terminal.settle()
    reply(terminal, FOLDER, CTRL_U, "w")
    go_on(terminal, LAST)
    assert terminal.exit_code() == 0
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "precious"


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        ((), {"TERM": "dumb"}, "--model or --checkpoint is missing"),
        ((), {"CI": "1"}, "--model or --checkpoint is missing"),
        (("--prefill", "17"), {}, "--prefill: must be a multiple of 16"),
    ],
)
def test_nothing_is_asked_where_nobody_can_answer_or_an_option_is_impossible(
    asked, arguments, environment, said
):
    terminal = asked(*arguments, **environment)
    assert terminal.exit_code() == 2
    assert said in terminal.printed
    assert MODEL not in terminal.printed
