"""Whole builds with calibration texts: int8 and int4 by GPTQ, read back, scored, and reported."""

from __future__ import annotations

import json

import pytest

from tests.texts import CALIBRATION, HELD_OUT
from tests.workspaces import Recorder, make_workspace

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
from vacc_gen.generator.backends.base import Stage
from vacc_gen.generator.backends.onnxruntime.backend import OnnxRuntimeBackend
from vacc_gen.generator.build.report import Status
from vacc_gen.generator.build.runner import BuildOptions, run_build
from vacc_gen.generator.workspace.workspace import load_workspace
from vacc_gen.schema.errors import StageError

TEXTS = {"set": "mine", "path": str(CALIBRATION), "samples": 32, "seqlen": 128}


def build(root, **parts):
    """Build a workspace for falcon-tiny, and return (recorder, report)."""
    recorder = Recorder()
    workspace = make_workspace(root, **parts)
    try:
        run_build(workspace, OnnxRuntimeBackend(), BuildOptions(), recorder)
    finally:
        report = json.loads((root / "report.json").read_text())
    return recorder, report


def stage(report, name, precision):
    return next(s for s in report["stages"] if (s["name"], s["precision"]) == (name, precision))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(root, recorder, report) of a build of fp16, int8 and int4, with an eye on held-out text."""
    root = tmp_path_factory.mktemp("built") / "workspace"
    recorder, report = build(
        root,
        precisions=["fp16", "int8", "int4"],
        calibration=TEXTS,
        verification={"text": str(HELD_OUT), "perplexity_windows": 24},
    )
    return root, recorder, report


def test_the_report_says_how_weights_were_made(built):
    _, _, report = built
    for precision, bits in (("int8", 8), ("int4", 4)):
        made = stage(report, "quantize", precision)
        told = made["quantization"]
        assert (told["method"], told["bits"], told["activations"]) == ("gptq", bits, "int8")
        assert (told["windows"], told["seqlen"], told["true_sequential"]) == (32, 128, True)
        assert (told["desc_act"], told["damp_percent"], told["device"]) == (True, 0.01, "cpu")
        assert made["group_size"] == told["group_size"] == 32


def test_the_report_has_the_error_of_every_linear_layer(built):
    _, _, report = built
    for precision in ("int8", "int4"):
        errors = stage(report, "quantize", precision)["linear_errors"]
        assert len(errors) == 16
        assert all(error["gptq"] < error["rtn"] for error in errors)
    int8, int4 = (stage(report, "quantize", p)["linear_errors"] for p in ("int8", "int4"))
    assert all(one["gptq"] < other["gptq"] for one, other in zip(int8, int4, strict=True))


def test_weights_were_read_back(built):
    root, _, report = built
    for precision in ("int8", "int4"):
        found = stage(report, "verify", precision)["readback"]
        bits = {"8": 17} if precision == "int8" else {"4": 16, "8": 1}  # the embedding keeps 8
        assert (found["matrices"], found["bits"], found["group_sizes"]) == (17, bits, [32])
        # 2048 x 224 of the embedding; of each layer 288 and 896 x 224, 224 x 224 and 224 x 896.
        assert found["scales"] == 224 // 32 * (2048 + 4 * (288 + 896 + 224 + 896))
        assert (found["zero"], found["left_in_float"], found["problems"]) == (0, 0, [])
        name = f"deploy/falcon-tiny-{precision}-tp1-64-128"
        assert f"{name}/quantization.json" in {one["path"] for one in report["artifacts"]}
        record = json.loads((root / name / "quantization.json").read_text())
        assert record["method"] == "gptq"
        methods = {matrix["method"] for matrix in record["matrices"].values()}
        assert methods == {"gptq", "round_to_nearest"}  # embedding and head are rounded
    assert stage(report, "verify", "fp16")["readback"] is None


def test_every_way_to_make_the_weights_is_scored_on_the_same_text(built):
    _, _, report = built
    windows = report["perplexity"]["windows"]
    assert (windows["window_tokens"], windows["windows"]) == (128, 24)
    values = {
        (score["precision"], score["weights"], score["activations"]): score["perplexity"]
        for score in windows["scores"]
    }
    assert set(values) == {
        ("fp16", "float", "float"),
        *((p, "gptq", a) for p in ("int8", "int4") for a in ("int8", "float")),
        *((p, "round_to_nearest", "int8") for p in ("int8", "int4")),
    }
    base = values["fp16", "float", "float"]
    assert all(
        abs(value / base - 1) < 0.005
        for (precision, *_), value in values.items()
        if precision == "int8"
    )
    assert [s["built"] for s in windows["scores"]].count(True) == 3


def test_the_page_shows_what_was_measured(built):
    root, _, _ = built
    page = (root / "report.html").read_text()
    for precision in ("int8", "int4"):
        assert f"{precision} computes with int8 activations (accuracy_level 4)" in page
        assert f'aria-label="Errors of {precision}"' in page
    assert page.count("as meant") == 2
    assert page.count('<circle class="gptq"') == 2 * 16 + 1  # one is the key's


def test_nothing_is_left_but_what_is_needed(built):
    root, _, _ = built
    left = {path.name for path in (root / ".vacc-gen" / "work").iterdir()}
    assert all(name.endswith(".trace.npz") for name in left)


def test_a_second_build_reuses_it(built):
    root, _, _ = built
    recorder, _ = build_again(root)
    assert set(recorder.statuses(Stage.QUANTIZE)) == {Status.SKIPPED, Status.REUSED}


def build_again(root):
    recorder = Recorder()
    run_build(load_workspace(root), OnnxRuntimeBackend(), BuildOptions(), recorder)
    return recorder, json.loads((root / "report.json").read_text())


def test_without_texts_weights_are_rounded_and_the_report_says_so(tmp_path):
    recorder, report = build(tmp_path / "w", precisions=["int8", "int4"])
    for precision in ("int8", "int4"):
        made = stage(report, "quantize", precision)
        assert made["quantization"]["method"] == "round_to_nearest"
        assert made["linear_errors"] == []
        assert "rounded to nearest" in stage(report, "calibrate", precision)["reason"]
    scores = report["perplexity"]["windows"]["scores"]
    assert {score["weights"] for score in scores} == {"round_to_nearest"}
    assert Status.FAILED not in {record.status for record in recorder.records}


def test_one_scale_a_channel_and_exact_activations(tmp_path):
    _, report = build(
        tmp_path / "w",
        precisions=["int8"],
        calibration=TEXTS,
        quantization={"group_size": -1, "accuracy_level": 0, "desc_act": False},
    )
    told = stage(report, "quantize", "int8")["quantization"]
    assert (told["group_size"], told["activations"], told["desc_act"]) == (-1, "float", False)
    scores = report["perplexity"]["windows"]["scores"]
    assert [(s["weights"], s["activations"], s["built"]) for s in scores] == [
        ("gptq", "float", True),
        ("gptq", "int8", False),  # what the choice saves
        ("round_to_nearest", "float", False),
    ]
    assert scores[0]["perplexity"] != scores[1]["perplexity"]
    page = (tmp_path / "w" / "report.html").read_text()
    assert "int8 computes with exact activations; int8 ones (accuracy_level 4) would change" in page


def test_a_gpu_that_is_not_there_stops_the_build(tmp_path):
    with pytest.raises(StageError, match="cuda:7"):
        build(
            tmp_path / "w",
            precisions=["int8"],
            calibration=TEXTS,
            quantization={"device": "cuda:7"},
        )
