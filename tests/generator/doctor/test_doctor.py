"""What a workspace lacks."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.workspaces import FALCON_TINY, make_workspace
from vacc_gen.generator.doctor.doctor import workspace_checks
from vacc_gen.generator.doctor.machine import Check, State
from vacc_gen.generator.workspace import Workspace, load_workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace on weights of its own, which a test may damage."""
    weights = tmp_path / "weights"
    shutil.copytree(FALCON_TINY, weights)
    model = {"preset": "falcon-tiny", "checkpoint": str(weights)}
    return make_workspace(tmp_path / "w", model=model)


def checks(workspace: Workspace, with_vamc: bool = False) -> dict[str, Check]:
    return {check.name: check for check in workspace_checks(workspace, with_vamc)}


def test_a_whole_workspace_lacks_nothing(workspace):
    states = {name: check.state for name, check in checks(workspace).items()}
    assert states == dict.fromkeys(("files", "lock", "checkpoint"), State.OK)


def test_a_recipe_that_changed_and_a_hand_edit_are_told_apart(workspace):
    config = next(workspace.root.glob("build/*.yaml"))
    config.write_text(config.read_text() + "# mine\n")
    check = checks(workspace)["files"]
    edited = f"build/{config.name} was edited by hand"
    assert (check.state, check.message) == (State.WARNING, edited)
    config.unlink()
    check = checks(workspace)["files"]
    assert check.state is State.PROBLEM
    assert f"build/{config.name} (missing)" in check.message
    assert "vacc-gen generate" in check.hint


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("requirements.lock", "numpy==2.0\n", "requirements.lock was changed since it was made"),
        ("requirements.lock", None, "requirements.lock: No such file or directory"),
        ("environment.json", "{", "environment.json is not as vacc-gen writes it"),
        ("environment.json", '{"lock": []}', "environment.json is not as vacc-gen writes it"),
    ],
)
def test_a_lock_that_is_not_as_it_was_made_is_a_problem(workspace, name, text, message):
    file = workspace.root / "env" / name
    file.unlink()
    if text is not None:
        file.write_text(text)
    check = checks(load_workspace(workspace.root))["lock"]
    assert check.state is State.PROBLEM
    assert check.message.endswith(message)
    assert check.hint == f"vacc-gen lock {workspace.root}"


SOURCE_ONLY = {"preset": "qwen3_gptq-py310"}  # no fault of the workspace


@pytest.mark.parametrize(
    ("environment", "state", "message", "hint"),
    [
        ({"pins": ["tiktoken"]}, State.PROBLEM, "none for these pins: it lacks tiktoken", "vacc-"),
        (SOURCE_ONLY, State.WARNING, "gptqmodel==4.0.0 cannot be locked", "leave it out"),
    ],
)
def test_pins_without_a_lock(tmp_path, environment, state, message, hint):
    check = checks(make_workspace(tmp_path / "w", environment=environment))["lock"]
    assert check.state is state
    assert check.message.startswith(message)
    assert check.hint.startswith(hint)


def test_weights_without_tokenizer_and_without_code_for_the_compiler(workspace):
    (workspace.checkpoint_path / "tokenizer.json").unlink()
    check = checks(workspace)["checkpoint"]
    assert (check.state, check.message.split()[0]) == (State.PROBLEM, "VG930")
    assert "code beside the weights" not in checks(workspace)
    code = checks(workspace, with_vamc=True)["code beside the weights"]
    assert "modeling_falcon_vacc.py" in code.message
    assert code.hint == f"{workspace.root}/scripts/prepare.sh"


def test_a_checkpoint_still_to_be_filled_in(tmp_path):
    model = {"preset": "falcon-tiny", "checkpoint": "/path/to/falcon-tiny"}
    check = checks(make_workspace(tmp_path / "w", model=model))["checkpoint"]
    assert check.state is State.PROBLEM
    assert check.message == "model.checkpoint is still to be filled in: /path/to/falcon-tiny"


@pytest.mark.parametrize(
    ("path", "state"),
    [
        ("../texts.txt", State.OK),
        ("absent.txt", State.PROBLEM),
        ("/path/to/texts.txt", State.WARNING),
    ],
)
def test_calibration_texts_are_looked_for(tmp_path, path, state):
    (tmp_path / "texts.txt").write_text("A long way to go. " * 2000)
    calibration = {"set": "mine", "path": path, "samples": 2, "seqlen": 32}
    made = make_workspace(tmp_path / "w", calibration=calibration)
    assert checks(made)["calibration"].state is state
