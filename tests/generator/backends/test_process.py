"""A child process with a log: its output, its end, and ours."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.processes import is_group_gone
from vacc_gen.generator.backends.process import Finished, last_lines, run_logged

MEASURED = """
import json, os, sys
from pathlib import Path
from vacc_gen.generator.backends.process import run_logged
folder = Path(sys.argv[2])
finished = run_logged(
    json.loads(sys.argv[1]), cwd=folder, env=os.environ, log=folder / "log", say=lambda line: None
)
print(finished.peak_rss_bytes)
"""


def run_shell(script: str, log: Path, said: list[str]) -> Finished:
    return run_logged(
        ["bash", "-c", script], cwd=log.parent, env=os.environ, log=log, say=said.append
    )


def test_output_goes_to_the_log_and_its_last_line_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    log = tmp_path / "logs" / "a.log"
    log.parent.mkdir()
    finished = run_shell("echo one; echo two >&2; sleep 0.3; echo three", log, said)
    assert finished.exit_code == 0
    assert log.read_text() == "one\ntwo\nthree\n"
    assert said == ["two", "three"]


def test_exit_code_and_signal_are_told_apart(tmp_path: Path) -> None:
    assert run_shell("exit 7", tmp_path / "log", []).exit_code == 7
    assert run_shell("kill -SEGV $$", tmp_path / "log", []).exit_code == -signal.SIGSEGV


def test_peak_memory_is_the_childs(tmp_path: Path) -> None:
    block = 200 << 20
    command = [sys.executable, "-c", f"b = bytearray({block}); b[::4096] = b'1' * len(b[::4096])"]
    # In a process of its own: a child counts what its parent held when it forked.
    measured = subprocess.run(
        [sys.executable, "-c", MEASURED, json.dumps(command), str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert block < int(measured.stdout) < 2 * block


def test_a_signal_while_the_child_starts_ends_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []

    class Hurried(subprocess.Popen[bytes]):
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, **options)  # type: ignore[call-overload]
            started.append(self.pid)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Hurried)
    with pytest.raises(KeyboardInterrupt):
        run_logged(
            ["sleep", "60"], cwd=tmp_path, env=os.environ, log=tmp_path / "log", say=lambda _: None
        )
    assert is_group_gone(started[0])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_control_codes_and_progress_bars_do_not_reach_the_reader(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"\x1b[31mred\x1b[0m\n10%\r20%\r\n\n  \xff done \n")
    assert last_lines(log, 3) == ["10%", "20%", "\N{REPLACEMENT CHARACTER} done"]


CHILD_OF_OURS = """
import os, signal, sys
from pathlib import Path
from tests.processes import is_group_gone
from vacc_gen.generator.backends.process import run_logged

def terminated(number, frame):
    raise SystemExit(143)

signal.signal(signal.SIGTERM, terminated)
folder = Path(sys.argv[1])
run_logged(["bash", "-c", sys.argv[2]], cwd=folder, env=os.environ, log=folder / "log",
           say=lambda line: print(line, flush=True), grace_seconds=0.5)
"""

POLITE = """
trap 'echo got INT; exit 1' INT; trap 'echo got TERM; exit 1' TERM
echo ready; while :; do sleep 0.05; done
"""
DEAF = "trap '' INT TERM; (trap '' INT TERM; sleep 60) & echo ready; wait; sleep 60"


@pytest.mark.parametrize(
    ("number", "word"), [(signal.SIGINT, "got INT"), (signal.SIGTERM, "got TERM")]
)
def test_our_end_is_passed_on(tmp_path: Path, number: signal.Signals, word: str) -> None:
    end_while_running(tmp_path, POLITE, number)
    assert word in (tmp_path / "log").read_text()


def test_a_child_that_will_not_end_is_killed_with_its_workers(tmp_path: Path) -> None:
    started = time.monotonic()
    end_while_running(tmp_path, DEAF, signal.SIGINT)
    assert time.monotonic() - started < 20


def end_while_running(folder: Path, script: str, number: signal.Signals) -> None:
    """Run `script` from a process of ours, end that, and see that nothing of it is left."""
    ours = subprocess.Popen(
        [sys.executable, "-c", CHILD_OF_OURS, str(folder), f"echo pid $$; {script}"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert ours.stdout is not None
    assert any(line.strip() == "ready" for line in ours.stdout)
    group = int((folder / "log").read_text().split()[1])
    ours.send_signal(number)
    assert ours.wait(30) != 0
    assert is_group_gone(group)
