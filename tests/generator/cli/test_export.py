"""`vacc-gen export` and `vacc-gen run`, as a user calls them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime")

FALCON_TINY = Path(__file__).parents[2] / "data" / "falcon-tiny"
PROMPT = "In the beginning God created"


def vacc_gen(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "vacc_gen.generator.cli.main", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A folder as `build` leaves it, by two exports."""
    folder = tmp_path_factory.mktemp("workspace")
    for dtype in ("fp16", "int8"):
        done = vacc_gen(
            *("export", FALCON_TINY, "--out", folder / "deploy" / f"hf_falcon_{dtype}"),
            *("--dtype", dtype, "--prefill", 32, "--total", 64),
        )
        assert done.returncode == 0, done.stderr
    return folder


def test_export_names_what_it_wrote(tmp_path):
    done = vacc_gen("export", FALCON_TINY, "--out", tmp_path / "out", "--dtype", "int8")
    assert (done.returncode, done.stderr) == (0, "")
    graph, weights = done.stdout.splitlines()
    assert graph.startswith(str(tmp_path / "out" / "model.onnx"))
    assert weights == f"{tmp_path / 'out' / 'weights.bin'}  2.9 MB"


def test_run_streams_text_to_stdout_and_figures_to_stderr(workspace):
    texts = set()
    for precision in ("fp16", "int8"):
        done = vacc_gen(
            "run", workspace, "--prompt", PROMPT, "--max-tokens", 12, "--precision", precision
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr.startswith(f"hf_falcon_{precision}: ")
        assert "12 of answer" in done.stderr
        texts.add(done.stdout)
    (text,) = texts
    assert text.startswith(" ")
    assert len(text.split()) > 3, "trained on this text, it goes on in words"


def test_run_takes_one_compiled_folder_too(workspace):
    arguments = ("--prompt", PROMPT, "--max-tokens", 4)
    direct = vacc_gen("run", workspace / "deploy" / "hf_falcon_fp16", *arguments)
    assert direct.returncode == 0
    assert direct.stdout == vacc_gen("run", workspace, *arguments).stdout


def test_an_answer_fills_what_is_left_by_default(workspace):
    done = vacc_gen("run", workspace, "--prompt", PROMPT)
    assert done.returncode == 0
    prompt_tokens = int(done.stderr.split(": ")[1].split()[0])
    assert f"{64 - prompt_tokens} of answer" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("run", "{workspace}", "--prompt", ""), 2, "the prompt has 0 tokens"),
        (("run", "{workspace}", "--prompt", "word " * 90), 2, "this model takes 1 to 32"),
        (("run", "{workspace}", "--prompt", "a", "--precision", "kv8"), 2, "holds no kv8 model"),
        (("run", "{tmp}", "--prompt", "a"), 2, "holds no compiled model"),
        (("export", "{tmp}", "--out", "{tmp}/out"), 1, "has no config.json"),
        (("export", "{tmp}/none", "--out", "{tmp}/out"), 1, "is not a folder"),
        (("export", str(FALCON_TINY), "--out", "{tmp}/out", "--total", "64"), 2, "go together"),
        (
            ("export", str(FALCON_TINY), "--out", "{tmp}/out", "--prefill", "8", "--total", "16"),
            2,
            "prefill length 8 is not a positive multiple of 16",
        ),
        (("export", str(FALCON_TINY), "--out", "{workspace}"), 2, "is not empty"),
        (("export", str(FALCON_TINY), "--out", "{tmp}/out", "--dtype", "int4"), 2, "int4"),
    ],
)
def test_refusals(workspace, tmp_path, arguments, code, words):
    done = vacc_gen(*(part.format(workspace=workspace, tmp=tmp_path) for part in arguments))
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_tokenizer(workspace, tmp_path):
    folder = Path(shutil.copytree(workspace / "deploy" / "hf_falcon_int8", tmp_path / "copy"))
    (folder / "tokenizer.json").unlink()
    done = vacc_gen("run", folder, "--prompt", "a")
    assert (done.returncode, done.stdout) == (2, "")
    assert "has no tokenizer.json" in done.stderr


def test_characters_of_several_tokens_come_whole():
    """A byte-level tokenizer splits what it has not seen; no half character is shown."""
    from tokenizers import Tokenizer

    from vacc_gen.generator.cli.run import streamed_text

    tokenizer = Tokenizer.from_file(str(FALCON_TINY / "tokenizer.json"))
    text = " the Lord 世界 — é🙂 said"
    pieces = list(streamed_text(tokenizer, tokenizer.encode(text).ids))
    assert "".join(pieces) == text
    assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)
    assert len(pieces) > 4


@pytest.mark.parametrize("content", ["{", "[1]", None])
def test_a_config_that_cannot_be_read_is_the_same_to_new_and_export(tmp_path, content):
    config = tmp_path / "weights" / "config.json"
    config.parent.mkdir()
    config.mkdir() if content is None else config.write_text(content)
    makes, exports = (
        vacc_gen("new", "--checkpoint", config.parent, "--out", tmp_path / "w"),
        vacc_gen("export", config.parent, "--out", tmp_path / "out"),
    )
    assert makes.returncode == exports.returncode == 2
    for done in (makes, exports):
        assert "config.json" in done.stderr
        assert "Traceback" not in done.stderr
