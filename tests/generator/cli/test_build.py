"""`vacc-gen build` as people see it: on a terminal, in a log, and when it fails."""

import re
import shlex

from tests.terminals import Terminal
from vacc_gen.generator.progress import size_text, time_text

EMBEDDED = ("--backend", "onnxruntime")


def test_in_a_log_it_is_plain_lines_and_a_command_that_works(built, run):
    code, out, err = run("build", built.root, *EMBEDDED)
    assert code == 0, err
    assert "\x1b" not in out + err
    lines = err.splitlines()
    assert len(lines) == 12, err  # one a stage, and not a word from any library
    assert re.match(r"export fp16: reused in [0-9.]+ s$", lines[3])
    assert "export int8: skipped, quantize reads the checkpoint" in lines
    assert all(len(line) <= 80 or str(built.root) in line for line in out.splitlines())
    for expected in (
        "torch in fp32 (0.05 allowed)", "32 greedy tokens equal", "parity int8",
        "on 9 windows of 128 tokens", "report.html, report.json",
    ):  # fmt: skip
        assert expected in out
    (command,) = [line.strip() for line in out.splitlines() if "run" in line and "int8" in line]
    code, out, err = run(*shlex.split(command)[1:])
    assert code == 0, err
    assert len(out.split()) > 5


def test_on_a_terminal_the_stage_that_runs_is_seen(built):
    options = (*EMBEDDED, "--until", "export", "--force")
    terminal = Terminal(built.root, "build", *options)
    assert terminal.exit_code() == 0, terminal.printed
    shown = terminal.received
    assert "\x1b[?25l" in shown  # the cursor hides while the bar moves,
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")  # and is given back
    assert re.search(r"\x1b\[[0-9;]*3[0-9][0-9;]*m", shown)  # it has colours
    assert re.search(r"\d:\d\d:\d\d", terminal.printed)
    assert re.search(r"export fp16: done in .*MB written", terminal.screen)
    assert not re.search(r"\d:\d\d:\d\d", terminal.screen)  # the bar is gone


def test_a_failed_stage_exits_one_and_shows_what_was_done(built, run):
    recipe = built.root / "vacc.yaml"
    recipe.write_text(recipe.read_text().replace('"fp16": 0.05', '"fp16": 0.0001'))
    code, out, err = run("build", built.root, *EMBEDDED, "--precision", "fp16")
    assert (code, out) == (1, "")
    lines = err.splitlines()
    assert lines[-3].startswith("verify fp16: failed")
    assert lines[-1].startswith("error: verify of falcon-tiny-fp16-tp1-64-128 failed: prefill ")
    assert "0.0001 is allowed" in lines[-1]


def test_impossible_options_exit_two_and_keep_the_report(built_once, run):
    before = (built_once.root / "report.json").read_bytes()
    code, _, err = run("build", built_once.root, "--precision", "kv8")
    assert (code, "the recipe has no kv8 job" in err) == (2, True)
    assert run("build", built_once.root, "--jobs", "2", "--cluster", "x").code == 2
    assert (built_once.root / "report.json").read_bytes() == before


def test_sizes_and_times():
    sizes = [size_text(count) for count in (0, 999, 1000, 99_960_000, 999_600_000, 1 << 60)]
    assert sizes == ["0 B", "999 B", "1.0 kB", "100 MB", "1.0 GB", "1152922 TB"]
    times = [time_text(seconds) for seconds in (0.04, 59.96, 185)]
    assert times == ["0.0 s", "1 min 00 s", "3 min 05 s"]
