"""Running compiled folders: the same logits as the oracle, the same text, clear refusals."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.falcons import VARIANTS, VOCABULARY, logits_of, make_falcon
from tests.workspaces import FALCON_TINY
from vacc_gen.generator.backends.onnxruntime import deployment, runtime
from vacc_gen.generator.backends.onnxruntime.runtime import (
    GenaiModel,
    OnnxRuntimeModel,
    Sampling,
    open_model,
)
from vacc_gen.schema.errors import UnreadableError, UsageError

pytest.importorskip("onnxruntime")
from tests.weight_folders import open_checkpoint
from vacc_gen.generator.backends.onnxruntime.deployment import end_tokens_of, find_deployed
from vacc_gen.generator.backends.onnxruntime.export import Deployment, plan_export


@pytest.fixture(scope="module", params=list(VARIANTS))
def pair(request, tmp_path_factory):
    """(deployed folder in fp32, oracle)."""
    folder = tmp_path_factory.mktemp(request.param)
    oracle = make_falcon(request.param, folder / "checkpoint")
    deploy(folder / "checkpoint", folder / "deployed", "fp32", 32)
    return folder / "deployed", oracle


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The trained checkpoint, deployed in fp16."""
    folder = tmp_path_factory.mktemp("trained") / "deployed"
    deploy(FALCON_TINY, folder, "fp16", 48)
    return folder


@pytest.fixture(params=["genai", "plain"])
def open_trained(request, monkeypatch):
    """Opens a folder with GenAI, or where it is not installed."""
    if request.param == "plain":
        monkeypatch.setattr(runtime, "package_version", lambda _: None)
    else:
        pytest.importorskip("onnxruntime_genai")
    kind = {"genai": GenaiModel, "plain": OnnxRuntimeModel}[request.param]

    def opened(folder):
        model = open_model(find_deployed(folder, None), threads=1)
        assert type(model) is kind
        return model

    return opened


NESTED = '{"artifacts": ' + "[" * 100_000
OUTSIDE = b'{"artifacts": [{"path": "../config.json", "bytes": 1, "sha256": ""}]}'


def deploy(checkpoint, folder, dtype, total):
    plan_export(open_checkpoint(checkpoint), dtype, Deployment(total)).write(folder)


def tokens(length, seed=0):
    return np.random.default_rng(seed).integers(3, VOCABULARY, length)


@pytest.mark.parametrize("prompt_length", [1, 16, 32])
def test_teacher_forced_to_the_last_slot(pair, prompt_length):
    """Prefill, then each further token up to the total length, one text after another."""
    folder, oracle = pair
    model = OnnxRuntimeModel(folder, threads=1)
    for seed in range(2):
        text = tokens(32, seed)
        expected = logits_of(oracle, text[None])[0, prompt_length - 1 :]
        rows = [model.prefill(text[:prompt_length])]
        rows += [model.decode(int(token)) for token in text[prompt_length:]]
        assert rows[0].dtype == np.float32
        np.testing.assert_allclose(rows, expected, atol=1e-4)


def test_greedy_text_is_the_oracle_s(pair, open_trained):
    """Prompts may hold any token: GenAI takes none of them for padding."""
    folder, oracle = pair
    model = open_trained(folder)
    for prompt in (tokens(1), tokens(20, seed=1), np.array([0, 1, 2, 2, 0, 11])):
        text = prompt.tolist()
        for token in model.generate(text.copy(), 12, Sampling(ignore_eos=True)):
            row = logits_of(oracle, np.array([text]))[0, -1]
            row[2] = -np.inf  # it ends a text
            assert row[token] == pytest.approx(row.max(), abs=1e-4)
            text.append(token)
        assert len(text) == len(prompt) + 12


def test_an_end_token_ends_the_text_and_is_not_shown(trained, tmp_path, open_trained):
    prompt = list(range(100, 110))
    free = list(open_trained(trained).generate(prompt, 12))
    folder = Path(shutil.copytree(trained, tmp_path / "copy"))
    config = json.loads((folder / "genai_config.json").read_text())
    config["model"]["eos_token_id"] = [free[5], 3]
    (folder / "genai_config.json").write_text(json.dumps(config))
    model = open_trained(folder)
    ended = free[: free.index(free[5])]
    assert list(model.generate(prompt, 12)) == ended
    assert list(model.generate(prompt, len(ended) + 1)) == ended
    assert len(list(model.generate(prompt, 12, Sampling(ignore_eos=True)))) == 12
    del config["model"]["eos_token_id"]
    (folder / "genai_config.json").write_text(json.dumps(config))
    assert list(open_model(folder).generate(prompt, 12)) == free


def test_sampling_is_repeatable_and_plain_sessions_have_none(trained, open_trained):
    model, prompt = open_trained(trained), list(range(100, 110))

    def sample(**options):
        return list(model.generate(prompt, 12, Sampling(**options, ignore_eos=True)))

    if isinstance(model, OnnxRuntimeModel):
        for options in ({"temperature": 1.0}, {"repetition_penalty": 0.9}):
            with pytest.raises(UsageError, match="sampling needs onnxruntime-genai"):
                sample(**options)
        return
    warm = [sample(temperature=1.0, seed=seed) for seed in (1, 1, 2)]
    assert warm[0] == warm[1] != warm[2]
    greedy = sample()
    assert sample(temperature=1.0, top_k=1) == sample(temperature=0.01, seed=3) == greedy
    assert sample(temperature=1.0, top_p=1e-6) == greedy
    assert sample(repetition_penalty=5.0) != greedy


@pytest.mark.parametrize(
    ("prompt", "max_tokens", "words"),
    [
        ([], 5, "the prompt has no tokens"),
        ([5] * 49, 0, "49 tokens of prompt and 0 of answer"),
        ([5] * 32, 17, "32 tokens of prompt and 17 of answer"),
    ],
)
def test_texts_that_do_not_fit(trained, open_trained, prompt, max_tokens, words):
    with pytest.raises(UsageError, match=words):
        list(open_trained(trained).generate(prompt, max_tokens))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("model.onnx", None, "model.onnx is missing"),
        ("model.onnx", b"\xff", "cannot load"),
        ("genai_config.json", b"\xff", "not valid JSON"),
        ("genai_config.json", b"{}", "is not what a build wrote"),
        ("weights.bin", b"", "weights.bin is [0-9]+ bytes long, its manifest says"),
        *(("manifest.json", text.encode(), "is not a manifest") for text in ("{", "[]", NESTED)),
        ("manifest.json", OUTSIDE, "copy/config.json is [0-9]+ bytes long"),
    ],
)
def test_a_folder_that_was_harmed(trained, tmp_path, open_trained, name, content, words):
    folder = Path(shutil.copytree(trained, tmp_path / "copy"))
    files = [
        {"path": file.name, "bytes": file.stat().st_size, "sha256": ""} for file in folder.iterdir()
    ]
    (folder / "manifest.json").write_text(json.dumps({"version": 1, "artifacts": files}))
    assert open_trained(folder).total_tokens == 48
    size = (folder / name).stat().st_size
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content.ljust(size) if content else content)
    with pytest.raises(UnreadableError, match=words):
        open_trained(folder)


def test_sessions_that_must_be_frugal_compute_the_same(trained, monkeypatch):
    """Only where fp32 copies would not fit are weights cast as they are used."""
    prompt, rows = list(range(100, 120)), []
    for available in (1 << 40, 1 << 20):
        monkeypatch.setattr(deployment, "available_bytes", lambda available=available: available)
        model = open_model(trained)
        assert isinstance(model, OnnxRuntimeModel) or available == 1 << 40
        model = OnnxRuntimeModel(trained)
        rows.append([model.prefill(prompt), *(model.decode(token) for token in range(20, 30))])
    plenty, little = map(np.stack, rows)
    np.testing.assert_allclose(little, plenty, atol=0.02)
    np.testing.assert_array_equal(little.argmax(-1), plenty.argmax(-1))


@pytest.mark.parametrize(
    ("dtype", "session"), [("fp16", {"session.disable_prepacking": "1"}), ("int8", {})]
)
def test_the_config_names_what_the_graph_has(tmp_path, dtype, session):
    deploy(FALCON_TINY, tmp_path / "deployed", dtype, 96)
    config = json.loads((tmp_path / "deployed" / "genai_config.json").read_text())
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
    quiet = {"log_severity_level": 3, "provider_options": []}
    assert decoder["session_options"] == {**quiet, **session}
    graph = onnx.load(tmp_path / "deployed" / "model.onnx", load_external_data=False).graph
    layers = range(decoder["num_hidden_layers"])
    for part, values in (("inputs", graph.input), ("outputs", graph.output)):
        patterns = decoder[part].values()
        named = {p % i if "%d" in p else p for p in patterns for i in layers}
        assert named == {value.name for value in values}
    operators = {node.op_type for node in graph.node}
    assert "GroupQueryAttention" in operators
    assert ("MatMulIntegerToFloat" in operators) == (dtype == "int8")


def test_alibi_keeps_plain_operators_and_a_cache_that_grows(tmp_path):
    deploy(FALCON_TINY.with_name("falcon-tiny-rw"), tmp_path / "deployed", "fp32", 96)
    config = json.loads((tmp_path / "deployed" / "genai_config.json").read_text())
    assert config["search"]["past_present_share_buffer"] is False
    graph = onnx.load(tmp_path / "deployed" / "model.onnx", load_external_data=False).graph
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
