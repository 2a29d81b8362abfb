import json
import os

import pytest

from tests.published import FOLDER
from vacc_gen.presets import KNOWN
from vacc_gen.schema.lint.check import check_text

CONFIG = (FOLDER / "llm/falcon/build_in/build/hf_falcon_fp16.yaml").read_text(encoding="utf-8")
CHECKPOINT = "/path/to/falcon-7b-instruct"
ALIGNED = "\n    align_qkv: true"
KV_HEADS = "{} KV heads cannot be split evenly over tp {}"
HEADS = "{} attention heads cannot be split evenly over tp {}"


def found(path, text, code):
    return [
        (one.line, one.column, one.message)
        for one in check_text(text, str(path), KNOWN)
        if one.code == code
    ]


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
def test_heads_are_split_as_published_ones(tmp_path, heads, kv_heads, tp, message):
    sizes = dict.fromkeys(("num_hidden_layers", "intermediate_size", "vocab_size"), 64)
    sizes |= {"num_attention_heads": heads, "num_key_value_heads": kv_heads}
    sizes |= {"hidden_size": heads * 16, "max_position_embeddings": 2048}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", **sizes}))
    text = CONFIG.replace(CHECKPOINT, ".").replace("tp: 4", f"tp: {tp}")
    assert found(tmp_path / "x.yaml", text, "VG601") == ([(10, 9, message)] if message else [])


def test_a_model_that_is_not_known_is_not_judged():
    text = CONFIG.replace("falcon-7b-instruct", "falcon-x").replace("[2048]", "[20480]")
    text = text.replace("tp: 4", "tp: 3")
    assert found("x.yaml", text, "VG601") == found("x.yaml", text, "VG603") == []


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"{}", None),
        (None, "the checkpoint's config.json is missing"),
        (b"{", "{file} is not valid JSON: "),
        (b"[" * 100_000, "{file} is not valid JSON: "),
        (b"\xff\xfe", "{file} is not valid JSON: "),
        (b"[]", "{file} is not valid JSON: not an object (at character 1)"),
        ("fifo", "cannot read {file}: not a regular file"),
    ],
    ids=["whole", "none", "cut", "nested", "utf-16", "list", "fifo"],
)
def test_a_checkpoint_that_cannot_be_read(tmp_path, content, fault):
    config, text = tmp_path / "weights" / "config.json", CONFIG.replace(CHECKPOINT, "weights")
    assert found(tmp_path / "x.yaml", text, "VG604") == []  # a folder that is not there yet
    config.parent.mkdir()
    if content == "fifo":
        os.mkfifo(config)
    elif content is not None:
        config.write_bytes(content)
    places = [one for one in check_text(text, str(tmp_path / "x.yaml")) if one.code == "VG604"]
    said = [(one.line, one.column, one.severity.value) for one in places]
    assert said == ([(4, 15, "error" if content else "warning")] if fault else [])
    assert all(one.message.startswith(fault.format(file=config)) for one in places)
    image = "name: m\nfrontend: {checkpoint: weights, type: tensorflow, shape: {x: [1]}}\n"
    image += "backend: {type: tvm_vacc, dtype: fp16}\nworkspace: {path: ./out}\n"
    assert check_text(image, str(tmp_path / "x.yaml")) == []
