"""Builds of int8 and int4, by GPTQ where the recipe names calibration texts."""

import pytest

from tests.workspaces import (
    CALIBRATION,
    HELD_OUT,
    build,
    falcon_tiny_with,
    make_workspace,
    report_of,
    stage_of,
)
from vacc_gen.generator.backends.base import Stage
from vacc_gen.generator.backends.onnxruntime.backend import OnnxRuntimeBackend
from vacc_gen.generator.build.report import Status
from vacc_gen.schema.errors import StageError
from vacc_gen.schema.precision import PER_CHANNEL

TEXTS = {"set": "mine", "path": str(CALIBRATION), "samples": 8, "seqlen": 64}


@pytest.fixture(scope="module")
def by_gptq(tmp_path_factory):
    """fp16, int8 and int4, with perplexity on held-out text."""
    workspace = make_workspace(
        tmp_path_factory.mktemp("built") / "workspace",
        precisions=["int8", "fp16", "int4"],  # fp16 is built first nevertheless
        calibration=TEXTS,
        verification={"text": str(HELD_OUT), "perplexity_windows": 8},
    )
    build(workspace, OnnxRuntimeBackend())
    return workspace


def test_the_report_says_how_weights_were_made(by_gptq):
    report = report_of(by_gptq)
    stages = [stage_of(report, "quantize", precision) for precision in ("int8", "int4")]
    for stage, bits in zip(stages, (8, 4), strict=True):
        made = stage["quantization"]
        assert (made["method"], made["bits"], made["activations"]) == ("gptq", bits, "int8")
        assert (made["windows"], made["seqlen"], made["true_sequential"]) == (8, 64, True)
        assert (made["desc_act"], made["damp_percent"], made["device"]) == (True, 0.01, "cpu")
        assert made["group_size"] == (PER_CHANNEL if bits == 8 else 32)
    page = (by_gptq.root / "report.html").read_text()
    assert page.count("GPTQ, one scale per channel, int8 activations") == 1
    assert page.count("GPTQ, groups of 32, int8 activations") == 1
    windows = report["perplexity"]["windows"]
    assert windows["windows"] == 8
    assert [score["precision"] for score in windows["scores"]] == ["fp16", "int8", "int4"]
    assert windows["scores"][2]["perplexity"] > windows["scores"][0]["perplexity"]


def test_a_second_build_reuses_it_and_nothing_is_left_but_figures(by_gptq):
    recorder = build(by_gptq, OnnxRuntimeBackend())
    assert set(recorder.statuses(Stage.QUANTIZE)) == {Status.SKIPPED, Status.REUSED}
    work = by_gptq.root / ".vacc-gen" / "work"
    assert list(work.iterdir()) == [work / "verify.json"]


def test_without_texts_weights_are_rounded_and_caches_are_as_long_as_a_text(built_once):
    report = report_of(built_once)
    fp16, int8 = stage_of(report, "export", "fp16"), stage_of(report, "quantize", "int8")
    assert int8["quantization"]["method"] == "round_to_nearest"
    assert stage_of(report, "calibrate", "int8")["reason"] == (
        "the recipe names no calibration set: int8 is rounded to nearest"
    )
    # falcon-tiny: 4 layers, keys and values of one KV head of 32 channels; 128 tokens.
    values = 4 * 2 * 1 * 32 * 128
    assert fp16["kv_cache"] == {"dtype": "fp16", "bytes": 2 * values}
    assert int8["kv_cache"] == {"dtype": "fp32", "bytes": 4 * values}
    deployed = built_once.root / "deploy" / "falcon-tiny-fp16-tp1-64-128"
    assert fp16["weights_bytes"] == (deployed / "weights.bin").stat().st_size


def test_groups_and_exact_activations(tmp_path):
    workspace = make_workspace(
        tmp_path / "w",
        precisions=["int8"],
        calibration={**TEXTS, "samples": 2},
        quantization={"group_size": 16, "activations": "float", "desc_act": False},
    )
    build(workspace, OnnxRuntimeBackend(), until=Stage.QUANTIZE)
    made = stage_of(report_of(workspace), "quantize", "int8")["quantization"]
    assert (made["group_size"], made["activations"], made["desc_act"]) == (16, "float", False)
    assert "groups of 16, float" in (workspace.root / "report.html").read_text()


def test_a_model_that_cannot_be_computed_with_is_not_published(tmp_path):
    name = "transformer.h.0.mlp.dense_4h_to_h.weight"
    checkpoint = falcon_tiny_with(tmp_path / "falcon", {name: [70000.0]})
    model = {"preset": "falcon-tiny", "checkpoint": str(checkpoint)}
    workspace = make_workspace(tmp_path / "w", model=model, precisions=["fp16"])
    with pytest.raises(StageError, match="logits are NaN or infinite"):
        build(workspace, OnnxRuntimeBackend())
    assert not (workspace.root / "deploy").exists()
    report = report_of(workspace)
    assert "logits are NaN or infinite" in stage_of(report, "compile", "fp16")["reason"]
    exported = stage_of(report, "export", "fp16")
    assert exported["overflowed"] == {name: 1}
    assert exported["notes"][0].startswith(f"1 values of {name} are beyond 65504")
