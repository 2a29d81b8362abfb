"""Asking another interpreter: what it answers, and what it dies of."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vacc_gen.generator.environment.interpreter import PROBE, ask


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_an_interpreter_tells_its_version_and_packages():
    answer = ask(sys.executable, "versions")
    assert answer.failure is None
    assert answer.values["python"] == sys.version.split()[0].rstrip("+")
    assert answer.values["packages"]["pytest"] == pytest.__version__
    assert "typing-extensions" in answer.values["packages"]


@pytest.mark.parametrize("check", ["round-trip", "session", "export"])
def test_this_environment_can_do_what_an_export_needs(check):
    assert ask(sys.executable, check).failure is None


def test_what_an_import_raises_is_told_in_its_own_words():
    failure = ask(sys.executable, "imports", "no-such-package").failure
    assert failure == "ModuleNotFoundError: No module named 'no_such_package'"


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        ("kill -SEGV $$", "was killed by SIGSEGV"),
        ("exit 139", "was killed by SIGSEGV"),
        ("kill -KILL $$", "was killed by SIGKILL"),
        ("echo some words >&2; exit 3", "some words"),
        ("exit 3", "exited 3"),
        ("echo no json", "ended well and answered nothing"),
        ("", "ended well and answered nothing"),
    ],
)
def test_whatever_an_interpreter_dies_of_is_a_finding(tmp_path, text, failure):
    assert ask(program(tmp_path / "python", text), "session").failure == failure


def test_an_interpreter_that_hangs_is_not_waited_for(tmp_path):
    hanging = program(tmp_path / "python", "exec sleep 60")
    assert ask(hanging, "session", timeout_s=0.2).failure == "did not end within 0 s"


def test_what_is_no_program_is_told(tmp_path):
    assert (
        ask(tmp_path / "absent", "versions").failure == "cannot be run: No such file or directory"
    )
    plain = tmp_path / "plain"
    plain.write_text("x")
    assert ask(plain, "versions").failure == "cannot be run: Permission denied"


def test_the_probe_needs_nothing_but_the_standard_library():
    code = (
        "import json, runpy, sys; before = set(sys.modules);"
        f"runpy.run_path({str(PROBE)!r});"
        "print(json.dumps(sorted({m.split('.')[0] for m in set(sys.modules) - before})))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, check=True)
    assert set(json.loads(done.stdout)) <= set(sys.stdlib_module_names)
