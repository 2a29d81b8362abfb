"""Running compiled folders: the same logits as the oracle, the same text, clear refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.falcons import VARIANTS, VOCABULARY, logits_of, make_falcon
from vacc_gen.generator.backends.onnxruntime import runtime
from vacc_gen.generator.backends.onnxruntime.runtime import (
    GenaiModel,
    OnnxRuntimeModel,
    Sampling,
    open_model,
)
from vacc_gen.generator.calibration.tokenizer import Tokenizer
from vacc_gen.schema.errors import UnreadableError, UsageError

pytest.importorskip("onnxruntime")
from vacc_gen.generator.backends.onnxruntime.deployment import end_tokens_of
from vacc_gen.generator.backends.onnxruntime.export import Deployment, export_graphs
from vacc_gen.generator.backends.onnxruntime.weights.source import open_checkpoint

FALCON_TINY = Path(__file__).parents[3] / "data" / "falcon-tiny"


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
        model = open_model(folder, threads=1)
        assert type(model) is kind
        return model

    return opened


NESTED = '{"artifacts": ' + "[" * 100_000
OUTSIDE = '{"artifacts": [{"path": "../config.json", "bytes": 1, "sha256": ""}]}'


def deploy(checkpoint, folder, dtype, total):
    export_graphs(open_checkpoint(checkpoint), folder, dtype=dtype, lengths=Deployment(total))


def with_manifest(trained, tmp_path):
    """A copy of a compiled folder, with the sizes of its files in a manifest."""
    folder = Path(shutil.copytree(trained, tmp_path / "copy"))
    files = [
        {"path": file.name, "bytes": file.stat().st_size, "sha256": ""} for file in folder.iterdir()
    ]
    (folder / "manifest.json").write_text(json.dumps({"version": 1, "artifacts": files}))
    return folder


def overwrite(file):
    file.write_bytes(b"\xff" * file.stat().st_size)


def tokens(length, seed=0):
    return np.random.default_rng(seed).integers(3, VOCABULARY, length)


@pytest.mark.parametrize("prompt_length", [1, 16, 32])
def test_teacher_forced_to_the_last_slot(pair, prompt_length):
    """Prefill, then each further token up to the total length, one text after another."""
    folder, oracle = pair
    model = OnnxRuntimeModel(folder, threads=1)
    for seed in range(2):
        text = tokens(32, seed)
        expected = logits_of(oracle, text[None])[0]
        logits = model.prefill(text[:prompt_length])
        assert logits.shape == (VOCABULARY,)
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, expected[prompt_length - 1], atol=1e-4)
        for step in range(prompt_length, 32):
            assert model.position == step
            np.testing.assert_allclose(model.decode(int(text[step])), expected[step], atol=1e-4)


def test_a_text_goes_on_again_from_its_prompt(pair):
    folder, oracle = pair
    model = OnnxRuntimeModel(folder, threads=1)
    prompt, *answers = (tokens(count, seed=count).tolist() for count in (8, 9, 5))
    model.prefill(prompt[:3])
    model.prefill(prompt)
    for answer in answers:
        expected = logits_of(oracle, np.array([prompt + answer]))[0, len(prompt) :]
        rows = [model.decode(token) for token in answer]
        np.testing.assert_allclose(rows, expected, atol=1e-4)
        model.rewind()
        assert model.position == len(prompt)


def test_greedy_text_is_the_oracle_s(pair, open_trained):
    """Prompts may hold any token: GenAI takes none of them for padding."""
    folder, oracle = pair
    model = open_trained(folder)
    for prompt in (tokens(1), tokens(20, seed=1), np.array([0, 1, 2, 2, 0, 11])):
        text = prompt.tolist()
        for token in model.generate(text.copy(), 12, ignore_eos=True):
            row = logits_of(oracle, np.array([text]))[0, -1]
            row[list(end_tokens_of(folder))] = -np.inf
            assert row[token] == pytest.approx(row.max(), abs=1e-4)
            text.append(token)
        assert len(text) == len(prompt) + 12


@pytest.mark.parametrize("name", ["falcon-tiny", "falcon-tiny-40b", "falcon-tiny-rw"])
def test_trained_models_say_what_transformers_lets_them_say(tmp_path, name, open_trained):
    """In fp16, whose roundings change no choice here."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    checkpoint = FALCON_TINY.with_name(name)
    deploy(checkpoint, tmp_path / "deployed", "fp16", 64)
    prompt = Tokenizer(checkpoint / "tokenizer.json").encode(b"In the beginning God created")
    reference = transformers.FalconForCausalLM.from_pretrained(
        checkpoint, dtype=torch.float32, attn_implementation="sdpa"
    )
    (expected,) = reference.generate(torch.tensor([prompt]), max_new_tokens=32, do_sample=False)
    answer = list(open_trained(tmp_path / "deployed").generate(prompt, 32))
    assert [*prompt, *answer] == expected.tolist()[: len(prompt) + len(answer)]
    assert len(answer) > 16


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
    assert len(list(model.generate(prompt, 12, ignore_eos=True))) == 12
    del config["model"]["eos_token_id"]
    (folder / "genai_config.json").write_text(json.dumps(config))
    assert list(open_model(folder).generate(prompt, 12)) == free


def test_sampling_is_repeatable_and_plain_sessions_have_none(trained, open_trained):
    model, prompt = open_trained(trained), list(range(100, 110))

    def sample(**options):
        return list(model.generate(prompt, 12, Sampling(**options), ignore_eos=True))

    if isinstance(model, OnnxRuntimeModel):
        with pytest.raises(UsageError, match="sampling needs onnxruntime-genai"):
            sample(temperature=1.0)
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
    ("harm", "words"),
    [
        (lambda folder: (folder / "model.onnx").unlink(), "model.onnx is missing"),
        (lambda folder: overwrite(folder / "genai_config.json"), "not valid JSON"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json is missing"),
        (lambda folder: (folder / "weights.bin").write_bytes(b"short"), "is 5 bytes long"),
        (lambda folder: overwrite(folder / "model.onnx"), "cannot load"),
    ],
)
def test_a_folder_that_was_harmed(trained, tmp_path, harm, words, open_trained):
    folder = with_manifest(trained, tmp_path)
    assert open_trained(folder).total_tokens == 48
    harm(folder)
    with pytest.raises(UnreadableError, match=words):
        open_trained(folder)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        *((text, "is not a manifest") for text in ("{", "[]", "{}", '{"artifacts": [1]}', NESTED)),
        (OUTSIDE, "copy/config.json is [0-9]+ bytes long"),
    ],
)
def test_a_manifest_that_was_harmed(trained, tmp_path, text, words):
    folder = with_manifest(trained, tmp_path)
    (folder / "manifest.json").write_text(text)
    with pytest.raises(UnreadableError, match=words):
        OnnxRuntimeModel(folder)
