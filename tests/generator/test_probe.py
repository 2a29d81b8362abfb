"""Asking another interpreter: what it answers, and what it dies of."""

import json
import subprocess
import sys

import pytest

from tests.processes import make_program
from vacc_gen.generator import probe
from vacc_gen.generator.probe import run_check


def test_an_interpreter_reports_its_version_and_packages():
    answer = run_check(sys.executable, "versions")
    assert answer.failure is None
    assert answer.values["python"] == sys.version.split()[0].rstrip("+")
    assert answer.values["packages"]["pytest"] == pytest.__version__
    assert "typing-extensions" in answer.values["packages"]


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        ("kill -SEGV $$", "was killed by SIGSEGV"),
        ("echo some words >&2; exit 3", "some words"),
        ("exit 3", "exited 3"),
        ("echo no json", "exited 0 without an answer"),
        ("", "exited 0 without an answer"),
        ("exec sleep 60", "did not end within 0 s"),
    ],
)
def test_whatever_an_interpreter_dies_of_is_a_finding(tmp_path, text, failure):
    timeout_s = 0.2 if "sleep" in text else 30
    python = make_program(tmp_path / "python", f"#!/bin/sh\n{text}\n")
    assert run_check(python, "session", timeout_s).failure == failure


def test_the_probe_needs_nothing_but_the_standard_library():
    code = (
        "import json, runpy, sys; before = set(sys.modules);"
        f"runpy.run_path({probe.__file__!r});"
        "print(json.dumps(sorted({m.split('.')[0] for m in set(sys.modules) - before})))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, check=True)
    assert set(json.loads(done.stdout)) <= set(sys.stdlib_module_names)
