"""Whole builds of int8 and int4: by GPTQ where there are calibration texts, else rounded."""

from __future__ import annotations

import json

import pytest

from tests.texts import CALIBRATION
from tests.workspaces import Recorder, make_workspace

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
from vacc_gen.generator.backends.base import Stage
from vacc_gen.generator.backends.onnxruntime.backend import OnnxRuntimeBackend
from vacc_gen.generator.build.report import Status
from vacc_gen.generator.build.runner import BuildOptions, run_build
from vacc_gen.generator.workspace.workspace import load_workspace
from vacc_gen.schema.errors import StageError

TEXTS = {"set": "mine", "path": str(CALIBRATION), "samples": 16, "seqlen": 64}


def build(workspace, until=Stage.QUANTIZE):
    """Build as far as `until`, and return (recorder, {(stage, precision): its part of report})."""
    recorder = Recorder()
    run_build(workspace, OnnxRuntimeBackend(), BuildOptions(until=until), recorder)
    report = json.loads((workspace.root / "report.json").read_text())
    return recorder, {(part["name"], part["precision"]): part for part in report["stages"]}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(root, stages of the report) of int8 and int4 by GPTQ."""
    root = tmp_path_factory.mktemp("built") / "workspace"
    _, stages = build(make_workspace(root, precisions=["int8", "int4"], calibration=TEXTS))
    return root, stages


def test_the_report_says_how_weights_were_made(built):
    for precision, bits in (("int8", 8), ("int4", 4)):
        made = built[1]["quantize", precision]
        assert made["group_size"] == 32
        assert made["quantization"] == {
            "method": "gptq",
            "bits": bits,
            "group_size": 32,
            "activations": "int8",
            "accuracy_level": 4,
            "desc_act": True,
            "damp_percent": 0.01,
            "true_sequential": True,
            "device": "cpu",
            "windows": 16,
            "seqlen": 64,
        }


def test_the_report_has_the_error_of_every_linear_layer(built):
    int8, int4 = (
        built[1]["quantize", precision]["linear_errors"] for precision in ("int8", "int4")
    )
    assert len(int8) == len(int4) == 16
    assert all(row["gptq"] < row["rtn"] for row in int8 + int4)
    assert all(one["gptq"] < other["gptq"] for one, other in zip(int8, int4, strict=True))


def test_a_second_build_reuses_it_and_nothing_else_is_left(built):
    root, _ = built
    recorder, _ = build(load_workspace(root))
    assert set(recorder.statuses(Stage.QUANTIZE)) == {Status.REUSED}
    left = [path for path in (root / ".vacc-gen" / "work").iterdir() if path.is_file()]
    assert left == []


@pytest.mark.parametrize(
    ("calibration", "reason"),
    [
        (None, "the recipe names no calibration set"),
        ({**TEXTS, "path": "/path/to/own.txt"}, "calibration.path is still to be filled in"),
    ],
)
def test_without_texts_weights_are_rounded_and_the_report_says_so(tmp_path, calibration, reason):
    workspace = make_workspace(tmp_path / "w", precisions=["int8"], calibration=calibration)
    _, stages = build(workspace)
    assert stages["quantize", "int8"]["quantization"]["method"] == "round_to_nearest"
    assert stages["quantize", "int8"]["linear_errors"] == []
    assert stages["calibrate", "int8"]["reason"] == f"{reason}: int8 is rounded to nearest"


def test_one_scale_a_channel_and_exact_activations_run(tmp_path):
    settings = {"group_size": -1, "accuracy_level": 0, "desc_act": False}
    workspace = make_workspace(
        tmp_path / "w", precisions=["int8"], calibration=TEXTS, quantization=settings
    )
    _, stages = build(workspace, until=Stage.VERIFY)
    made = stages["quantize", "int8"]["quantization"]
    assert (made["group_size"], made["activations"], made["desc_act"]) == (-1, "float", False)
    assert stages["verify", "int8"]["status"] == "done"


def test_a_gpu_that_is_not_there_stops_the_build(tmp_path):
    workspace = make_workspace(
        tmp_path / "w", precisions=["int8"], calibration=TEXTS, quantization={"device": "cuda:7"}
    )
    with pytest.raises(StageError, match="cuda:7"):
        build(workspace)
