import json
import os

import pytest

from tests.published import FOLDER
from tests.schema.lint.examples import KNOWN
from vacc_gen.presets import MODELS
from vacc_gen.schema.lint.check import check_text

CONFIG = (FOLDER / "llm/falcon/build_in/build/hf_falcon_fp16.yaml").read_text(encoding="utf-8")
CHECKPOINT = "/path/to/falcon-7b-instruct"
RECIPE = "version: 2\nmodel:\n  preset: falcon-7b\n  checkpoint: weights\n"
ALIGNED = "\n    align_qkv: true"


def config(heads, kv_heads):
    return {
        "model_type": "llama",
        "hidden_size": heads * 16,
        "num_hidden_layers": 2,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": 64,
        "vocab_size": 128,
        "max_position_embeddings": 2048,
    }


@pytest.fixture
def weights(tmp_path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    return tmp_path / "weights"


KV_HEADS = "{} KV heads cannot be split evenly over tp {}"
HEADS = "{} attention heads cannot be split evenly over tp {}"


@pytest.mark.parametrize(
    ("heads", "kv_heads", "tp", "message"),
    [
        (32, 8, "4", None),
        (32, 2, "4", None),
        (71, 1, "4", None),
        (32, 8, "12", KV_HEADS.format(8, 12)),
        (24, 8, "6", KV_HEADS.format(8, 6)),
        (24, 8, "6" + ALIGNED, None),
        (32, 8, "12" + ALIGNED, HEADS.format(32, 12)),
        (40, 40, "16", KV_HEADS.format(40, 16)),
        (12, 2, "8", HEADS.format(12, 8)),
    ],
)
def test_heads_are_split_as_published_ones(weights, heads, kv_heads, tp, message):
    (weights / "config.json").write_text(json.dumps(config(heads, kv_heads)))
    text = CONFIG.replace(CHECKPOINT, "weights").replace("tp: 4", f"tp: {tp}")
    result = check_text(text, str(weights.parent / "x.yaml"))
    places = [one for one in result if one.code == "VG601"]
    assert [(one.line, one.column, one.message) for one in places] == (
        [(10, 9, message)] if message else []
    )
    if "attention" in (message or ""):
        hint = "no published config splits heads so; take a tp that divides them"
        assert places[0].hint == hint


@pytest.mark.parametrize(
    ("lengths", "column"),
    [("[[1024], [2048]]", None), ("[[4096], []]", None), ("[[64], [2064]]", 24)],
)
def test_total_within_the_positions(lengths, column):
    result = check_text(CONFIG.replace("[[1024], [2048]]", lengths), "x.yaml", KNOWN)
    places = [(one.column, one.message) for one in result if one.code == "VG603"]
    message = "total 2064 is longer than the model's 2048 positions"
    assert places == ([(column, message)] if column else [])


def test_a_model_that_is_not_known_is_not_judged():
    text = CONFIG.replace("falcon-7b-instruct", "falcon-x").replace("[2048]", "[20480]")
    codes = [one.code for one in check_text(text.replace("tp: 4", "tp: 3"), "x.yaml", KNOWN)]
    assert not {"VG601", "VG603"} & {*codes}


def test_what_presets_recommend_has_no_findings():
    for preset in MODELS.all():
        target, text = preset.recommended, CONFIG.replace("falcon-7b-instruct", preset.name)
        lengths = f"[[{target.prefill}], [{target.total}]]"
        text = text.replace("tp4-1024-2048", f"tp{target.tp}-{target.prefill}-{target.total}")
        text = text.replace("tp: 4", f"tp: {target.tp}").replace("[[1024], [2048]]", lengths)
        codes = [one.code[:3] for one in check_text(text, "x.yaml", KNOWN)]
        assert not {"VG2", "VG3", "VG6"} & {*codes}, preset.name


def found(weights):
    text = CONFIG.replace(CHECKPOINT, "weights")
    texts = {"VG605": (RECIPE, "vacc.yaml"), "VG604": (text, "x.yaml")}
    return [
        (one.line, one.column, one.severity.value, one.message)
        for code, (text, name) in texts.items()
        for one in check_text(text, str(weights.parent / name))
        if one.code == code
    ]


def test_a_readable_checkpoint_is_not_reported_and_an_absent_one_neither(weights):
    assert found(weights) == []
    (weights / "config.json").unlink()
    weights.rmdir()
    assert found(weights) == []


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "is missing"),
        (b"{", "is not valid JSON"),
        (b"[" * 100_000, "is not valid JSON"),
        (b"\xff\xfe", "is not valid JSON"),
        (b"[]", "is not a JSON object"),
        ("fifo", "cannot be read: not a regular file"),
    ],
    ids=["none", "cut", "nested", "utf-16", "list", "fifo"],
)
def test_a_checkpoint_that_cannot_be_read(weights, content, fault):
    config = weights / "config.json"
    config.unlink()
    if content == "fifo":
        os.mkfifo(config)
    elif content is not None:
        config.write_bytes(content)
    severity, message = "error" if content else "warning", f"the checkpoint's config.json {fault}"
    assert found(weights) == [(4, 15, severity, message), (4, 15, severity, message)]


def test_other_checkpoints_have_no_config(weights):
    (weights / "config.json").unlink()
    text = "name: m\nfrontend: {checkpoint: weights, type: tensorflow, shape: {x: [1]}}\n"
    text += "backend: {type: tvm_vacc, dtype: fp16}\nworkspace: {path: ./out}\n"
    assert check_text(text, str(weights.parent / "x.yaml")) == []
