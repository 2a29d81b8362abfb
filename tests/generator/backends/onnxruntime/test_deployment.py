"""A deployed folder: what is in it, and what tells ONNX Runtime GenAI about it."""

from __future__ import annotations

import json

import onnx
import pytest

from tests.workspaces import FALCON_TINY

pytest.importorskip("torch")
from vacc_gen.generator.backends.onnxruntime.deployment import end_tokens_of
from vacc_gen.generator.backends.onnxruntime.export import Deployment, plan_export
from vacc_gen.generator.backends.onnxruntime.weights.source import open_checkpoint

SESSIONS = {
    "fp16": {"session.disable_prepacking": "1"},
    "int8": {},
}


@pytest.mark.parametrize("dtype", list(SESSIONS))
def test_the_config_names_what_the_graph_has(tmp_path, dtype):
    folder = tmp_path / "deployed"
    plan_export(open_checkpoint(FALCON_TINY), dtype, Deployment(96)).write(folder)
    config = json.loads((folder / "genai_config.json").read_text())
    decoder = config["model"].pop("decoder")
    assert config == {
        "model": {
            "type": "decoder",
            "vocab_size": 2048,
            "context_length": 96,
            "eos_token_id": [11],
            "pad_token_id": -1,
        },
        "search": {"max_length": 96, "past_present_share_buffer": True},
    }
    session = {"log_severity_level": 3, "provider_options": [], **SESSIONS[dtype]}
    assert decoder["session_options"] == session
    graph = onnx.load(folder / decoder["filename"], load_external_data=False).graph
    layers = range(decoder["num_hidden_layers"])
    for part, values in (("inputs", graph.input), ("outputs", graph.output)):
        patterns = decoder[part].values()
        named = {p % i if "%d" in p else p for p in patterns for i in layers}
        assert named == {value.name for value in values}
    operators = {node.op_type for node in graph.node}
    assert "GroupQueryAttention" in operators
    assert ("MatMulIntegerToFloat" in operators) == (dtype == "int8")


def test_alibi_keeps_plain_operators_and_a_cache_that_grows(tmp_path):
    folder = tmp_path / "deployed"
    checkpoint = open_checkpoint(FALCON_TINY.with_name("falcon-tiny-rw"))
    plan_export(checkpoint, "fp32", Deployment(96)).write(folder)
    config = json.loads((folder / "genai_config.json").read_text())
    assert config["search"]["past_present_share_buffer"] is False
    graph = onnx.load(folder / "model.onnx", load_external_data=False).graph
    assert {node.domain for node in graph.node} == {""}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"generation_config.json": {"eos_token_id": [3, 4]}}, {3, 4}),
        ({"generation_config.json": {}, "config.json": {"eos_token_id": 11}}, {11}),
        ({"config.json": {"eos_token_id": 0}}, {0}),
        ({}, set()),
    ],
)
def test_end_tokens(tmp_path, files, expected):
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    assert end_tokens_of(tmp_path) == expected
