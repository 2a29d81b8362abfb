"""The chat of `vacc-gen run`, on a real terminal."""

import json

from tests.processes import SLOW_VACC_GEN
from tests.terminals import CTRL_C, CTRL_D, ENTER, Terminal

ALT_ENTER = "\x1b\r"


def chat(workspace, home, max_tokens):
    options = ("run", str(workspace.root), "--max-tokens", str(max_tokens))
    terminal = Terminal(home, *options, program=SLOW_VACC_GEN, XDG_STATE_HOME=str(home))
    terminal.wait_for(">>>")
    return terminal


def test_a_chat_answers_and_is_saved(built_once, tmp_path):
    terminal = chat(built_once, tmp_path, 16)
    assert "plain User: and Assistant: turns, as there is no chat template" in terminal.printed
    terminal.send("Who made", ALT_ENTER, "the heaven?", ENTER)
    terminal.settle()
    terminal.send('"""And', ENTER, 'the earth?"""', ENTER)
    terminal.settle()
    terminal.send("/save talk.json", ENTER, "/clear", ENTER, "/save empty.json", ENTER, "/?", ENTER)
    terminal.wait_for("Ctrl-C stops an answer")
    terminal.send("/save talk.json", ENTER)
    terminal.wait_for("cannot write talk.json: it exists\n>>>")
    terminal.send(CTRL_D)
    assert terminal.exit_code() == 0
    talk = json.loads((tmp_path / "talk.json").read_text())
    assert [message["role"] for message in talk] == ["user", "assistant"] * 2
    assert [talk[0]["content"], talk[2]["content"]] == ["Who made\nthe heaven?", "And\nthe earth?"]
    assert len(talk[1]["content"].split()) > 9
    assert json.loads((tmp_path / "empty.json").read_text()) == []
    assert "+the heaven?" in (tmp_path / "vacc-gen" / "history").read_text()


def test_ctrl_c_stops_the_answer_and_not_the_chat(built_once, tmp_path):
    terminal = chat(built_once, tmp_path, 60)
    terminal.send("Who?", ENTER)
    terminal.wait_for("Who?\nfor ")
    terminal.send(CTRL_C)
    terminal.wait_for("(stopped)")
    terminal.send(CTRL_C)
    terminal.wait_for("Ctrl-D leaves\n>>>")
    terminal.send("/save talk.json", ENTER)
    terminal.settle()
    terminal.send(CTRL_D)
    assert terminal.exit_code() == 0
    answer = json.loads((tmp_path / "talk.json").read_text())[1]["content"]
    assert len(answer.split()) < 40


def test_nothing_that_is_typed_ends_a_chat_or_what_was_said_in_it(built_once, tmp_path):
    terminal = chat(built_once, tmp_path, 16)
    terminal.send("Who?", ENTER)
    terminal.settle()
    terminal.send("caf\udce9 " * 200, ENTER)  # not UTF-8, and too long
    terminal.wait_for("more than this model's total length")
    terminal.send("/save ~nobody/talk.json", ENTER, "/save talk.json", ENTER)
    terminal.wait_for("talk.json: 2 messages\n>>>")
    terminal.send(CTRL_D)
    assert terminal.exit_code() == 0
