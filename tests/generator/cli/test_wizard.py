import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.terminals import (
    BACK_TAB,
    CTRL_C,
    CTRL_D,
    CTRL_U,
    DOWN,
    ENTER,
    ESCAPE,
    PAGE_DOWN,
    SPACE,
    TAB,
    UP,
    Terminal,
)

FALCON_TINY = Path(__file__).parents[2] / "data" / "falcon-tiny"
PROMPTS = (
    "Which model?",
    "Where are its weights?",
    "Which precisions?",
    "Which card will it run on?",
    "Over how many dies is the model split?",
    "How long may a prompt be, in tokens?",
    "How long may prompt and answer be together, in tokens?",
    "What matters more?",
    "Pad them?",
    "Which texts is int8 calibrated on?",
    "Which packages shall the compiler's Python have?",
    "Which folder shall be made?",
    "Make it?",
)
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|9\d)(?:;\d+)*m")


def vacc_gen(*arguments, cwd):
    command = [sys.executable, "-m", "vacc_gen.generator.cli.main", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
def wizard(tmp_path):
    """Start `vacc-gen new` in an empty folder, on a terminal."""

    def start(*arguments, **terminal):
        command = ["-m", "vacc_gen.generator.cli.main", "new", *arguments]
        return Terminal(sys.executable, command, tmp_path, **terminal)

    return start


def go_on(wizard, *prompts):
    """Wait for each prompt and press Enter there."""
    for prompt in prompts:
        wizard.wait_for(prompt)
        wizard.send(ENTER)


def to_folder(wizard):
    """Press Enter on every page up to the last."""
    for prompt in PROMPTS[:-2]:
        go_on(wizard, prompt)
    wizard.wait_for(PROMPTS[-2])


def files_of(root):
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def said_in_one_line(wizard):
    (line,) = re.findall(r"the same in one line:\n  (vacc-gen new .*)\n", wizard.after_wizard)
    return shlex.split(line)[1:]


def same_in_one_line(wizard, folder, cwd):
    """Move the workspace that the wizard made away, and let the printed line make it again."""
    made = files_of(folder)
    shutil.move(folder, cwd / "moved away")
    done = vacc_gen(*said_in_one_line(wizard), cwd=cwd)
    assert done.returncode == 0, done.stderr
    return made == files_of(folder)


def test_enter_all_the_way_makes_what_the_model_alone_would(wizard, tmp_path):
    wizard = wizard()
    go_on(wizard, *PROMPTS)
    assert wizard.exit_code() == 0
    assert said_in_one_line(wizard) == ["new", "--model", "falcon-7b-instruct"]
    assert "vacc-gen build falcon-7b-instruct\n" in wizard.after_wizard
    assert same_in_one_line(wizard, tmp_path / "falcon-7b-instruct", tmp_path)


def test_every_answer_given_in_a_folder_of_chinese_names(wizard, tmp_path):
    shutil.copytree(FALCON_TINY, tmp_path / "模型 权重")
    wizard = wizard()
    wizard.wait_for("from a checkpoint")
    wizard.send("from a check", ENTER)
    wizard.wait_for("模型 权重/  has a config.json")
    wizard.send("模", TAB)
    wizard.wait_for("4 layers of width 224")
    wizard.send(ENTER)
    wizard.wait_for("model         falcon-tiny, from a checkpoint")
    wizard.send(PAGE_DOWN, SPACE)
    wizard.wait_for("[x] kv8")
    go_on(wizard, "Which precisions?")
    wizard.wait_for("Which card")
    wizard.send(PAGE_DOWN)
    wizard.wait_for("> VA16")
    go_on(wizard, "Which card")
    wizard.wait_for("over how many dies".capitalize())
    wizard.send(DOWN)
    wizard.wait_for("> 2   1 card")
    go_on(wizard, "Over how many dies")
    wizard.wait_for("How long may a prompt")
    wizard.send(CTRL_U, "64", ENTER)
    wizard.wait_for("How long may prompt and answer")
    wizard.send(CTRL_U, "192", ENTER)
    wizard.wait_for("What matters more?")
    wizard.send(DOWN, ENTER)
    go_on(wizard, "The published configs leave it out.")
    wizard.wait_for("Which texts")
    wizard.send(DOWN, DOWN, DOWN)
    wizard.wait_for("> ceval")
    go_on(wizard, "Which texts")
    wizard.wait_for("> ceval-exam.zip")
    wizard.send(CTRL_U, "数据/ceval-exam.zip", ENTER)
    go_on(wizard, "Which packages")
    wizard.wait_for("Which folder")
    wizard.send(CTRL_U, "工作 区/第一", ENTER)
    wizard.wait_for("folder        工作 区/第一: ")
    go_on(wizard, "Make it?")
    assert wizard.exit_code() == 0
    assert "--precision kv8" in wizard.after_wizard
    recipe = (tmp_path / "工作 区" / "第一" / "vacc.yaml").read_text()
    assert "../../模型 权重" in recipe
    assert "../../数据/ceval-exam.zip" in recipe
    assert same_in_one_line(wizard, tmp_path / "工作 区" / "第一", tmp_path)


def test_going_back_offers_what_was_answered(wizard, tmp_path):
    wizard = wizard()
    go_on(wizard, *PROMPTS[:4])
    wizard.wait_for("Over how many dies")
    wizard.send(CTRL_U, "8", ENTER)
    wizard.wait_for("How long may a prompt")
    wizard.send(CTRL_U, "512", ENTER)
    for key, prompt in ((ESCAPE, 5), (BACK_TAB, 4), (ESCAPE, 3), (ESCAPE, 2)):
        wizard.wait_for(PROMPTS[prompt + 1])
        wizard.send(key)
        wizard.wait_for(PROMPTS[prompt])
    wizard.send(SPACE)
    wizard.wait_for("[ ] fp16")
    go_on(wizard, "Which precisions?", "Which card")
    wizard.wait_for("> 8")
    wizard.send(ENTER)
    wizard.wait_for("> 512")
    wizard.send(ENTER)
    go_on(wizard, *PROMPTS[6:])
    assert wizard.exit_code() == 0
    command = "new --model falcon-7b-instruct --precision int8 --prefill 512 --tp 8"
    assert said_in_one_line(wizard) == command.split()


def test_a_number_that_is_typed_replaces_the_one_offered(wizard):
    wizard = wizard()
    go_on(wizard, *PROMPTS[:4])
    wizard.wait_for("> 4 ")
    wizard.send("2")
    wizard.wait_for("tp 2,")
    wizard.send("\x7f1", "6", ENTER)
    wizard.wait_for("How long may a prompt")
    wizard.send(DOWN)
    wizard.wait_for("> 2048")
    wizard.send("5", "12", ENTER)
    wizard.wait_for("How long may prompt and answer")
    wizard.send("\x1b[200~1024\n\x1b[201~")
    wizard.wait_for("> 1024")
    wizard.send("\x7f", "\x7f", "\x7f", "\x7f", "2048", "\x1b[D", "\x7f", "3", ENTER)
    wizard.wait_for("total 2038")
    wizard.send(CTRL_C)
    assert wizard.exit_code() == 130
    assert "Traceback" not in wizard.after_wizard


def test_typing_goes_to_the_option_that_begins_so(wizard):
    wizard = wizard()
    go_on(wizard, *PROMPTS[:2])
    wizard.wait_for("Which precisions?")
    wizard.send("K", SPACE)
    wizard.wait_for("> [x] kv8")
    wizard.send(ENTER)
    wizard.wait_for("Which card")
    wizard.send("va10")
    wizard.wait_for("> VA10")
    wizard.send(ENTER)
    go_on(wizard, *PROMPTS[4:7])
    wizard.wait_for("What matters more?")
    wizard.send("la", ENTER)
    wizard.wait_for("optimize for  latency")
    wizard.send(CTRL_C)
    assert wizard.exit_code() == 130


def test_an_answer_that_holds_no_longer_is_not_offered(wizard):
    """A calibration set answers a question that fp16 alone does not ask."""
    wizard = wizard()
    go_on(wizard, *PROMPTS[:9])
    wizard.wait_for("Which texts")
    wizard.send(DOWN, ENTER)
    wizard.wait_for("Where are these texts?")
    for prompt in reversed(PROMPTS[2:10]):
        wizard.send(ESCAPE)
        wizard.wait_for(prompt)
    wizard.send(DOWN, SPACE)
    wizard.wait_for("[ ] int8")
    go_on(wizard, *PROMPTS[2:9], *PROMPTS[10:])
    assert wizard.exit_code() == 0
    assert said_in_one_line(wizard)[-2:] == ["--precision", "fp16"]


@pytest.mark.parametrize(("pages", "key"), [(0, CTRL_C), (1, CTRL_D), (4, CTRL_C), (12, CTRL_D)])
def test_leaving_leaves_nothing_behind(wizard, tmp_path, pages, key):
    wizard = wizard()
    go_on(wizard, *PROMPTS[:pages])
    wizard.wait_for(PROMPTS[pages])
    wizard.send(key)
    assert wizard.exit_code() == 130
    assert "Traceback" not in wizard.after_wizard
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_is_said_at_once_and_goes_no_further(wizard, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("precious")
    wizard = wizard()
    wizard.wait_for("Which model?")
    wizard.send("flacon")
    wizard.wait_for("nothing here has all of these words")
    wizard.send(ENTER, CTRL_U, "falcon-7b-i", ENTER)
    wizard.wait_for("Where are its weights?")
    wizard.send("thesis", ENTER)
    wizard.wait_for("thesis has no config.json")
    wizard.send(CTRL_U, ENTER)
    wizard.wait_for("Which precisions?")
    wizard.send(SPACE, DOWN, SPACE, ENTER)
    wizard.wait_for("at least one precision")
    wizard.send(SPACE, ENTER)
    go_on(wizard, "Which card")
    for typed, said in (("65", "tp cannot be 65: 64 at most"), ("two", "'two' is not a whole")):
        wizard.send(CTRL_U, typed, ENTER)
        wizard.wait_for(said)
    wizard.send(CTRL_U, "2", ENTER)
    wizard.wait_for("How long may a prompt")
    wizard.send(CTRL_U, "1000", ENTER)
    wizard.wait_for("nearest: 992 and 1008")
    assert "--prefill" not in wizard.screen
    wizard.send(CTRL_U, "1008", ENTER)
    wizard.wait_for("How long may prompt and answer")
    wizard.send(CTRL_U, "512", ENTER)
    wizard.wait_for("a prompt of 1008 tokens does not fit a total of 512")
    wizard.send(CTRL_U, "4096")
    wizard.wait_for("total 4096 is longer than the model's 2048 positions")
    wizard.send(CTRL_U, "1024", ENTER)
    go_on(wizard, *PROMPTS[7:11])
    wizard.wait_for("Which folder")
    wizard.send(CTRL_U, "thesis", ENTER)
    wizard.wait_for("thesis exists and is not empty")
    wizard.send(CTRL_U, "w", ENTER)
    go_on(wizard, "Make it?")
    assert wizard.exit_code() == 0
    assert said_in_one_line(wizard)[-6:] == ["--prefill", "1008", "--total", "1024", "--tp", "2"]
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "precious"


def test_memory_is_shown_for_what_the_cursor_is_on(wizard):
    wizard = wizard()
    wizard.wait_for("Which model?")
    wizard.send("falcon-40b", ENTER)
    go_on(wizard, "Where are its weights?", "Which precisions?")
    wizard.wait_for("not decided")
    wizard.send(DOWN)
    wizard.wait_for("VA1-16G of 8.0 GiB, tp ")
    wizard.wait_for("short")
    wizard.send(DOWN)
    wizard.wait_for("VA10L of 32.0 GiB, tp ")
    assert "short" not in wizard.screen
    wizard.send(ENTER)
    wizard.wait_for("Over how many dies")
    wizard.send(CTRL_U, "16")
    wizard.wait_for("VA10L of 32.0 GiB, tp 16, ")
    wizard.wait_for("8 KV heads cannot be split over tp 16")
    wizard.send(ENTER)
    go_on(wizard, *PROMPTS[5:8])
    wizard.wait_for("Pad them?")
    wizard.send(UP, ENTER)
    go_on(wizard, *PROMPTS[9:])
    assert wizard.exit_code() == 0
    assert said_in_one_line(wizard)[-1] == "--align-qkv"


@pytest.mark.parametrize(("lines", "columns"), [(24, 80), (40, 120), (14, 60)])
def test_every_page_fits(wizard, lines, columns):
    wizard = wizard(lines=lines, columns=columns)
    for prompt in PROMPTS:
        wizard.wait_for(prompt)
        wizard.settle()
        assert wizard.lines[0] == "vacc-gen new: a workspace, step by step"
        assert wizard.lines[-1].endswith("leave")
        wizard.send(ENTER)
    assert wizard.exit_code() == 0


def test_columns_stand_under_each_other_whatever_the_script(wizard, tmp_path):
    from prompt_toolkit.utils import get_cwidth

    for name in ("模型权重", "weights", "Ŵ", "重み"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    wizard = wizard()
    go_on(wizard, "Which model?")
    wizard.wait_for("weights/")
    wizard.settle()
    notes = [line for line in wizard.lines if "has a config.json" in line]
    assert len(notes) == 4
    assert len({get_cwidth(line.partition("has a")[0]) for line in notes}) == 1


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colour_is_left_out_where_it_is_not_wanted(wizard, environment, coloured):
    wizard = wizard(**environment)
    go_on(wizard, *PROMPTS[:4])
    wizard.wait_for("Over how many dies")
    wizard.send("x")
    wizard.wait_for("is not a whole number")
    assert bool(COLOUR.search(wizard.received)) == coloured
    wizard.send(CTRL_C)
    assert wizard.exit_code() == 130


def test_options_of_the_command_line_are_offered(wizard):
    wizard = wizard("--tp", "2", "--card", "va16", "--out", "输出", "--name", "mine")
    go_on(wizard, *PROMPTS[:3])
    wizard.wait_for("> VA16")
    go_on(wizard, "Which card")
    wizard.wait_for("> 2 ")
    go_on(wizard, *PROMPTS[4:11])
    wizard.wait_for("> 输出")
    go_on(wizard, "Which folder", "Make it?")
    assert wizard.exit_code() == 0
    options = "--model falcon-7b-instruct --name mine --out 输出 --tp 2 --card VA16"
    assert said_in_one_line(wizard)[1:] == options.split()


def test_a_pasted_path_may_end_with_its_line(wizard, tmp_path):
    shutil.copytree(FALCON_TINY, tmp_path / "falcon-tiny-weights")
    wizard = wizard()
    wizard.wait_for("Which model?")
    wizard.send(UP * 12, ENTER)
    wizard.wait_for("Where are its weights?")
    wizard.send("\x1b[200~falcon-tiny-weights\r\n\x1b[201~")
    wizard.wait_for("> falcon-tiny-weights")
    wizard.send(CTRL_C)
    assert wizard.exit_code() == 130


def test_a_field_shows_what_it_holds_after_something_longer(wizard, tmp_path):
    (tmp_path / "长长的中文文件夹名称用来测试宽字符").mkdir()
    wizard = wizard()
    go_on(wizard, "Which model?")
    wizard.wait_for("Where are its weights?")
    wizard.send("x" * 150)
    wizard.wait_for("> xxx")
    wizard.send(CTRL_U + "长长的中文文件夹名称用来测试宽字符")
    wizard.wait_for("> 长长的中文文件夹名称用来测试宽字符")
    wizard.send(CTRL_C)
    assert wizard.exit_code() == 130


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}])
def test_a_terminal_that_cannot_draw_is_told_the_options(wizard, environment):
    wizard = wizard(**environment)
    assert wizard.exit_code() == 2
    assert "vacc-gen new --model" in wizard.received
