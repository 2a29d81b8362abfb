"""What a terminal gets from the process, and how signals end it; all in real processes."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.processes import (
    VACC_GEN,
    eventually,
    is_group_gone,
    living_with,
    start,
    wait_for_line,
)
from tests.workspaces import make_prepared_workspace
from vacc_gen.schema.errors import visible

HOSTILE = "a\x1b]0;title\x07\x9b31m\u202e\u2028[red]\r"
SHOWN = r"a\x1b]0;title\x07\x9b31m\u202e\u2028[red]\r"


@given(st.text())
def test_visible_text_has_no_controls_and_what_is_plain_stays(text):
    shown = visible(text)
    assert not any(
        (ord(mark) < 32 and mark not in "\n\t") or 127 <= ord(mark) < 160 for mark in shown
    )
    assert visible(shown) == shown
    assert "\u202e" not in shown and "\u2028" not in shown
    shown.encode()


@pytest.mark.parametrize("text", ["世界\u3000é🙂\n\tب", "👩\u200d👧 \xa0"])
def test_text_of_any_language_stays(text):
    assert visible(text) == text


def test_what_a_checkpoint_says_is_shown_and_not_obeyed(tmp_path, run):
    (tmp_path / "w").mkdir()
    config = {"model_type": HOSTILE + "\n::error::forged"}
    (tmp_path / "w" / "config.json").write_text(json.dumps(config))
    done = run("new", "--checkpoint", tmp_path / "w", "--out", tmp_path / "o")
    assert done.code == 1
    assert f"{SHOWN}\\n::error::forged" in done.err
    assert not set(run("no verb \x1b").err) & {"\x1b", "\x07", "\x9b"}
    assert [line.split(":")[0] for line in done.err.splitlines()] == ["error", "hint"]


def interrupted(process, number):
    """Send a signal; return what is left of stderr, and the seconds that the end took."""
    began = time.monotonic()
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    return said, time.monotonic() - began


def assert_ended(process, number, said, seconds):
    assert process.returncode == 128 + number
    assert "Traceback" not in said
    command = shlex.join(["vacc-gen", *process.args[len(VACC_GEN) :]])
    assert said.endswith(f"interrupted; run `{command}` again to go on\n")
    assert seconds < 2.5, "about one, on a machine that others use"


NATIVE = """
import sys, numpy
from vacc_gen.generator.cli import app, main
def busy():
    print("busy", file=sys.stderr, flush=True)
    ones = numpy.ones(1 << 26)
    while True:
        numpy.sort(ones[::-1].copy())
app.app = lambda **_: busy()
sys.argv = ["vacc-gen", "busy"]
main.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_native_code_does_not_keep_a_signal_waiting(number):
    process = start(sys.executable, "-c", NATIVE, stderr=subprocess.PIPE)
    wait_for_line(process, "busy")
    said, seconds = interrupted(process, number)
    assert said == "interrupted; run `vacc-gen busy` again to go on\n"
    assert process.returncode == 128 + number and seconds < 2.5


DEAF = "trap '' INT TERM HUP"
VAMC = {
    "polite": "trap 'touch told; exit 1' INT; echo ready; sleep 60 & wait",
    "deaf": f"{DEAF}; ({DEAF}; sleep 60) & echo ready; while :; do sleep 1; done",
    "floods": f"{DEAF}; echo ready; while :; do printf '%065536d' 1; done",
    "leaves its session": f"{DEAF}; setsid setsid sleep 60 & echo ready; wait",
}


@pytest.mark.parametrize(("kind", "signals"), [*((kind, 1) for kind in VAMC), ("deaf", 2)])
def test_a_compiler_ends_with_us(tmp_path, install_vamc, kind, signals):
    workspace = make_prepared_workspace(tmp_path / "w")
    install_vamc(f"echo $$ > {tmp_path}/pid\n{VAMC[kind]}")
    process = start(
        *(*VACC_GEN, "build", str(workspace.root), "--backend", "vamc"),
        stderr=subprocess.PIPE,
        env={**os.environ, "TEST": str(tmp_path)},
    )
    log = workspace.root / ".vacc-gen" / "logs" / f"{workspace.plan.jobs[0].name}.compile.log"
    assert eventually(lambda: log.exists() and b"ready" in log.read_bytes()[:100])
    for _ in range(signals - 1):
        process.send_signal(signal.SIGTERM)
    assert_ended(process, signal.SIGTERM, *interrupted(process, signal.SIGTERM))
    assert is_group_gone(int((tmp_path / "pid").read_text()), 0.5)
    assert (workspace.root / "told").exists() is (kind == "polite")
    assert living_with(f"TEST={tmp_path}") == []
