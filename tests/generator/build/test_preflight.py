"""What preflight refuses, before anything heavy, and how it says so."""

import shutil
from types import SimpleNamespace

import pytest

from tests.weight_folders import edit_json
from tests.workspaces import CALIBRATION, build, make_prepared_workspace, make_workspace, report_of
from vacc_gen.generator.backends.base import Stage
from vacc_gen.generator.backends.onnxruntime.backend import OnnxRuntimeBackend
from vacc_gen.generator.backends.vamc import Vamc
from vacc_gen.schema.errors import CheckpointError, StageError, UnreadableError
from vacc_gen.schema.lint.diagnostics import FindingsError
from vacc_gen.schema.precision import Precision


def check(workspace, *precisions, until=Stage.PREFLIGHT):
    return build(workspace, OnnxRuntimeBackend(), until=until, precisions=precisions)


def refusal(workspace, kind):
    with pytest.raises(kind) as caught:
        check(workspace, until=Stage.REPORT)
    assert [stage["status"] for stage in report_of(workspace)["stages"]] == ["failed", "done"]
    assert not (workspace.root / "deploy").exists()
    assert not (workspace.root / ".vacc-gen" / "work").exists()
    return f"{caught.value.message}\n{caught.value.hint}"


def test_a_checkpoint_that_was_moved(tmp_path):
    """What is wrong with one that is there, `tests/lies.py` has."""
    model = {"preset": "falcon-tiny", "checkpoint": str(tmp_path / "checkpoint")}
    workspace = make_workspace(tmp_path / "workspace", model=model)
    said = refusal(workspace, CheckpointError)
    assert said.startswith(f"the weights are not there: {tmp_path}/checkpoint\n`vacc-gen fetch ")


def test_a_tokenizer_that_cannot_be_loaded(tmp_path):
    workspace = make_prepared_workspace(tmp_path / "workspace")
    edit_json(workspace.checkpoint_path / "tokenizer.json", version="9.0")
    with pytest.raises(UnreadableError, match="is not a tokenizer that works"):
        build(workspace, Vamc())


@pytest.mark.parametrize(
    ("lengths", "words"),
    [
        ((64, 4096), "target.total is 4096 tokens, the model was made for 2048"),
        ((16, 32), "32 decode steps leave no room for a prompt"),
    ],
)
def test_lengths_that_do_not_fit(tmp_path, lengths, words):
    target = {"prefill": lengths[0], "total": lengths[1], "tp": 1}
    assert words in refusal(make_workspace(tmp_path / "workspace", target=target), StageError)


def test_fp16_is_built_first_wherever_it_stands(tmp_path):
    recorder = check(make_workspace(tmp_path / "workspace", precisions=["int8", "fp16"]))
    calibrated = [record.precision for record in recorder.records if record.stage == "calibrate"]
    assert calibrated == [Precision.FP16, Precision.INT8]


def test_a_disk_that_is_too_small(tmp_path, monkeypatch):
    workspace = make_workspace(tmp_path / "workspace")
    free_bytes = 7_000_000  # enough for either precision, not for both
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=free_bytes))
    message = refusal(workspace, StageError)
    assert f"not enough disk space in {workspace.root}: 11.6 MB needed, 7.0 MB free" in message
    check(workspace, Precision.INT8, until=Stage.QUANTIZE)


@pytest.mark.parametrize("precisions", [["int8"], ["fp16", "int4"]])
def test_a_gpu_that_is_not_there(tmp_path, precisions):
    workspace = make_workspace(
        tmp_path / "workspace",
        precisions=precisions,
        calibration={"set": "mine", "path": str(CALIBRATION), "samples": 2, "seqlen": 16},
        quantization={"device": "cuda:7"},
    )
    assert "quantization.device is cuda:7, but PyTorch sees" in refusal(workspace, StageError)


def test_a_hand_edited_file(tmp_path):
    """It is noted and kept, and refused where it has an error; others can still be built."""
    workspace = make_workspace(tmp_path / "workspace")
    edited = workspace.root / "build" / "hf_falcon_int8.yaml"
    edited.write_text(edited.read_text() + "# mine\n")
    note = "build/hf_falcon_int8.yaml was edited by hand"
    assert check(workspace).records[0].details["notes"] == [note]
    edited.write_text(edited.read_text().replace("merge_params", "merge_parms"))
    assert check(workspace, Precision.FP16).records[0].details["notes"] == [note]
    with pytest.raises(FindingsError, match="a compile config has errors"):
        check(workspace)
