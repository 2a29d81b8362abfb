"""The modeling file in a weight folder, as the compiler loads it: by `auto_map`."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from transformers import dynamic_module_utils

REPOSITORY = Path(__file__).parents[3]
MODELING = REPOSITORY / "generator" / "templates" / "modeling_falcon_vacc.py"
TRAINED = REPOSITORY / "tests" / "data" / "falcon-tiny"
AUTO_MAP = {
    "AutoConfig": "modeling_falcon_vacc.FalconConfig",
    "AutoModel": "modeling_falcon_vacc.FalconModel",
    "AutoModelForCausalLM": "modeling_falcon_vacc.FalconForCausalLM",
}
PROMPTS = ["And the LORD said unto Moses", "In the beginning", "Blessed are they that"]


@pytest.fixture(autouse=True)
def modules_cache(tmp_path_factory, monkeypatch):
    """Keep transformers from copying the modeling file to the user's own cache."""
    cache = str(tmp_path_factory.getbasetemp() / "modules")
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", cache)


def prepare(folder, config, **changes):
    """Make `folder` loadable with trust_remote_code: the config, and the modeling file."""
    shutil.copy(MODELING, folder)
    config = {**config, "auto_map": AUTO_MAP, "_attn_implementation": "eager", **changes}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(params=[False, True], ids=["all positions", "insert_slice"])
def trained(request, tmp_path):
    """The trained checkpoint of tests/data with the modeling file beside it."""
    for file in TRAINED.iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "config.json").unlink()
    config = json.loads((TRAINED / "config.json").read_text())
    return prepare(tmp_path, config, insert_slice=request.param)


def load(auto, folder):
    return auto.from_pretrained(folder, trust_remote_code=True, torch_dtype=torch.float32)


def test_greedy_text_of_a_trained_checkpoint(trained):
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        TRAINED, torch_dtype=torch.float32, attn_implementation="eager"
    )
    ours = load(transformers.AutoModelForCausalLM, trained)
    assert type(ours).__module__.endswith("modeling_falcon_vacc")
    assert ours.lm_head.weight is ours.transformer.word_embeddings.weight
    tokenizer = transformers.AutoTokenizer.from_pretrained(TRAINED)
    tokenizer.pad_token, tokenizer.padding_side = tokenizer.eos_token, "left"
    batch = tokenizer(PROMPTS, return_tensors="pt", padding=True)
    batch.pop("token_type_ids", None)
    arguments = {**batch, "max_new_tokens": 48, "do_sample": False, "pad_token_id": 11}
    expected = theirs.generate(**arguments)
    assert torch.equal(ours.generate(**arguments), expected)
    for prompt, text in zip(PROMPTS, tokenizer.batch_decode(expected), strict=True):
        assert prompt in text and len(text) > len(prompt) + 60


def test_auto_model_is_the_model_without_its_head(trained):
    whole = load(transformers.AutoModelForCausalLM, trained)
    body = load(transformers.AutoModel, trained)
    assert type(body).__name__ == "FalconModel"
    input_ids = torch.arange(20)[None]
    last = whole(input_ids, use_cache=False).logits[:, -1]
    torch.testing.assert_close(whole.lm_head(body(input_ids).last_hidden_state)[:, -1], last)


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_save_and_load(make_pair, make_batch, variant, tied, tmp_path):
    """Also with a head of its own, as falcon-11B has."""
    theirs, ours = make_pair(variant, tie_word_embeddings=tied)
    theirs.save_pretrained(tmp_path)
    input_ids = make_batch(6)[0]
    for saved in (tmp_path, tmp_path / "again"):
        prepare(saved, json.loads((saved / "config.json").read_text()))
        loaded = load(transformers.AutoModelForCausalLM, saved)
        assert (loaded.lm_head.weight is loaded.transformer.word_embeddings.weight) == tied
        assert torch.equal(loaded(input_ids).logits, ours(input_ids).logits)
        loaded.save_pretrained(tmp_path / "again")


@pytest.mark.parametrize("variant", ["7b", "40b", "rw"])
def test_refined_web_config(make_pair, make_batch, variant, tmp_path):
    """Checkpoints from before Falcon was in transformers, with the names of that time."""
    shape = {"hidden_size": 96, "num_attention_heads": 6, "num_hidden_layers": 2}
    shape.update(num_kv_heads=2 if variant == "40b" else 6)
    shape.update(ffn_hidden_size=384, activation="gelu", rope_theta=10000.0)
    theirs, ours = make_pair(variant, **shape)
    theirs.save_pretrained(tmp_path)
    old = {
        "model_type": "RefinedWeb" if variant == "40b" else "RefinedWebModel",
        "vocab_size": 131,
        "hidden_size": 96,
        "n_head": 6,
        "n_layer": 2,
        "alibi": variant == "rw",
        "bias": variant == "rw",
        "parallel_attn": variant != "rw",
        "layer_norm_epsilon": 1e-5,
        **({"n_head_kv": 2} if variant == "40b" else {"multi_query": variant == "7b"}),
    }
    loaded = load(transformers.AutoModelForCausalLM, prepare(tmp_path, old))
    assert loaded.config.num_hidden_layers == 2
    input_ids = make_batch(6)[0]
    assert torch.equal(loaded(input_ids).logits, ours(input_ids).logits)
