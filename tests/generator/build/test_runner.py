"""Whole builds of the trained checkpoint on the embedded backend: what they leave and reuse.

One that was killed continues where it was; two keep out of each other's way.
"""

import hashlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import VACC_GEN, eventually, start, wait_for_line
from tests.workspaces import Recorder, build, make_workspace, report_of, stage_of
from vacc_gen.generator.backends.base import Stage
from vacc_gen.generator.backends.onnxruntime.backend import OnnxRuntimeBackend
from vacc_gen.generator.backends.onnxruntime.runtime import OnnxRuntimeModel
from vacc_gen.generator.build.ledger import Ledger
from vacc_gen.generator.build.report import Status
from vacc_gen.generator.build.runner import BuildOptions, build_lock, run_build
from vacc_gen.generator.progress import peak_rss_bytes, reset_peak_rss
from vacc_gen.generator.workspace import load_workspace, update
from vacc_gen.schema.errors import StageError

EMBEDDED = OnnxRuntimeBackend()


def change_recipe(workspace, old, new):
    file = workspace.root / "vacc.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return load_workspace(workspace.root)


def test_the_report_keeps_its_contract(built_once):
    report = report_of(built_once)
    assert report.keys() >= {"version", "backend", "stages", "parity", "perplexity", "artifacts"}
    target = {"card": None, "tp": 1, "prefill": 64, "total": 128}
    assert report["recipe"] == {"preset": "falcon-tiny", **target}
    assert report["made"]["versions"].keys() >= {"torch", "onnxruntime"}
    skipped = [(s["name"], s["precision"]) for s in report["stages"] if s["status"] == "skipped"]
    assert [" ".join(stage) for stage in skipped] == [
        "calibrate fp16", "calibrate int8", "export int8", "quantize fp16"
    ]  # fmt: skip
    for stage in report["stages"]:
        if stage["status"] != "skipped":
            assert stage["status"] == "done"
            assert stage["seconds"] >= 0
            assert 10 << 20 < stage["peak_rss_bytes"] < 4 << 30
    assert stage_of(report, "export", "fp16")["seconds"] > 0.01
    parity = report["parity"]
    fp16, int8 = parity["precisions"]["fp16"], parity["precisions"]["int8"]
    assert (fp16["reference"], int8["reference"]) == ("torch", "torch")
    assert parity["greedy_tokens_equal"] is True
    for part in ("prefill", "decode"):
        # fp16 rounding shows, and no more than that; int8 is coarser than fp16.
        assert parity[f"{part}_max_abs_diff"] == fp16[f"{part}_max_abs_diff"]
        assert 0 < fp16[f"{part}_max_abs_diff"] < 0.05
        assert 0 < fp16[f"{part}_max_rel_diff"] < 0.01
        assert fp16[f"{part}_max_abs_diff"] < int8[f"{part}_max_abs_diff"] < 1
    assert min(fp16["decode_steps"], fp16["greedy_tokens"]) >= 32


def test_perplexity_is_measured_for_what_was_built_and_its_reference(built_once):
    perplexity = report_of(built_once)["perplexity"]
    windows = perplexity.pop("windows")
    assert perplexity.keys() == {"fp16", "int8", "torch"}
    assert perplexity["fp16"] == pytest.approx(perplexity["torch"], rel=0.01)
    assert perplexity["int8"] == pytest.approx(perplexity["torch"], rel=0.1)
    assert (windows["window_tokens"], windows["stride_tokens"]) == (128, 128)
    assert (windows["windows"], windows["predicted_tokens"]) == (9, 9 * 127)
    fp16, int8 = windows["scores"]
    difference = int8["nll_difference"]
    assert difference["reference"] == "fp16"
    ratio = int8["perplexity"] / fp16["perplexity"]
    assert difference["mean"] == pytest.approx(math.log(ratio))
    assert 0 < difference["standard_error"] < 0.01
    assert "nll_difference" not in fp16
    assert fp16["perplexity"] == pytest.approx(windows["torch"], rel=1e-3)
    assert (fp16["precision"], int8["precision"]) == ("fp16", "int8")
    assert 0 < abs(int8["perplexity"] / fp16["perplexity"] - 1) < 0.01


def assert_whole(workspace):
    """What is deployed has a manifest with the hashes of its files, and nothing is left over."""
    recipe = workspace.plan.recipe.model_dump(mode="json")
    for job in workspace.plan.jobs:
        folder = workspace.root / "deploy" / job.name
        manifest = json.loads((folder / "manifest.json").read_text())
        assert (manifest["name"], manifest["precision"]) == (job.name, job.precision.value)
        assert manifest["recipe"] == recipe
        hashes = {artifact["path"]: artifact["sha256"] for artifact in manifest["artifacts"]}
        assert hashes.keys() | {"manifest.json"} == {file.name for file in folder.iterdir()}
        assert hashes.keys() >= {"model.onnx", "genai_config.json", "weights.bin"}
        assert hashes.keys() >= {"tokenizer.json", "tokenizer_config.json", "config.json"}
        for name, digest in hashes.items():
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    for place in ("deploy", ".vacc-gen/work"):
        assert list((workspace.root / place).glob(".*")) == []


def test_what_was_done_before_a_kill_is_reused(tmp_path):
    workspace = make_workspace(tmp_path / "workspace")
    options = ("--backend", "onnxruntime", "--until", "compile")
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    process = start(*VACC_GEN, "build", str(workspace.root), *options, **pipes)
    wait_for_line(process, "compile fp16: done")
    process.kill()
    process.communicate(timeout=30)
    assert process.returncode < 0, "it was not killed but ended"
    recorder = build(workspace, EMBEDDED, until=Stage.COMPILE)
    assert recorder.statuses(Stage.EXPORT) == [Status.REUSED, Status.SKIPPED]
    assert recorder.statuses(Stage.COMPILE)[0] is Status.REUSED
    assert_whole(workspace)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 1}', '{"job": ["key", {}]}'])
def test_a_damaged_ledger_counts_as_empty(tmp_path, content):
    file = tmp_path / ".vacc-gen" / "build.json"
    file.parent.mkdir()
    file.write_text(content)
    assert Ledger(tmp_path).reusable("job", "key") is None


HOLDER = """
import sys, time
from pathlib import Path
from vacc_gen.generator.build.runner import build_lock
with build_lock(Path(sys.argv[1])):
    time.sleep(60)
"""


def test_a_second_build_is_refused_while_the_first_lives(tmp_path):
    workspace = make_workspace(tmp_path / "workspace")
    lock = workspace.root / ".vacc-gen" / "build.lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(lock)])
    assert eventually(lambda: lock.is_file() and str(holder.pid) in lock.read_text())
    with pytest.raises(StageError, match=f"process {holder.pid} on"):
        build(workspace, EMBEDDED)
    assert not (workspace.root / "report.json").exists()
    holder.kill()
    holder.wait(30)
    with build_lock(lock):
        assert f"process {os.getpid()} on " in lock.read_text()


def test_a_second_build_reuses_everything(built):
    before = report_of(built)
    assert_whole(built)
    for file in (built.root / "deploy").rglob("*.*"):
        file.touch()  # the content counts
    recorder = build(built, EMBEDDED)
    statuses = {record.status for record in recorder.records if record.precision}
    assert statuses == {Status.REUSED, Status.SKIPPED}
    after = report_of(built)
    for part in ("parity", "perplexity", "artifacts"):
        assert after[part] == before[part]
    assert stage_of(after, "export", "fp16")["made_in_seconds"] > 0


def test_another_threshold_verifies_again_and_no_more(built):
    changed = change_recipe(built, '"int8": 1.0', '"int8": 0.0001')
    with pytest.raises(StageError) as caught:
        build(changed, EMBEDDED)
    assert caught.value.exit_code == 1
    report = report_of(built)
    last_good = json.loads((built.root / "last-good-report.json").read_text())
    assert stage_of(last_good, "verify", "int8")["status"] != "failed"
    assert (built.root / "last-good-report.html").is_file()
    diff = report["parity"]["precisions"]["int8"]["prefill_max_abs_diff"]
    words = f"prefill logits differ from torch by {diff:.4g}, 0.0001 is allowed"
    assert f"{words} ({diff / 0.0001:.3g} times that)" in caught.value.message
    assert stage_of(report, "compile", "int8")["status"] == "reused"
    assert stage_of(report, "verify", "int8")["status"] == "failed"
    assert "differ from torch" in stage_of(report, "verify", "int8")["reason"]
    assert stage_of(report, "report", None)["status"] == "done"


def test_other_lengths_export_again(built):
    changed = change_recipe(built, '"total": 128', '"total": 144')
    with pytest.raises(StageError, match="generated files are not those of the recipe") as caught:
        build(changed, EMBEDDED)
    assert "run `vacc-gen generate`" in caught.value.hint
    failed = stage_of(report_of(built), "preflight", None)
    assert (failed["status"], failed["hint"]) == ("failed", caught.value.hint)
    update(changed)
    recorder = build(changed, EMBEDDED, until=Stage.COMPILE)
    assert recorder.statuses(Stage.EXPORT) == [Status.DONE, Status.SKIPPED]
    assert OnnxRuntimeModel(built.root / "deploy" / changed.plan.jobs[0].name).total_tokens == 144


class Interrupted(Recorder):
    def stage_finished(self, record):
        if record.status is Status.SKIPPED:
            raise KeyboardInterrupt


def test_a_stage_that_was_skipped_and_interrupted_says_the_latter(built):
    with pytest.raises(KeyboardInterrupt):
        run_build(built, OnnxRuntimeBackend(), BuildOptions(), Interrupted())
    stages = report_of(built)["stages"]
    assert [stage["reason"] for stage in stages if stage["status"] == "failed"] == ["interrupted"]


def test_peak_memory_is_that_of_a_stretch_of_work():
    def peak_of(block_bytes):
        reset_peak_rss()
        block = bytearray(block_bytes)
        block[::4096] = b"1" * len(block[::4096])
        return peak_rss_bytes()

    assert 90 << 20 < peak_of(100 << 20) - peak_of(1 << 20) < 110 << 20


def test_a_report_of_an_early_end_and_one_that_cannot_be_written(built):
    recorder = build(built, EMBEDDED, until=Stage.QUANTIZE)
    assert recorder.statuses(Stage.QUANTIZE) == [Status.SKIPPED, Status.REUSED]
    assert report_of(built)["parity"]["prefill_max_abs_diff"] is None
    Path(built.root, "report.json").unlink()
    Path(built.root, "report.json").mkdir()
    with pytest.raises(StageError, match=r"the build failed: .*report\.json"):
        build(built, EMBEDDED, until=Stage.PREFLIGHT)
