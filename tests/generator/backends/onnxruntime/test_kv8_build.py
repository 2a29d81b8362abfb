"""Builds of kv8 on the embedded backend: what it is calibrated on, compared with, and reported."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tests.workspaces import Recorder, make_workspace
from vacc_gen.generator.backends.base import Stage
from vacc_gen.generator.backends.onnxruntime.backend import OnnxRuntimeBackend
from vacc_gen.generator.build.report import Status
from vacc_gen.generator.build.runner import BuildOptions, run_build
from vacc_gen.generator.workspace.workspace import Workspace, load_workspace
from vacc_gen.schema.errors import StageError

OWN = {"set": "own", "path": "own.txt", "samples": 4, "seqlen": 100}
TEXT = files("vacc_gen.generator.backends.onnxruntime").joinpath("verification.txt").read_bytes()


def build(workspace: Workspace) -> Recorder:
    recorder = Recorder()
    run_build(workspace, OnnxRuntimeBackend(), BuildOptions(), recorder)
    return recorder


def report_of(workspace: Workspace) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((workspace.root / "report.json").read_text())
    return report


def stage_of(report: dict[str, Any], name: str, precision: str) -> dict[str, Any]:
    (stage,) = [s for s in report["stages"] if (s["name"], s["precision"]) == (name, precision)]
    found: dict[str, Any] = stage
    return found


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """fp16 and kv8, on texts that the recipe names."""
    root = tmp_path_factory.mktemp("build") / "workspace"
    workspace = make_workspace(root, precisions=["fp16", "kv8"], calibration=OWN)
    (root / "own.txt").write_bytes(TEXT)
    build(workspace)
    return workspace


def test_kv8_is_measured_beside_fp16(calibrated: Workspace) -> None:
    report = report_of(calibrated)
    assert report["parity"]["precisions"]["kv8"]["reference"] == "fp16"
    parity = report["parity"]["precisions"]["kv8"]
    # Above what fp16 costs, so that the cache cannot have been left in fp16; and bounded.
    assert 0.01 < parity["decode_max_abs_diff"] < parity["max_abs_diff_allowed"] == 1.0
    perplexity = report["perplexity"]
    assert perplexity["kv8"] == pytest.approx(perplexity["fp16"], rel=0.01)
    assert perplexity["kv8"] != perplexity["fp16"]


def test_the_report_says_what_the_cache_takes(calibrated: Workspace) -> None:
    report = report_of(calibrated)
    fp16 = stage_of(report, "export", "fp16")["kv_cache"]
    kv8 = stage_of(report, "quantize", "kv8")["kv_cache"]
    assert (fp16["dtype"], kv8["dtype"]) == ("fp16", "int8")
    # falcon-tiny: 4 layers, one KV head of 32 channels; 128 tokens.
    assert fp16["bytes"] == 2 * kv8["bytes"] == 2 * (2 * 4 * 1 * 32 * 128)
    # Windows of 100 tokens are cut to the prompt's 64, whose graph this machine must run anyway.
    source = {"source": "calibration/own.safetensors", "windows": 4, "tokens": 256}
    assert kv8["calibrated_on"] == source


def test_the_cache_was_read_back(calibrated: Workspace) -> None:
    report = report_of(calibrated)
    # 4 layers, keys and values: prefill's presents, decode's pasts and presents; written and read.
    assert stage_of(report, "verify", "kv8")["readback"] == {
        "caches": 3 * 8,
        "scales": 2 * 2 * 8,
        "left_in_float": 0,
        "problems": [],
    }
    assert stage_of(report, "verify", "fp16")["readback"] is None
    assert "inputs and outputs of 8 bits" in (calibrated.root / "report.html").read_text()


def test_the_manifest_holds_the_scales(calibrated: Workspace) -> None:
    (job,) = [job for job in calibrated.plan.jobs if job.precision.value == "kv8"]
    folder = calibrated.root / "deploy" / job.name
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["kv_cache"] == json.loads((folder / "kv_cache.json").read_text())
    assert [set(layer) for layer in manifest["kv_cache"]["scales"]] == [{"key", "value"}] * 4
    assert "kv_cache.json" in [artifact["path"] for artifact in manifest["artifacts"]]
    plain = json.loads(
        next((calibrated.root / "deploy").glob("*-fp16-*/manifest.json")).read_text()
    )
    assert "kv_cache" not in plain


def test_other_texts_make_other_scales(calibrated: Workspace) -> None:
    again = build(load_workspace(calibrated.root))
    assert again.statuses(Stage.QUANTIZE) == [Status.SKIPPED, Status.REUSED]
    scales = next((calibrated.root / "deploy").glob("*-kv8/kv_cache.json")).read_text()
    (calibrated.root / "own.txt").write_bytes(TEXT[len(TEXT) // 2 :])
    changed = build(load_workspace(calibrated.root))
    assert changed.statuses(Stage.EXPORT) == [Status.REUSED, Status.SKIPPED]
    assert changed.statuses(Stage.QUANTIZE) == [Status.SKIPPED, Status.DONE]
    assert next((calibrated.root / "deploy").glob("*-kv8/kv_cache.json")).read_text() != scales


def test_kv8_alone_and_without_texts(tmp_path: Path) -> None:
    """It is compared with torch, calibrated on the verification text, and `run` writes text."""
    workspace = make_workspace(tmp_path / "workspace", precisions=["kv8"])
    build(workspace)
    report = report_of(workspace)
    assert report["parity"]["precisions"]["kv8"]["reference"] == "torch"
    reason = "no calibration set: the KV cache is calibrated on the verification text"
    assert reason in stage_of(report, "calibrate", "kv8")["reason"]
    source = stage_of(report, "quantize", "kv8")["kv_cache"]["calibrated_on"]["source"]
    assert source == "verification text"
    program = [sys.executable, "-m", "vacc_gen.generator.cli.main"]
    arguments = ["run", str(workspace.root), "--prompt", "In the beginning", "--max-tokens", "8"]
    done = subprocess.run([*program, *arguments], capture_output=True, text=True, check=True)
    assert len(done.stdout.split()) > 2


def test_a_threshold_of_its_own(tmp_path: Path) -> None:
    limits = {"max_abs_diff": {"kv8": 0.001}}
    workspace = make_workspace(
        tmp_path / "workspace", precisions=["fp16", "kv8"], verification=limits
    )
    with pytest.raises(StageError, match=r"logits differ from fp16 by .*, 0\.001 is allowed"):
        build(workspace)
