"""`vacc-gen run`, as a user calls it."""

import io
import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.processes import SLOW_VACC_GEN, VACC_GEN
from tests.terminals import CTRL_C, CTRL_D, ENTER, Terminal

PROMPT = ("--prompt", "In the beginning God created")


def test_text_goes_to_stdout_and_figures_to_stderr(built_once, run):
    texts = set()
    for precision in ("fp16", "int8"):
        options = (*PROMPT, "--max-tokens", 12, "--precision", precision)
        code, text, errors = run("run", built_once.root, *options)
        assert code == 0
        assert errors.startswith(f"falcon-tiny-{precision}-tp1-64-128: prompt 8 tokens, answer 12 ")
        texts.add(text)
    folder = built_once.root / "deploy" / built_once.plan.jobs[0].name
    assert run("run", folder, *PROMPT, "--max-tokens", 12)[1] in texts
    (text,) = texts
    assert text.startswith(" ")
    assert len(text.split()) > 3, "trained on this text, it goes on in words"


def test_an_answer_fills_what_is_left_by_default(built_once, run):
    _, _, errors = run("run", built_once.root, "--prompt", "word " * 30)
    prompt_tokens = int(errors.split("prompt ")[1].split()[0])
    assert f"answer {min(64, 128 - prompt_tokens)} tokens" in errors


@pytest.mark.parametrize(
    ("folder", "options", "words"),
    [
        ("built", ("--prompt", ""), "the prompt has no tokens"),
        ("built", (), "there is no prompt, and no terminal to chat on"),
        ("built", ("--prompt", "word " * 300), "this model's total length, 128"),
        ("built", ("--prompt", "a", "--precision", "int4"), "holds no int4 model"),
        ("built", ("--prompt", "a", "--stop", ""), "--stop: an empty text"),
        ("built", ("--prompt", "\udcff"), "not valid UTF-8"),
        ("empty", ("--prompt", "a"), "holds no compiled model"),
        ("without tokenizer", ("--prompt", "a"), "tokenizer.json is missing"),
    ],
)
def test_refusals(built_once, run, tmp_path, folder, options, words):
    places = {"built": built_once.root, "empty": tmp_path, "without tokenizer": tmp_path / "copy"}
    if folder == "without tokenizer":
        shutil.copytree(built_once.root / "deploy" / built_once.plan.jobs[0].name, places[folder])
        (places[folder] / "tokenizer.json").unlink()
    code, text, errors = run("run", places[folder], *options)
    assert (code, text) == (2, "")
    assert words in errors


def test_a_prompt_comes_in_four_ways(built_once, run, tmp_path, monkeypatch):
    text = "In the beginning"
    (tmp_path / "prompt").write_text(text)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    ways = ([text], ["-"], ["--prompt", text], ["--prompt-file", "prompt"])
    answers = {run("run", built_once.root, *way, "--max-tokens", 4).out for way in ways}
    assert len(answers) == 1
    error = "error: give one prompt: PROMPT, --prompt or --prompt-file\n"
    assert run("run", built_once.root, text, "--prompt", text)[::2] == (2, error)


def test_sampling_and_stop(built_once, run):
    pytest.importorskip("onnxruntime_genai", reason="plain ONNX Runtime does not sample")
    greedy = run("run", built_once.root, "And the", "--top-k", 1).out
    assert run("run", built_once.root, "And the").out == greedy
    drawn = [
        run("run", built_once.root, "And the", "--temperature", 1.5, "--seed", seed).out
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    stop = greedy.split()[4]
    assert run("run", built_once.root, "And the", "--stop", stop).out == (
        greedy[: greedy.index(stop)] + "\n"
    )


def test_run_and_chat_load_neither_torch_nor_transformers(built_once):
    program = "import sys\nfrom vacc_gen.generator.cli.main import main\ntry:\n    main()\nfinally:"
    program += "\n    print(sorted({'torch', 'transformers', 'fastapi'} & {*sys.modules}))"
    command = (sys.executable, "-c", program, "run", built_once.root, "--chat", "Who?")
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n[]\n")


def test_verify_finds_a_bit_that_was_flipped(built, run):
    folder = built.root / "deploy" / built.plan.jobs[0].name
    options = (*PROMPT, "--max-tokens", 3, "--verify")
    assert run("run", folder, *options).code == 0
    weights = folder / "weights.bin"
    content = bytearray(weights.read_bytes())
    content[4000] ^= 1
    weights.write_bytes(content)
    code, text, errors = run("run", folder, *options)
    assert (code, text) == (2, "")
    assert f"{weights} was changed: its sha256" in errors
    assert f"{weights}:1:1: error VG940: weights.bin was changed" in run("validate", folder).out
    (folder / "manifest.json").unlink()
    assert f"{folder / 'manifest.json'} is missing" in run("run", folder, *options).err


def test_a_pipe_that_nobody_reads_ends_it_as_in_other_programs(built_once):
    reader, writer = os.pipe()
    os.close(reader)
    command = (*VACC_GEN, "run", str(built_once.root), *PROMPT)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


# --- the chat, on a real terminal ---------------------------------------------------------------

ALT_ENTER = "\x1b\r"


def chat(workspace, home, max_tokens):
    options = ("run", str(workspace.root), "--max-tokens", str(max_tokens))
    terminal = Terminal(home, *options, program=SLOW_VACC_GEN, XDG_STATE_HOME=str(home))
    terminal.wait_for(">>>")
    return terminal


def test_a_chat_answers_and_is_saved(built_once, tmp_path):
    terminal = chat(built_once, tmp_path, 16)
    assert "no chat template: plain `User:`" in terminal.printed
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
