"""What a workspace lacks."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.workspaces import FALCON_TINY, make_workspace
from vacc_gen.generator.doctor.check import Check, State
from vacc_gen.generator.doctor.material import material
from vacc_gen.generator.workspace.workspace import Workspace, load_workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "w")


def checks(workspace: Workspace, with_vamc: bool = False) -> dict[str, Check]:
    return {check.name: check for check in material(workspace, with_vamc)}


def states(workspace: Workspace, with_vamc: bool = False) -> dict[str, State]:
    return {name: check.state for name, check in checks(workspace, with_vamc).items()}


def test_a_whole_workspace_lacks_nothing(workspace):
    assert states(workspace) == dict.fromkeys(("files", "lock", "checkpoint"), State.OK)


def test_a_recipe_that_changed_and_a_hand_edit_are_told_apart(workspace):
    config = next(workspace.root.glob("build/*.yaml"))
    config.write_text(config.read_text() + "# mine\n")
    assert checks(workspace)["files"].state is State.WARNING
    assert f"edited by hand: build/{config.name}" in checks(workspace)["files"].message
    config.unlink()
    assert checks(workspace)["files"].state is State.PROBLEM
    assert checks(workspace)["files"].hint == f"vacc-gen generate {workspace.root}"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("requirements.lock", "numpy==2.0\n", "requirements.lock was changed since it was made"),
        ("requirements.lock", None, "requirements.lock: No such file or directory"),
        ("environment.json", "{", "environment.json is not as vacc-gen writes it"),
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


def test_pins_without_a_lock_are_a_problem(tmp_path):
    made = make_workspace(tmp_path / "w", environment={"pins": ["tiktoken"]})
    assert checks(made)["lock"].state is State.PROBLEM
    assert checks(made)["lock"].message == "none for these pins: it lacks tiktoken"


def test_pins_that_no_lock_can_hold_are_no_fault_of_the_workspace(tmp_path):
    made = make_workspace(
        tmp_path / "w", environment={"preset": "qwen3_gptq-py310", "python": "3.10"}
    )
    check = checks(made)["lock"]
    assert check.state is State.WARNING
    assert "gptqmodel==4.0.0 cannot be locked" in check.message
    assert check.hint == "leave it out of the pins, and install it by hand beside them"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), "config.json"),
        (lambda folder: next(folder.glob("*.safetensors")).unlink(), "safetensors"),
    ],
)
def test_a_damaged_checkpoint_is_a_problem(tmp_path, damage, message):
    weights = tmp_path / "weights"
    shutil.copytree(FALCON_TINY, weights)
    model = {"preset": "falcon-tiny", "checkpoint": str(weights)}
    made = make_workspace(tmp_path / "w", model=model)
    damage(weights)
    check = checks(load_workspace(made.root))["checkpoint"]
    assert check.state is State.PROBLEM
    assert message in check.message


def test_weights_without_tokenizer_and_without_code_for_the_compiler(tmp_path):
    weights = tmp_path / "weights"
    shutil.copytree(FALCON_TINY, weights)
    (weights / "tokenizer.json").unlink()
    model = {"preset": "falcon-tiny", "checkpoint": str(weights)}
    made = make_workspace(tmp_path / "w", model=model)
    assert states(made)["tokenizer"] is State.PROBLEM
    assert "code beside the weights" not in states(made)
    code = checks(made, with_vamc=True)["code beside the weights"]
    assert "modeling_falcon_vacc.py" in code.message
    assert code.hint == f"{made.root}/scripts/prepare.sh"


def test_a_checkpoint_still_to_be_filled_in(tmp_path):
    model = {"preset": "falcon-tiny", "checkpoint": "/path/to/falcon-tiny"}
    made = make_workspace(tmp_path / "w", model=model)
    assert checks(made)["checkpoint"].message == "still to be filled in: /path/to/falcon-tiny"
    assert states(made)["checkpoint"] is State.PROBLEM


def test_calibration_texts_are_looked_for(tmp_path):
    texts = tmp_path / "texts.txt"
    texts.write_text("A long way to go. " * 2000)
    calibration = {"set": "mine", "path": str(texts), "samples": 2, "seqlen": 32}
    made = make_workspace(tmp_path / "w", calibration=calibration)
    assert states(made)["calibration"] is State.OK
    texts.unlink()
    assert states(made)["calibration"] is State.PROBLEM
    placeholder = {**calibration, "path": "/path/to/texts.txt"}
    other = make_workspace(tmp_path / "v", calibration=placeholder)
    assert states(other)["calibration"] is State.WARNING
