"""`vacc-gen export`, as a user calls it."""

from pathlib import Path

import pytest

from tests.workspaces import FALCON_TINY, falcon_tiny_with


def test_it_names_what_it_wrote(run):
    code, out, err = run("export", FALCON_TINY, "--out", "out", "--dtype", "int8")
    assert (code, err) == (0, "")
    graph, weights = out.splitlines()
    assert graph.startswith("out/model.onnx")
    assert weights == "out/weights.bin  2.7 MB"
    code, out, err = run("export", FALCON_TINY, "--out", "out")
    assert (code, out) == (2, "")
    assert "is not empty" in err


@pytest.mark.parametrize(
    ("checkpoint", "options", "code", "words"),
    [
        (".", "", 1, "has no config.json"),
        (FALCON_TINY, "--total 64", 2, "go together"),
        (FALCON_TINY, "--prefill 8 --total 16", 2, "length 8 is not a positive multiple of 16"),
    ],
)
def test_refusals(run, checkpoint, options, code, words):
    got, out, err = run("export", checkpoint, "--out", "out", *options.split())
    assert (got, out) == (code, "")
    assert words in err
    assert list(Path().iterdir()) == []


def test_values_that_fp16_does_not_hold(run, tmp_path):
    name = "transformer.h.1.mlp.dense_4h_to_h.weight"
    falcon_tiny_with(tmp_path / "large", {name: [70000.0, -1e30, 65280.0]})
    code, _, err = run("export", "large", "--out", "out")
    assert code == 0
    assert f"warning: 2 values of {name} are beyond 65504, the largest of fp16" in err
    assert "hint: export with --dtype fp32 or int8" in err
    assert run("export", "large", "--out", "whole", "--dtype", "fp32").err == ""
