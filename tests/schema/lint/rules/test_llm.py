import json
import os

import pytest

from tests.published import FOLDER
from vacc_gen.schema.lint.check import check_text

CONFIG = (FOLDER / "llm/falcon/build_in/build/hf_falcon_fp16.yaml").read_text(encoding="utf-8")
RECIPE = "version: 2\nmodel:\n  preset: falcon-7b\n  checkpoint: weights\n"


@pytest.fixture
def weights(tmp_path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    return tmp_path / "weights"


def found(weights):
    config = CONFIG.replace("/path/to/falcon-7b-instruct", "weights")
    return [
        [one.message for one in check_text(text, str(weights.parent / name)) if one.code == "VG604"]
        for text, name in ((RECIPE, "vacc.yaml"), (config, "x.yaml"))
    ]


def test_a_readable_checkpoint_says_nothing_and_an_absent_one_neither(weights):
    assert found(weights) == [[], []]
    (weights / "config.json").unlink()
    weights.rmdir()
    assert found(weights) == [[], []]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "is not there"),
        (b"{", "is not valid JSON"),
        (b"[" * 100_000, "is not valid JSON"),
        (b"\xff\xfe", "is not valid JSON"),
        (b"[]", "is not a JSON object"),
        ("fifo", "cannot be read: not a regular file"),
    ],
    ids=["none", "cut", "nested", "utf-16", "list", "fifo"],
)
def test_a_checkpoint_that_cannot_be_read_is_told(weights, content, fault):
    config = weights / "config.json"
    config.unlink()
    if content == "fifo":
        os.mkfifo(config)
    elif content is not None:
        config.write_bytes(content)
    assert found(weights) == [[f"the checkpoint's config.json {fault}"]] * 2


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        ("https://example.com/falcon-7b-instruct", "a URL is no checkpoint"),
        ("/w/falcon-7b-instruct/model.safetensors", "the checkpoint is a file"),
        ("/w/falcon-7b-instruct/config.json", "the checkpoint is a file"),
        ("org/falcon-7b-instruct", None),
    ],
)
def test_a_checkpoint_that_is_no_folder_is_told(checkpoint, message):
    text = CONFIG.replace("/path/to/falcon-7b-instruct", checkpoint)
    told = [one.message for one in check_text(text, "x.yaml") if one.code == "VG301"]
    assert len(told) == (message is not None)
    assert not told or told[0].startswith(message)
