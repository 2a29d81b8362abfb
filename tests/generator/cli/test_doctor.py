"""`vacc-gen doctor` as people and programs see it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workspaces import make_workspace
from vacc_gen.generator.workspace.workspace import Workspace

DOCTOR = (sys.executable, "-m", "vacc_gen.generator.cli.main", "doctor")
HEAVY = ("torch", "transformers", "onnx", "onnxruntime", "numpy", "tokenizers", "uv")
BLOCKED = """
import sys
sys.modules.update(dict.fromkeys({heavy!r}))
sys.argv = ["vacc-gen", "doctor", *{words!r}]
from vacc_gen.generator.cli.main import main
main()
"""


def doctor(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*DOCTOR, *words], capture_output=True, text=True, check=False, cwd=cwd)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("doctor") / "w")


def test_a_workspace_that_builds_here_has_no_problem(workspace):
    done = doctor(str(workspace.root), "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["problems"], done.stderr) == (0, 0, "")
    assert (told["version"], told["workspace"]) == (1, str(workspace.root))
    assert {"section", "name", "state", "message", "hint"} == set(told["checks"][0])
    names = {(check["section"], check["name"]): check["state"] for check in told["checks"]}
    assert names["vacc-gen's environment", "a session of ONNX Runtime"] == "ok"
    assert names["vacc-gen's environment", "torch to numpy and back"] == "ok"
    assert names["machine", "disk"] == names["machine", "memory"] == "ok"


def test_an_interpreter_may_be_named_by_its_environment_its_file_or_as_on_the_path(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    folder, file = tmp_path / "env", tmp_path / "env" / "bin" / "python"
    for word, cwd, meant in (
        (str(folder), tmp_path, file),
        ("env", tmp_path, Path("env/bin/python")),
        ("./python", file.parent, file),
        ("sh", tmp_path, Path(shutil.which("sh"))),
        ("absent", tmp_path, tmp_path / "absent"),
    ):
        told = json.loads(doctor("--python", word, "--json", cwd=cwd).stdout)
        assert told["python"] == str(meant)


def test_an_interpreter_without_the_pins_is_a_problem(workspace):
    done = doctor(str(workspace.root), "--python", sys.executable, "--json")
    told = json.loads(done.stdout)
    assert done.returncode == 1
    torch = next(
        check
        for check in told["checks"]
        if (check["section"], check["name"]) == ("compiler's environment", "torch")
    )
    assert torch["state"] == "problem"
    assert torch["message"].endswith("wanted torch==2.1.0")
    assert told["python"] == sys.executable


def test_the_table_fits_a_terminal_and_ends_with_a_count(tmp_path):
    model = {"preset": "falcon-tiny", "checkpoint": "/path/to/weights"}
    done = doctor(str(make_workspace(tmp_path / "w", model=model).root))
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "1 problem"
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_without_a_workspace_it_is_the_machine_alone(tmp_path):
    done = doctor("--json", cwd=tmp_path)
    told = json.loads(done.stdout)
    assert told["workspace"] is None
    assert {check["section"] for check in told["checks"]} == {
        "compiler's environment",
        "vacc-gen's environment",
        "machine",
    }


def test_a_folder_that_was_named_must_be_a_workspace(tmp_path):
    done = doctor(str(tmp_path))
    assert done.returncode == 2
    assert "no vacc.yaml" in done.stderr


def test_it_needs_none_of_the_extras_itself(workspace):
    code = BLOCKED.format(heavy=HEAVY, words=[str(workspace.root), "--json"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["problems"] == 0
