"""Branches of the rules about names that their examples do not show."""

import json

import pytest

from tests.schema.lint.examples import LANGUAGE_MODEL, assert_findings_on_record, findings_in
from vacc_gen.schema.lint.check import check_text

FALCON = """\
name: {name}
frontend:
  checkpoint: /models/falcon-7b
  type: huggingface
  shape: {{input_ids: {shape}}}
  model_kwargs: {{model_arch: vacc, tp: 4}}
  {quantize}
backend: {{type: tvm_vacc, dtype: {dtype}}}
{dataset}
workspace: {{path: ./out}}
"""
FILLED = {
    "name": "falcon-7b",
    "shape": "[[1024], [2048]]",
    "quantize": "",
    "dtype": "fp16",
    "dataset": "",
}
NAMES = [
    *("falcon-7b-INT8", "falcon-7b-bf16-int4", "falcon-TP8", "falcon-1024-4096", "falcon-512_2048"),
    *(f"falcon-7b-{end}" for end in ("int8-fp16", "fp16x", "tp04", "tp1000", "http8")),
    *(f"falcon-7b-{end}" for end in ("16-1024-2048", "1024-2048-v2", "1024-4096k")),
    "falcon-2.11-20",
]
W16KV8, GPTQ = "quantize: {type: w16kv8}", "quantize: {type: w8a16_gptq}"
KV8 = [
    {"name": "falcon-7b-kv8"},
    {"name": "falcon-7b-kv8", "quantize": GPTQ, "dtype": "int8"},
    {"name": "falcon-7b", "quantize": W16KV8, "dtype": "int8"},
    {"name": "falcon-7b-kv8", "quantize": W16KV8, "dtype": "int8"},
    {"name": "falcon-7b", "quantize": GPTQ, "dtype": "int8"},
    {"name": "falcon-kv8", "dtype": "int8"},
    {"name": "falcon-kv8", "dtype": "int8", "dataset": "dataset: {type: huggingface, name: c4}"},
]


def test_what_is_said_of_a_name():
    cases = [*({"name": name} for name in NAMES), *KV8]
    cases.append({"name": "falcon-7b-512-2048", "shape": "[[1024], []]"})
    found = {
        ", ".join(values.values()): [
            f"{one.code} {one.line}:{one.column} {one.message}"
            for one in check_text(FALCON.format(**{**FILLED, **values}), "x.yaml")
        ]
        for values in cases
    }
    assert_findings_on_record("names.txt", found)


@pytest.mark.parametrize(
    ("written", "is_fixable"), [("falcon-INT8", True), (r'"falcon\x2dint8"', False)]
)
def test_a_precision_is_replaced_only_where_it_stands_as_it_reads(written, is_fixable):
    (one,) = check_text(FALCON.format(**{**FILLED, "name": written}), "x.yaml")
    assert (one.code, one.column) == ("VG201", 14 if is_fixable else 7)
    assert bool(one.fix) == is_fixable


def test_names_of_other_models_follow_no_custom():
    text = (
        "name: resnet2-kv8\nfrontend: {checkpoint: resnet3.onnx, shape: {input: [1, 3, 64, 64]}}\n"
        "backend: {type: tvm_vacc, dtype: fp16}\nworkspace: {path: ./out}\n"
    )
    assert check_text(text, "yolo.yaml") == []


def named(name, **sections):
    return json.dumps({**LANGUAGE_MODEL, "name": name, **sections})


def beside(first, second):
    """Return two configs of one name with these workspaces."""
    return {"a.yaml": named("x", workspace=first), "b.yaml": named("x", workspace=second)}


INT8 = {"type": "tvm_vacc", "dtype": "int8"}
OF_HRNET = {"hrnet/a.yaml": named("official_pfld_fp16")}
TOGETHER = [
    beside({"path": "./out"}, {"path": "out/"}),
    beside({"path": "./out"}, {"path": "./other"}),
    beside({"path": "../out"}, {"path": "../out"}),
    beside({"work_dir": "./out"}, {"path": "out"}),
    {"a/x.yaml": named("bert"), "b/y.yaml": named("bert")},
    {"c/a.yaml": named("x-int8"), "c/b.yaml": named("x-int8", backend=INT8)},  # VG201
    {**OF_HRNET, "mtcnn/b.yaml": named("official_pfld")},
    {**OF_HRNET, "pfld/a.yaml": named("official_pfld_fp16")},
]


def test_what_is_said_of_names_beside_each_other(tmp_path):
    found = {}
    for index, files in enumerate(TOGETHER):
        case = f"{index}: {', '.join(files)}"
        found[case] = findings_in(tmp_path / str(index), files, "VG25")
    assert_findings_on_record("together.txt", found)
