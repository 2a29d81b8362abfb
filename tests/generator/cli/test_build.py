"""`vacc-gen build` as people see it: on a terminal, in a log, and when it fails."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pexpect
import pytest

from tests.processes import VACC_GEN
from vacc_gen.generator.progress import size_text, time_text
from vacc_gen.generator.workspace.workspace import Workspace

COLUMNS = 80


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": str(COLUMNS)},
    )


def build(workspace: Workspace, *options: str) -> subprocess.CompletedProcess[str]:
    return run(*VACC_GEN, "build", str(workspace.root), "--backend", "onnxruntime", *options)


def test_in_a_log_it_is_plain_lines_a_table_and_a_command_that_works(built: Workspace) -> None:
    ended = build(built)
    assert ended.returncode == 0, ended.stderr
    assert "\x1b" not in ended.stdout + ended.stderr
    lines = ended.stderr.splitlines()
    assert len(lines) == 12, ended.stderr  # one a stage, and not a word from any library
    assert re.match(r"export fp16: reused in .*, [0-9.]+ MB written$", lines[3])
    assert "export int8: skipped, quantize reads the checkpoint" in lines
    out = ended.stdout
    assert all(len(line) <= COLUMNS or str(built.root) in line for line in out.splitlines())
    for expected in (
        "peak memory", "torch in fp32 (0.05 allowed)", "32 greedy tokens equal", "parity int8",
        "on 9 windows of 128 tokens", "report.html, report.json",
    ):  # fmt: skip
        assert expected in " ".join(out.split())
    (command,) = [line.strip() for line in out.splitlines() if "run" in line and "int8" in line]
    ended = run(*VACC_GEN, *shlex.split(command)[1:])
    assert ended.returncode == 0, ended.stderr
    assert len(ended.stdout.split()) > 5


@pytest.mark.parametrize("no_color", [False, True])
def test_on_a_terminal_the_table_grows(built: Workspace, no_color: bool) -> None:
    environment = {**os.environ, "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    if no_color:
        environment["NO_COLOR"] = "1"
    arguments = ["build", str(built.root), "--backend", "onnxruntime", "--until", "compile"]
    child = pexpect.spawn(
        VACC_GEN[0], [*VACC_GEN[1:], *arguments], env=environment, dimensions=(24, COLUMNS),
        encoding="utf-8", timeout=60,
    )  # fmt: skip
    child.expect(pexpect.EOF)
    child.close()
    shown = child.before or ""
    assert child.exitstatus == 0, shown
    assert "\x1b[?25l" in shown  # the cursor hides while the table moves,
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")  # and is given back
    colored = re.search(r"\x1b\[[0-9;]*3[0-9][0-9;]*m", shown) is not None
    assert colored is not no_color
    assert "compile" in shown[shown.rindex("\x1b[?25h") :]


def test_a_failed_stage_exits_one_and_shows_what_was_done(built: Workspace) -> None:
    recipe = built.root / "vacc.yaml"
    recipe.write_text(recipe.read_text().replace('"fp16": 0.05', '"fp16": 0.0001'))
    ended = build(built, "--precision", "fp16")
    assert ended.returncode == 1
    assert ended.stdout == ""
    lines = ended.stderr.splitlines()
    assert lines[-3].startswith("verify fp16: failed")
    assert lines[-1].startswith("error: verify of falcon-tiny-fp16-tp1-64-128 failed: prefill ")
    assert "0.0001 is allowed" in lines[-1]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--until", "nonsense"], "nonsense"),
        (["--backend", "nonsense"], "nonsense"),
        (["--precision", "fp4"], "--precision: no precision 'fp4'"),
        (["--precision", "kv8"], "the recipe has no kv8 job"),
    ],
)
def test_impossible_options_exit_two(
    built_once: Workspace, options: list[str], complaint: str
) -> None:
    ended = build(built_once, *options)
    assert ended.returncode == 2
    assert complaint in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_folder_that_is_not_a_workspace(tmp_path: Path) -> None:
    ended = run(*VACC_GEN, "build", str(tmp_path))
    assert ended.returncode == 2
    assert "vacc.yaml" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("count_bytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (5_104_416, "5.1 MB"), (99_960_000, "100 MB"),
     (999_600_000, "1.0 GB"), (13_840_000_000, "13.8 GB"), (1 << 30, "1.1 GB"),
     (1 << 60, "1152922 TB")],
)  # fmt: skip
def test_sizes(count_bytes: float, text: str) -> None:
    assert size_text(count_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"),
     (7800, "2 h 10 min")],
)  # fmt: skip
def test_times(seconds: float, text: str) -> None:
    assert time_text(seconds) == text
