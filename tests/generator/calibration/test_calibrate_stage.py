"""The calibrate stage in a build: when it runs, what it leaves, and what it refuses."""

import json

import pytest

from tests.workspaces import Recorder, make_workspace
from vacc_gen.generator.backends.base import Stage
from vacc_gen.generator.backends.onnxruntime.backend import OnnxRuntimeBackend
from vacc_gen.generator.build.report import Status
from vacc_gen.generator.build.runner import BuildOptions, run_build
from vacc_gen.generator.workspace.workspace import load_workspace
from vacc_gen.schema.errors import VaccGenError

OWN = {"set": "own", "path": "own.txt", "samples": 4, "seqlen": 32}


def calibrated(root, calibration, text="In the beginning God created the heaven. " * 40):
    workspace = make_workspace(root, precisions=["int8"], calibration=calibration)
    (root / "own.txt").write_text(text)
    return build(workspace)


def build(workspace):
    recorder = Recorder()
    try:
        run_build(workspace, OnnxRuntimeBackend(), BuildOptions(until=Stage.CALIBRATE), recorder)
    except VaccGenError as error:
        recorder.say(error.message)
    return recorder


def test_a_build_leaves_windows_and_draws_them_once(tmp_path):
    root = tmp_path / "workspace"
    assert calibrated(root, OWN).statuses(Stage.CALIBRATE) == [Status.DONE]
    manifest = json.loads((root / "calibration/own.json").read_text())
    assert manifest["tokens"] == 128
    report = json.loads((root / "report.json").read_text())
    (stage,) = [one for one in report["stages"] if one["name"] == "calibrate"]
    assert (stage["windows"], stage["seqlen"]) == (4, 32)
    assert build(load_workspace(root)).statuses(Stage.CALIBRATE) == [Status.REUSED]
    (root / "own.txt").write_text("And the earth was without form, and void. " * 40)
    assert build(load_workspace(root)).statuses(Stage.CALIBRATE) == [Status.DONE]
    assert json.loads((root / "calibration/own.json").read_text())["sha256"] != manifest["sha256"]


@pytest.mark.parametrize(
    ("calibration", "reason"),
    [
        (None, "the recipe names no calibration set"),
        ({**OWN, "path": "/path/to/own.txt"}, "calibration.path is still to be filled in"),
    ],
)
def test_without_texts_int8_is_rounded_to_nearest(tmp_path, calibration, reason):
    recorder = calibrated(tmp_path / "workspace", calibration)
    (record,) = [one for one in recorder.records if one.stage is Stage.CALIBRATE]
    assert record.status is Status.SKIPPED
    assert record.reason.startswith(reason)


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        ({**OWN, "samples": 4000}, "own cannot fill 4000 windows of 32 tokens"),
        ({**OWN, "path": "other.txt"}, "the calibration set own is not there"),
        ({**OWN, "set": "c4"}, "own.txt is plain text, but c4 is published as JSON lines"),
    ],
)
def test_what_cannot_be_calibrated_ends_before_anything_else_runs(tmp_path, calibration, message):
    recorder = calibrated(tmp_path / "workspace", calibration)
    assert [one.stage for one in recorder.records if one.status is Status.FAILED] == [
        Stage.PREFLIGHT
    ]
    assert any(message in line for line in recorder.said)
    assert not (tmp_path / "workspace/calibration").exists()
