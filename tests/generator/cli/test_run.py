"""`vacc-gen run`, as a user calls it."""

import io
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.processes import VACC_GEN
from tests.workspaces import FALCON_TINY
from vacc_gen.generator.backends.onnxruntime.export import plan_export
from vacc_gen.generator.backends.onnxruntime.weights.source import open_checkpoint

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
    done = run("run", built_once.root, text, "--prompt", text)
    assert (done.code, done.err) == (
        2,
        "error: give one prompt: PROMPT, --prompt or --prompt-file\n",
    )


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


def test_verify_finds_a_bit_that_was_flipped(built, run, tmp_path):
    folder = built.root / "deploy" / built.plan.jobs[0].name
    options = (*PROMPT, "--max-tokens", 3, "--verify")
    assert run("run", folder, *options).code == 0
    assert run("validate", folder)[:2] == (0, "1 file checked: nothing found\n")
    weights = folder / "weights.bin"
    content = bytearray(weights.read_bytes())
    content[4000] ^= 1
    weights.write_bytes(content)
    code, text, errors = run("run", folder, *options)
    assert (code, text) == (2, "")
    assert f"{weights} was changed: its sha256" in errors
    code, text, _ = run("validate", folder)
    assert code == 1
    assert f"{weights}:1:1: error VG940: weights.bin was changed" in text
    (folder / "manifest.json").unlink()
    code, _, errors = run("run", folder, *options)
    assert code == 2
    assert f"{folder / 'manifest.json'} is missing" in errors


def test_logits_that_are_not_finite_are_refused(built, run):
    """Here a norm's first weight, 1.0 in fp32, became NaN by a flip of all bits of its exponent."""
    folder = built.root / "deploy" / built.plan.jobs[0].name
    weights = folder / "weights.bin"
    content = weights.read_bytes()
    layout = plan_export(open_checkpoint(FALCON_TINY), "fp16").layout
    offset = layout.tensors["transformer.ln_f.weight"].offset_bytes
    weights.write_bytes(content[:offset] + b"\xff\xff\xff\x7f" + content[offset + 4 :])
    code, text, errors = run("run", folder, *PROMPT)
    assert (code, text) == (1, "")
    assert "8 tokens of prompt: 2048 of 2048 logits are NaN or infinite" in errors


def test_what_a_model_answers_is_shown_and_not_obeyed(built_once, run, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(built_once.root / "deploy" / built_once.plan.jobs[0].name, folder)
    (folder / "manifest.json").unlink()
    tokens = {f"\x1b]0;{token}\x07\r\n\u202e世": token for token in range(2048)}
    model = {"type": "WordLevel", "vocab": tokens, "unk_token": next(iter(tokens))}
    (folder / "tokenizer.json").write_text(json.dumps({"version": "1.0", "model": model}))
    code, text, _ = run("run", folder, "--prompt", "a", "--max-tokens", 3)
    assert code == 0
    assert re.fullmatch(r"( ?\\x1b\]0;\d+\\x07\\r\n\\u202e世){3}\n", text)


def test_a_pipe_that_nobody_reads_ends_it_as_in_other_programs(built_once):
    reader, writer = os.pipe()
    os.close(reader)
    command = (*VACC_GEN, "run", str(built_once.root), *PROMPT)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")
