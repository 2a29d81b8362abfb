"""What every verb makes of arguments, streams and folders that cannot be used."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TINY = Path(__file__).parents[2] / "data" / "falcon-tiny"


def run(arguments: list[str | bytes], cwd: Path, shell: str = "") -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "vacc_gen.generator.cli.main", *arguments]
    if shell:
        command = ["bash", "-c", f'"$@" {shell}', "bash", *command]
    return subprocess.run(command, cwd=cwd, capture_output=True, check=False)


def refused(done: subprocess.CompletedProcess, *codes: int) -> str:
    words = done.stderr.decode(errors="replace")
    assert done.returncode in (codes or (2,)), words
    assert "Traceback" not in words
    assert "error: " in words
    return words


def test_an_argument_that_is_no_text(tmp_path):
    assert "not valid UTF-8" in refused(
        run(["new", "--model", "falcon-7b", "--out", b"n\xff7"], tmp_path)
    )
    assert "not valid UTF-8" in refused(run(["run", ".", "--prompt", b"x\xff"], tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_name_beyond_all_limits(tmp_path):
    assert "too long" in refused(run(["new", "--model", "falcon-7b", "--out", "a" * 300], tmp_path))


@pytest.mark.parametrize(
    "arguments", [["--help"], ["presets", "list"], ["validate", "--format", "json", "."]]
)
def test_a_full_disk_behind_the_output(tmp_path, arguments):
    (tmp_path / "vacc.yaml").write_text("version: 2\n")
    refused(run(arguments, tmp_path, ">/dev/full"))


def test_closed_streams(tmp_path):
    assert "closed" in refused(run(["validate", "-"], tmp_path, "<&-"))
    assert b"Traceback" not in run(["validate", str(TINY)], tmp_path, ">&-").stderr


def test_here_is_a_folder_like_any_other(tmp_path):
    done = run(["new", "--model", "falcon-7b", "--out", "."], tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "vacc.yaml").is_file()
    assert (tmp_path / "build" / "hf_falcon_fp16.yaml").is_file()
    assert not list(tmp_path.glob("*.partial*")) + list(tmp_path.parent.glob("*.partial*"))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"layer_norm_epsilon": "x"}, "layer_norm_epsilon is 'x', not a positive number"),
        ({"rope_theta": None}, "rope_theta is None, not a positive number"),
        ({"alibi": "no"}, "alibi is 'no', neither true nor false"),
        ({"rope_scaling": [2]}, "rope parameters are [2], not an object"),
        ({"num_hidden_layers": 10**9}, "asks for 1000000000 layers"),
    ],
)
def test_a_config_with_values_of_another_kind(tmp_path, changed, words):
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(TINY, checkpoint)
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**config, **changed}))
    done = run(["export", "checkpoint", "--out", "graphs"], tmp_path)
    assert words in refused(done, 1)
    assert not (tmp_path / "graphs").exists()


def test_a_build_of_the_impossible_keeps_the_report(tmp_path):
    run(["new", "--model", "falcon-tiny", "--checkpoint", str(TINY), "--out", "w"], tmp_path)
    assert run(["build", "w", "--until", "preflight"], tmp_path).returncode == 0
    before = (tmp_path / "w" / "report.json").read_bytes()
    refused(run(["build", "w", "--precision", "kv8"], tmp_path))
    assert (tmp_path / "w" / "report.json").read_bytes() == before


def test_a_report_that_cannot_be_written(tmp_path):
    run(["new", "--model", "falcon-tiny", "--checkpoint", str(TINY), "--out", "w"], tmp_path)
    (tmp_path / "w" / "report.json").mkdir()
    done = run(["build", "w", "--until", "preflight"], tmp_path)
    assert "cannot write the report" in refused(done, 1)
