"""Running compiled folders: the same logits as the oracle, the same text, clear refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.falcons import VARIANTS, VOCABULARY, logits_of, make_falcon
from vacc_gen.generator.backends.onnxruntime.runtime import OnnxRuntimeModel
from vacc_gen.schema.errors import UnreadableError, UsageError

pytest.importorskip("onnxruntime")
from vacc_gen.generator.backends.onnxruntime.export import Lengths, export_graphs
from vacc_gen.generator.backends.onnxruntime.weights.source import open_checkpoint

FALCON_TINY = Path(__file__).parents[3] / "data" / "falcon-tiny"


@pytest.fixture(scope="module", params=list(VARIANTS))
def pair(request, tmp_path_factory):
    """(compiled folder in fp32, oracle)."""
    folder = tmp_path_factory.mktemp(request.param)
    oracle = make_falcon(request.param, folder / "checkpoint")
    compile_falcon(folder / "checkpoint", folder / "compiled", "fp32", Lengths(16, 32))
    return folder / "compiled", oracle


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The trained checkpoint, compiled in fp16."""
    folder = tmp_path_factory.mktemp("trained") / "compiled"
    compile_falcon(FALCON_TINY, folder, "fp16", Lengths(32, 48))
    return folder


NESTED = '{"artifacts": ' + "[" * 100_000
OUTSIDE = '{"artifacts": [{"path": "../config.json", "bytes": 1, "sha256": ""}]}'


def compile_falcon(checkpoint, folder, dtype, lengths):
    export_graphs(open_checkpoint(checkpoint), folder, dtype=dtype, lengths=lengths)


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


@pytest.mark.parametrize("prompt_length", [1, 16])
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


@pytest.mark.parametrize("one_session", [False, True])
def test_a_text_goes_on_again_from_its_prompt(pair, one_session):
    folder, oracle = pair
    model = OnnxRuntimeModel(folder, threads=1, one_session=one_session)
    prompt, *answers = (tokens(count, seed=count).tolist() for count in (8, 9, 5))
    model.prefill(prompt[:3])
    model.prefill(prompt)
    for answer in answers:
        expected = logits_of(oracle, np.array([prompt + answer]))[0, len(prompt) :]
        rows = [model.decode(token) for token in answer]
        np.testing.assert_allclose(rows, expected, atol=1e-4)
        model.rewind()
        assert model.position == len(prompt)


def test_prefill_may_be_as_long_as_the_total(tmp_path):
    oracle = make_falcon("7b", tmp_path / "checkpoint")
    compile_falcon(tmp_path / "checkpoint", tmp_path / "out", "fp32", Lengths(16, 16))
    model = OnnxRuntimeModel(tmp_path / "out", threads=1)
    text = tokens(16)
    expected = logits_of(oracle, text[None])[0]
    np.testing.assert_allclose(model.prefill(text), expected[-1], atol=1e-4)
    np.testing.assert_allclose(model.prefill(text[:15]), expected[14], atol=1e-4)
    np.testing.assert_allclose(model.decode(int(text[15])), expected[15], atol=1e-4)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"generation_config.json": {"eos_token_id": [3, 4]}}, {3, 4}),
        ({"generation_config.json": {}, "config.json": {"eos_token_id": 11}}, {11}),
        ({"config.json": {"eos_token_id": 0}}, {0}),
        ({}, set()),
    ],
)
def test_end_tokens(trained, tmp_path, files, expected):
    folder = Path(shutil.copytree(trained, tmp_path / "copy"))
    for name in ("generation_config.json", "config.json"):
        (folder / name).unlink()
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    assert OnnxRuntimeModel(folder).end_tokens == expected


def test_an_end_token_ends_the_text_and_is_not_shown(trained, tmp_path):
    prompt = list(range(100, 110))
    free = list(OnnxRuntimeModel(trained).generate(prompt, 12))
    end = free[5]
    folder = Path(shutil.copytree(trained, tmp_path / "copy"))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": end}))
    assert list(OnnxRuntimeModel(folder).generate(prompt, 12)) == free[: free.index(end)]


@pytest.mark.parametrize(
    ("prompt", "max_tokens", "words"),
    [
        ([], 5, "the prompt has 0 tokens"),
        ([5] * 33, 5, "33 tokens, this model takes 1 to 32"),
        ([5] * 32, 17, "32 tokens of prompt and 17 of answer"),
    ],
)
def test_texts_that_do_not_fit(trained, prompt, max_tokens, words):
    with pytest.raises(UsageError, match=words):
        list(OnnxRuntimeModel(trained).generate(prompt, max_tokens))


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda folder: (folder / "decode.onnx").unlink(), "decode.onnx is missing"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json is missing"),
        (lambda folder: (folder / "weights.bin").write_bytes(b"short"), "is 5 bytes long"),
        (lambda folder: overwrite(folder / "prefill.onnx"), "cannot load"),
    ],
)
def test_a_folder_that_was_harmed(trained, tmp_path, harm, words):
    folder = with_manifest(trained, tmp_path)
    assert OnnxRuntimeModel(folder).total_tokens == 48
    harm(folder)
    with pytest.raises(UnreadableError, match=words):
        OnnxRuntimeModel(folder).prefill([5])


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
