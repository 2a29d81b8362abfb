"""`vacc-gen doctor` as people and programs see it."""

import functools
import json
import sys
from pathlib import Path

import pytest

from tests.workspaces import make_workspace
from vacc_gen.generator import doctor
from vacc_gen.generator.probe import run_check

HEAVY = ("torch", "transformers", "onnx", "onnxruntime", "numpy", "tokenizers", "uv")


check_once = functools.cache(run_check)


@pytest.fixture(autouse=True)
def checks_run_once(monkeypatch):
    """Each imports torch in a process of its own."""
    monkeypatch.setattr(doctor, "run_check", check_once)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return str(make_workspace(tmp_path_factory.mktemp("doctor") / "w").root)


def test_a_workspace_that_builds_here_has_no_problem_and_no_extra_is_loaded(root, run, monkeypatch):
    for package in HEAVY:
        monkeypatch.setitem(sys.modules, package, None)
    code, out, err = run("doctor", root, "--json")
    printed = json.loads(out)
    assert (code, printed["problems"], err) == (0, 0, "")
    assert (printed["version"], printed["workspace"]) == (1, root)
    assert {"section", "name", "state", "message", "hint"} == set(printed["checks"][0])
    states = {(check["section"], check["name"]): check["state"] for check in printed["checks"]}
    assert states["vacc-gen's environment", "a session of ONNX Runtime"] == "ok"
    assert states["vacc-gen's environment", "torch to numpy and back"] == "ok"
    assert states["vacc-gen's environment", "packages"] == "ok"
    assert states["machine", "disk"] == states["machine", "memory"] == "ok"
    assert states["compiler's environment", "interpreter"] == "unknown"


def test_the_table_fits_a_terminal_and_ends_with_a_count(root, run):
    code, out, _ = run("doctor", root, "--python", "/absent/python")
    assert (code, out.splitlines()[-1]) == (1, "1 problem")
    words = " ".join(out.split())
    assert "/absent/python cannot be run: No such file or directory hint: name the" in words
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 80


def test_without_a_workspace_it_is_the_machine_alone(run):
    _, out, _ = run("doctor")
    assert out.splitlines()[-1] == "No problems found"
    assert "vacc-gen's environment" in out
    assert "workspace" not in out
    code, _, err = run("doctor", Path().absolute())
    assert code == 2, "a folder that was named must be a workspace"
    assert "no vacc.yaml" in err
