import json

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
