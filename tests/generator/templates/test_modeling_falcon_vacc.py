"""The modeling file says what transformers' Falcon says, for every variant.

Then, what published patched Falcons get wrong, and the file in a weight folder, as the compiler
loads it: by `auto_map`.
"""

import json
import math
import shutil
from pathlib import Path

import modeling_falcon_vacc
import pytest
import torch
import transformers
from transformers import dynamic_module_utils

from tests.falcons import VOCABULARY

PADDINGS = ["none", "left", "right"]
TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}
HALF_LAYER_NORM = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 2)
DTYPES = [
    torch.float32,
    torch.bfloat16,
    pytest.param(
        torch.float16,
        marks=pytest.mark.skipif(not HALF_LAYER_NORM, reason="this CPU build has no fp16 norm"),
    ),
]


def assert_same(ours, theirs, visible):
    """Compare logits (B, S, V) where `visible` (B, S) says so: values, and the greedy token."""
    ours, theirs = ours[visible.bool()], theirs[visible.bool()]
    torch.testing.assert_close(ours, theirs, **TOLERANCE)
    assert torch.equal(ours.argmax(-1), theirs.argmax(-1))


def in_chunks(model, input_ids, mask, positions, chunks):
    """Yield (columns, output) of each chunk, run with the cache of those before it."""
    past, start = None, 0
    for length in chunks:
        new = slice(start, start + length)
        output = model(input_ids[:, new], mask[:, : new.stop], positions[:, new], past)
        yield new, output
        past, start = output.past_key_values, new.stop


@pytest.mark.parametrize("chunks", [(10,), (6, 1, 1, 1, 1), (1, 6, 3)], ids=str)
@pytest.mark.parametrize("padding", PADDINGS)
def test_prefill_chunks_and_decode(make_pair, make_batch, variant, padding, chunks):
    """Whatever the chunks, each position's logits are those of one pass over the whole.

    In bf16 both round; ours must not be farther from fp32 than transformers' own bf16.
    """
    theirs, ours = make_pair(variant)
    input_ids, mask, positions = make_batch(10, padding)
    exact = theirs(input_ids, attention_mask=mask, position_ids=positions).logits
    for new, output in in_chunks(ours, input_ids, mask, positions, chunks):
        assert_same(output.logits, exact[:, new], mask[:, new])
    theirs, ours = theirs.bfloat16(), ours.bfloat16()
    rounded = theirs(input_ids, attention_mask=mask, position_ids=positions).logits
    allowed = 1.5 * (rounded.float() - exact)[mask.bool()].abs().max()
    for new, output in in_chunks(ours, input_ids, mask, positions, chunks):
        assert output.logits.dtype == torch.bfloat16
        error = (output.logits.float() - exact[:, new])[mask[:, new].bool()].abs()
        assert not error.numel() or error.max() <= allowed


def test_positions_follow_from_the_mask_and_a_mask_from_nothing(make_pair, make_batch, variant):
    theirs, ours = make_pair(variant)
    input_ids, mask, _ = make_batch(9, "left")
    expected = theirs(input_ids, attention_mask=mask).logits
    assert_same(ours(input_ids, attention_mask=mask).logits, expected, mask)
    assert_same(ours(input_ids).logits, theirs(input_ids).logits, torch.ones_like(mask))


@pytest.mark.parametrize("iter_num", [None, 0, 1])
@pytest.mark.parametrize("padding", PADDINGS)
def test_insert_slice(make_pair, make_batch, variant, padding, iter_num):
    """Prefill gives each row's last visible position; decode and later chunks give them all."""
    theirs, ours = make_pair(variant)
    ours.config.insert_slice = True
    if iter_num is not None:
        ours.config.iter_num = iter_num
    input_ids, mask, positions = make_batch(9, padding)
    expected = theirs(input_ids, attention_mask=mask, position_ids=positions).logits
    logits = ours(input_ids, mask, positions).logits
    if iter_num == 1:  # only the first iteration slices
        assert_same(logits, expected, mask)
        return
    last = [row[keep.nonzero().max()] for row, keep in zip(expected, mask, strict=True)]
    torch.testing.assert_close(logits, torch.stack(last)[:, None], **TOLERANCE)
    _, (_, chunk) = in_chunks(ours, input_ids, mask, positions, (5, 4))
    assert_same(chunk.logits, expected[:, 5:], mask[:, 5:])
    if padding == "none":
        torch.testing.assert_close(ours(input_ids).logits, expected[:, -1:], **TOLERANCE)


def test_cache_is_legacy_tuples_of_the_kv_heads_alone(make_pair, make_batch, variant):
    _, ours = make_pair(variant)
    config, input_ids = ours.config, make_batch(7)[0]
    kv_heads = {"7b": 1, "rw": config.num_attention_heads}.get(variant, config.num_kv_heads)
    cache = ours(input_ids).past_key_values
    assert isinstance(cache, tuple) and len(cache) == config.num_hidden_layers
    shape = (3, kv_heads, 7, config.hidden_size // config.num_attention_heads)
    assert all(tuple(tensor.shape) == shape for pair in cache for tensor in pair)
    assert ours(input_ids, use_cache=False).past_key_values is None


@pytest.mark.parametrize(
    ("padding", "insert_slice", "num_beams"),
    [("left", False, 1), ("left", True, 3), ("none", True, 1)],
)
def test_generate(make_pair, make_batch, variant, padding, insert_slice, num_beams):
    theirs, ours = make_pair(variant)
    ours.config.insert_slice = insert_slice
    input_ids, mask, _ = make_batch(8, padding)
    arguments = {
        "attention_mask": mask,
        "max_new_tokens": 10,
        "do_sample": False,
        "num_beams": num_beams,
        "pad_token_id": 0,
    }
    expected = theirs.generate(input_ids, **arguments)
    assert torch.equal(ours.generate(input_ids, **arguments), expected)


def test_embeddings_in_place_of_ids(make_pair, make_batch, variant):
    _, ours = make_pair(variant)
    input_ids, mask, positions = make_batch(6, "left")
    embeddings = ours.get_input_embeddings()(input_ids)
    from_embeddings = ours(None, mask, positions, inputs_embeds=embeddings).logits
    assert torch.equal(from_embeddings, ours(input_ids, mask, positions).logits)
    for wrong in [{}, {"input_ids": input_ids, "inputs_embeds": embeddings}]:
        with pytest.raises(ValueError, match="input_ids"):
            ours(**wrong)
    with pytest.raises(ValueError, match="`head_mask` is not supported"):
        ours(input_ids, head_mask=torch.ones(1))


def test_optional_outputs(make_pair, make_batch, variant):
    theirs, ours = make_pair(variant)
    input_ids, mask, _ = make_batch(6)
    output = ours(input_ids, output_hidden_states=True, output_attentions=True)
    expected = theirs(input_ids, output_hidden_states=True).hidden_states
    for hidden, reference in zip(output.hidden_states, expected, strict=True):
        torch.testing.assert_close(hidden, reference, **TOLERANCE)
    for weights in output.attentions:
        assert weights.shape == (3, ours.config.num_attention_heads, 6, 6)
        torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
        assert not weights.triu(1).any()
    logits, cache = ours(input_ids, mask, return_dict=False)
    assert torch.equal(logits, output.logits) and len(cache) == len(output.attentions)


def test_labels_give_the_same_loss_and_gradients(make_pair, make_batch, variant):
    theirs, ours = make_pair(variant)
    ours.config.insert_slice = True
    input_ids, mask, positions = make_batch(8, "right")
    labels = input_ids.masked_fill(mask == 0, -100)
    losses = []
    with torch.enable_grad():
        for model in (theirs, ours):
            output = model(input_ids, attention_mask=mask, position_ids=positions, labels=labels)
            assert output.logits.shape[1] == 8
            output.loss.backward()
            losses.append(output.loss.item())
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    gradients = dict(ours.named_parameters())
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(gradients[name].grad, parameter.grad, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_masked_rows_stay_finite_in_every_dtype(make_pair, make_batch, variant, dtype):
    """Rows of the mask without any visible key included: left padding, and all padding.

    A graph is exported in fp32 and compiled to fp16: mask plus score must survive that.
    """
    _, ours = make_pair(variant)
    input_ids, mask, positions = make_batch(8, "left")
    mask[1] = 0
    output = ours.to(dtype)(input_ids, mask, positions)
    assert output.logits.isfinite().all()
    assert all(tensor.isfinite().all() for pair in output.past_key_values for tensor in pair)
    bias = modeling_falcon_vacc.attention_bias(ours.config, mask, 8).to(dtype)
    assert (bias - 1000).isfinite().all()
    assert torch.exp(bias[bias < -1000] + 1000).max() == 0


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_rotary_table_is_exact_after_a_cast(make_pair, dtype):
    """The angle is formed in fp32 whatever the model's dtype, also far into the context."""
    _, ours = make_pair("7b")
    tables = []
    ours.transformer.h[0].register_forward_pre_hook(lambda _, args: tables.append(args[2]))
    positions = torch.arange(0, 2048, 89)[None]
    ours.to(dtype)(torch.ones_like(positions), position_ids=positions)
    width = ours.config.hidden_size // ours.config.num_attention_heads
    exponent = torch.arange(0, width, 2, dtype=torch.float64) / width
    angle = (positions[0, :, None] / 10000.0**exponent).repeat(1, 2)
    for table, exact in zip(tables[0], (angle.cos(), angle.sin()), strict=True):
        assert table.shape == (1, 1, positions.shape[1], width)
        assert (table[0, 0] - exact).abs().max() < 5e-4  # fp32 holds an angle of 2047 to 1.2e-4


def test_nothing_is_kept_from_one_length_for_the_next(make_pair, make_batch, variant):
    _, ours = make_pair(variant)
    before = {name: set(vars(module)) for name, module in ours.named_modules()}
    short = ours(*make_batch(4, "left")).logits
    ours(*make_batch(9, "left"))
    assert torch.equal(ours(*make_batch(4, "left")).logits, short)
    assert {name: set(vars(module)) for name, module in ours.named_modules()} == before
    assert not list(ours.buffers())


@pytest.mark.parametrize("num_heads", [1, 5, 7, 12, 16, 32, 71])
def test_alibi_is_transformers_own_bit_by_bit(num_heads):
    """Rounded to bf16 as in training, which shows in the slopes, and from position 257 on."""
    from transformers.models.falcon.modeling_falcon import build_alibi_tensor

    config = transformers.FalconConfig(
        hidden_size=64 * num_heads, num_attention_heads=num_heads, alibi=True
    )
    mask = torch.ones(2, 2048, dtype=torch.long)
    mask[1, :700] = 0
    expected = build_alibi_tensor(mask, num_heads, torch.float32).view(2, num_heads, 1, -1)
    assert torch.equal(modeling_falcon_vacc.alibi_bias(config, mask), expected / math.sqrt(64))


def test_alibi_is_not_lost_in_bf16(make_pair):
    """Far into the context a bf16 sum keeps steps of 1/4: scores and ALiBi add up in fp32."""
    _, ours = make_pair("rw", num_attention_heads=8, hidden_size=128, num_hidden_layers=1)
    input_ids = torch.randint(3, VOCABULARY, (1, 1000))
    ours.bfloat16()
    rounded = ours(input_ids, output_attentions=True).attentions[0].float()
    exact = ours.float()(input_ids, output_attentions=True).attentions[0]
    assert (rounded - exact).abs().max() < 0.04  # 0.014; with the sum in bf16 0.15


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rope_theta", 200000.0),
        ("activation", "relu"),
        ("ffn_hidden_size", 72),
        ("layer_norm_epsilon", 0.1),
    ],
)
def test_config_values_are_honoured(make_pair, make_batch, variant, key, value):
    """The value matters to the result, and the result is transformers' own."""
    theirs, ours = make_pair(variant, **{key: value})
    input_ids, mask, _ = make_batch(9)
    actual = ours(input_ids, mask).logits
    torch.testing.assert_close(actual, theirs(input_ids, attention_mask=mask).logits, **TOLERANCE)
    without = make_pair(variant)[1](input_ids, mask).logits
    rotary_of_alibi = key == "rope_theta" and ours.config.alibi
    assert torch.allclose(actual, without, atol=1e-3) == rotary_of_alibi


@pytest.mark.parametrize("scaled", ["rope_scaling", "rope_parameters"])
@pytest.mark.parametrize("key", ["type", "rope_type"])
def test_rope_scaling_is_refused_not_ignored(make_pair, make_batch, scaled, key):
    _, ours = make_pair("7b")
    ours.config.rope_parameters = {"rope_type": "default", "rope_theta": 10000.0}
    setattr(ours.config, scaled, {key: "linear", "factor": 2.0})
    with pytest.raises(ValueError, match="rope scaling 'linear' is not supported"):
        ours(make_batch(4)[0])


def test_every_matrix_is_a_plain_linear(make_pair, variant):
    """Quantizers find `nn.Linear` by its type; a subclass of it, or a bare product, they miss."""
    _, ours = make_pair(variant)
    for block in ours.transformer.h:
        matrices = {name for name, value in block.named_parameters() if value.dim() == 2}
        plain = {n for n, module in block.named_modules() if type(module) is torch.nn.Linear}
        assert matrices == {f"{name}.weight" for name in plain}
        assert len(plain) == 4
    assert type(ours.lm_head) is torch.nn.Linear
    assert ours.lm_head.weight is ours.transformer.word_embeddings.weight


# --- in a weight folder -----------------------------------------------------------------------

TRAINED = Path(__file__).parents[2] / "data" / "falcon-tiny"
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
    shutil.copy(modeling_falcon_vacc.__file__, folder)
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
