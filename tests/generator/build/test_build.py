"""Whole builds of the trained checkpoint on the embedded backend."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.workspaces import FALCON_TINY, Recorder, make_workspace
from vacc_gen.generator.backends.base import Stage
from vacc_gen.generator.backends.onnxruntime.backend import OnnxRuntimeBackend
from vacc_gen.generator.backends.onnxruntime.model import OnnxRuntimeModel
from vacc_gen.generator.build.report import Status
from vacc_gen.generator.build.runner import BuildOptions, run_build
from vacc_gen.generator.calibration.tokenizer import Tokenizer
from vacc_gen.generator.workspace.workspace import Workspace, load_workspace, update
from vacc_gen.schema.errors import StageError
from vacc_gen.schema.precision import Precision

HEAVY_STAGES = (Stage.EXPORT, Stage.QUANTIZE, Stage.COMPILE, Stage.VERIFY)


def build(workspace: Workspace, options: BuildOptions | None = None) -> Recorder:
    recorder = Recorder()
    run_build(workspace, OnnxRuntimeBackend(), options or BuildOptions(), recorder)
    return recorder


def report_of(workspace: Workspace) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((workspace.root / "report.json").read_text())
    return content


def change_recipe(workspace: Workspace, old: str, new: str) -> Workspace:
    file = workspace.root / "vacc.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return load_workspace(workspace.root)


@pytest.fixture(scope="module")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = make_workspace(
        tmp_path_factory.mktemp("build") / "workspace",
        verification={"max_abs_diff": {"fp16": 0.05, "int8": 1.0}},
    )
    build(workspace)
    return workspace


@pytest.fixture
def built(built_once: Workspace, tmp_path: Path) -> Workspace:
    """A finished build that a test may harm; its files keep their times."""
    shutil.copytree(built_once.root, tmp_path / "workspace", copy_function=shutil.copy2)
    return load_workspace(tmp_path / "workspace")


def test_the_report_keeps_its_contract(built_once: Workspace) -> None:
    report = report_of(built_once)
    assert (report["version"], report["backend"]) == (1, "onnxruntime")
    assert [(s["name"], s["precision"], s["status"]) for s in report["stages"]] == [
        ("preflight", None, "done"),
        ("calibrate", "fp16", "skipped"),
        ("calibrate", "int8", "skipped"),
        ("export", "fp16", "done"),
        ("export", "int8", "skipped"),
        ("quantize", "fp16", "skipped"),
        ("quantize", "int8", "done"),
        ("compile", "fp16", "done"),
        ("compile", "int8", "done"),
        ("verify", "fp16", "done"),
        ("verify", "int8", "done"),
        ("report", None, "done"),
    ]
    for stage in report["stages"]:
        if stage["status"] == "skipped":
            assert stage["reason"]
        else:
            assert stage["seconds"] >= 0
            assert 10 << 20 < stage["peak_rss_bytes"] < 4 << 30
    parity = report["parity"]
    fp16, int8 = parity["precisions"]["fp16"], parity["precisions"]["int8"]
    assert (fp16["reference"], int8["reference"]) == ("torch", "fp16")
    assert parity["greedy_tokens_equal"] is True
    for part in ("prefill", "decode"):
        # fp16 rounding shows, and no more than that; int8 is coarser than fp16.
        assert parity[f"{part}_max_abs_diff"] == fp16[f"{part}_max_abs_diff"]
        assert 0 < fp16[f"{part}_max_abs_diff"] < 0.05
        assert 0 < fp16[f"{part}_max_rel_diff"] < 0.01
        assert fp16[f"{part}_max_abs_diff"] < int8[f"{part}_max_abs_diff"] < 1
    assert fp16["decode_steps"] >= 32
    assert fp16["greedy_tokens"] >= 32
    perplexity = report["perplexity"]
    assert perplexity["fp16"] == pytest.approx(perplexity["torch"], rel=0.01)
    assert perplexity["int8"] == pytest.approx(perplexity["torch"], rel=0.1)


def test_artifacts_are_whole_and_listed(built_once: Workspace) -> None:
    listed = {artifact["path"]: artifact for artifact in report_of(built_once)["artifacts"]}
    there = {
        file.relative_to(built_once.root).as_posix()
        for file in (built_once.root / "deploy").rglob("*")
        if file.is_file()
    }
    assert listed.keys() == there
    for path, artifact in listed.items():
        content = (built_once.root / path).read_bytes()
        assert artifact["bytes"] == len(content)
        assert artifact["sha256"] == hashlib.sha256(content).hexdigest()
    for job in built_once.plan.jobs:
        names = {Path(path).name for path in there if f"/{job.name}/" in path}
        assert names >= {"prefill.onnx", "decode.onnx", "weights.bin", "manifest.json"}
        assert names >= {"tokenizer.json", "tokenizer_config.json", "config.json"}


def test_a_manifest_tells_where_a_folder_is_from(built_once: Workspace) -> None:
    for job in built_once.plan.jobs:
        folder = built_once.root / "deploy" / job.name
        manifest = json.loads((folder / "manifest.json").read_text())
        assert (manifest["name"], manifest["precision"]) == (job.name, job.precision.value)
        assert manifest["recipe"] == built_once.plan.recipe.model_dump(mode="json")
        for artifact in manifest["artifacts"]:
            content = (folder / artifact["path"]).read_bytes()
            assert artifact["sha256"] == hashlib.sha256(content).hexdigest()


def test_each_graph_carries_its_recipe(built_once: Workspace) -> None:
    import onnx

    for graph in (built_once.root / "deploy").glob("*/*.onnx"):
        model = onnx.load(graph, load_external_data=False)
        properties = {entry.key: entry.value for entry in model.metadata_props}
        assert json.loads(properties["vacc_gen.recipe"]) == built_once.plan.recipe.model_dump(
            mode="json"
        )
        assert properties["vacc_gen.name"] == graph.parent.name
        assert properties["vacc_gen.version"]


def test_what_was_built_writes_english(built_once: Workspace) -> None:
    tokenizer = Tokenizer(FALCON_TINY / "tokenizer.json")
    prompt = tokenizer.encode(b"In the beginning God created")
    for job in built_once.plan.jobs:
        model = OnnxRuntimeModel(built_once.root / "deploy" / job.name)
        text = tokenizer.decode(list(model.generate(prompt, 24)))
        assert " the " in text


def test_a_second_build_reuses_everything(built: Workspace) -> None:
    before = report_of(built)
    recorder = build(built)
    for stage in HEAVY_STAGES:
        assert set(recorder.statuses(stage)) <= {Status.REUSED, Status.SKIPPED}
    after = report_of(built)
    assert after["parity"] == before["parity"]
    assert after["perplexity"] == before["perplexity"]
    assert after["artifacts"] == before["artifacts"]


def test_files_that_were_only_touched_are_reused(built: Workspace) -> None:
    for file in (built.root / "deploy").rglob("*.*"):
        file.touch()
    recorder = build(built, BuildOptions(until=Stage.COMPILE))
    assert recorder.statuses(Stage.COMPILE) == [Status.REUSED, Status.REUSED]


@pytest.mark.parametrize("harm", ["changed", "cut", "removed"])
def test_a_harmed_artifact_is_made_again(built: Workspace, harm: str) -> None:
    weights = built.root / "deploy" / built.plan.jobs[0].name / "weights.bin"
    content = weights.read_bytes()
    if harm == "changed":
        weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif harm == "cut":
        weights.write_bytes(content[:-1])
    else:
        weights.unlink()
    recorder = build(built, BuildOptions(until=Stage.COMPILE))
    assert recorder.statuses(Stage.EXPORT) == [Status.DONE, Status.SKIPPED]
    assert recorder.statuses(Stage.COMPILE) == [Status.DONE, Status.REUSED]
    assert weights.read_bytes() == content


def test_another_threshold_verifies_again_and_no_more(built: Workspace) -> None:
    changed = change_recipe(built, '"int8": 1.0', '"int8": 2.0')
    recorder = build(changed)
    assert recorder.statuses(Stage.EXPORT) == [Status.REUSED, Status.SKIPPED]
    assert recorder.statuses(Stage.COMPILE) == [Status.REUSED, Status.REUSED]
    assert recorder.statuses(Stage.VERIFY) == [Status.DONE, Status.DONE]


def test_beyond_its_threshold_verify_fails_and_says_by_how_much(built: Workspace) -> None:
    changed = change_recipe(built, '"fp16": 0.05', '"fp16": 0.0001')
    with pytest.raises(StageError) as caught:
        build(changed)
    assert caught.value.exit_code == 1
    report = report_of(built)
    diff = report["parity"]["prefill_max_abs_diff"]
    assert f"prefill logits differ from torch by {diff:.4g}, 0.0001 is allowed" in (
        caught.value.message
    )
    assert f"({diff / 0.0001:.3g} times that)" in caught.value.message
    stages = {(s["name"], s["precision"]): s for s in report["stages"]}
    assert stages["verify", "fp16"]["status"] == "failed"
    assert "differ from torch" in stages["verify", "fp16"]["reason"]
    assert ("verify", "int8") not in stages
    assert stages["report", None]["status"] == "done"
    with pytest.raises(StageError):  # a failure is not remembered as a success
        build(changed)


def test_other_lengths_export_again(built: Workspace) -> None:
    changed = change_recipe(built, '"total": 128', '"total": 144')
    with pytest.raises(StageError, match="generated files are not those of the recipe") as caught:
        build(changed)
    assert "run `vacc-gen generate`" in (caught.value.hint or "")
    failed = report_of(built)["stages"][0]
    assert (failed["name"], failed["status"]) == ("preflight", "failed")
    update(changed)
    recorder = build(changed, BuildOptions(until=Stage.COMPILE))
    assert recorder.statuses(Stage.EXPORT) == [Status.DONE, Status.SKIPPED]
    assert OnnxRuntimeModel(built.root / "deploy" / changed.plan.jobs[0].name).total_tokens == 144


def test_only_one_precision_can_be_built(built: Workspace) -> None:
    recorder = build(built, BuildOptions(precisions=(Precision.INT8,)))
    assert {record.precision for record in recorder.records} == {None, Precision.INT8}
    # Without fp16 in the build, int8 is compared with what it was made of.
    assert report_of(built)["parity"]["precisions"]["int8"]["reference"] == "torch"


def test_until_ends_the_build_there(built: Workspace) -> None:
    recorder = build(built, BuildOptions(until=Stage.QUANTIZE))
    assert recorder.statuses(Stage.QUANTIZE) == [Status.SKIPPED, Status.REUSED]
    assert recorder.statuses(Stage.COMPILE) == [Status.SKIPPED, Status.SKIPPED]
    report = report_of(built)
    assert report["parity"]["prefill_max_abs_diff"] is None
    assert report["artifacts"] == []


def test_force_runs_everything_again(built: Workspace) -> None:
    recorder = build(built, BuildOptions(until=Stage.COMPILE, force=True))
    assert recorder.statuses(Stage.EXPORT) == [Status.DONE, Status.SKIPPED]
    assert recorder.statuses(Stage.COMPILE) == [Status.DONE, Status.DONE]
