"""What published patched Falcons get wrong, one test for each."""

import math

import pytest
import torch
import transformers

HALF_LAYER_NORM = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 2)
DTYPES = [
    torch.float32,
    torch.bfloat16,
    pytest.param(
        torch.float16,
        marks=pytest.mark.skipif(not HALF_LAYER_NORM, reason="this CPU build has no fp16 norm"),
    ),
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_no_nan_in_a_padded_row(make_pair, make_batch, variant, dtype):
    """Rows of the mask without any visible key included: left padding, and all padding."""
    _, ours = make_pair(variant)
    input_ids, mask, positions = make_batch(8, "left")
    mask[1] = 0
    output = ours.to(dtype)(input_ids, mask, positions)
    assert output.logits.isfinite().all()
    assert all(tensor.isfinite().all() for pair in output.past_key_values for tensor in pair)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_mask_stays_finite_in_every_dtype(modeling, make_pair, make_batch, variant, dtype):
    """A graph is exported in fp32 and compiled to fp16: mask plus score must survive that."""
    _, ours = make_pair(variant)
    bias = modeling.attention_bias(ours.config, make_batch(8, "left")[1], 8).to(dtype)
    assert (bias - 1000).isfinite().all()
    assert torch.exp(bias[bias < -1000] + 1000).max() == 0


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_rotary_table_is_exact_after_a_cast(make_pair, dtype):
    """The angle is formed in fp32 whatever the model's dtype, also far into the context."""
    _, ours = make_pair("7b", rope_theta=10000.0)
    tables = []
    ours.transformer.h[0].register_forward_pre_hook(lambda _, args: tables.append(args[2]))
    positions = torch.arange(0, 2048, 89)[None]
    ours.to(dtype)(torch.ones_like(positions), position_ids=positions)
    width = ours.config.hidden_size // ours.config.num_attention_heads
    exponent = torch.arange(0, width, 2, dtype=torch.float64) / width
    angle = (positions[0, :, None] / 10000.0**exponent).repeat(1, 2)
    (cos, sin) = tables[0]
    assert cos.shape == sin.shape == (1, 1, positions.shape[1], width)
    for table, exact in ((cos, angle.cos()), (sin, angle.sin())):
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
def test_alibi_is_transformers_own_bit_by_bit(modeling, num_heads):
    """Rounded to bf16 as in training, which shows in the slopes, and from position 257 on."""
    from transformers.models.falcon.modeling_falcon import build_alibi_tensor

    config = transformers.FalconConfig(
        hidden_size=64 * num_heads, num_attention_heads=num_heads, alibi=True
    )
    mask = torch.ones(2, 2048, dtype=torch.long)
    mask[1, :700] = 0
    expected = build_alibi_tensor(mask, num_heads, torch.float32).view(2, num_heads, 1, -1)
    assert torch.equal(modeling.alibi_bias(config, mask), expected / math.sqrt(64))


def test_alibi_is_not_lost_in_bf16(make_pair):
    """Far into the context a bf16 sum keeps steps of 1/4: scores and ALiBi add up in fp32."""
    _, ours = make_pair("rw", num_attention_heads=8, hidden_size=128, num_hidden_layers=1)
    input_ids = torch.randint(3, 131, (1, 1000))
    ours.bfloat16()
    rounded = ours(input_ids, output_attentions=True).attentions[0].float()
    exact = ours.float()(input_ids, output_attentions=True).attentions[0]
    assert (rounded - exact).abs().max() < 0.04  # 0.014; with the sum in bf16 0.15


@pytest.mark.parametrize(
    "changes",
    [
        {"rope_theta": 500042.0},
        {"activation": "relu"},
        {"ffn_hidden_size": 72},
        {"layer_norm_epsilon": 0.1},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_config_values_are_honoured(make_pair, make_batch, variant, changes):
    """The value matters to the result, and the result is transformers' own."""
    common = {"rope_theta": 10000.0, "activation": "gelu", "ffn_hidden_size": 96}
    theirs, ours = make_pair(variant, **{**common, **changes})
    input_ids, mask, _ = make_batch(9)
    actual = ours(input_ids, mask).logits
    expected = theirs(input_ids, attention_mask=mask).logits
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)
    _, without = make_pair(variant, **common)
    rotary_of_alibi = "rope_theta" in changes and ours.config.alibi
    assert torch.allclose(actual, without(input_ids, mask).logits, atol=1e-3) == rotary_of_alibi


@pytest.mark.parametrize("name", ["linear", "dynamic"])
def test_rope_scaling_is_refused_not_ignored(modeling, make_batch, name):
    config = transformers.FalconConfig(
        vocab_size=131, hidden_size=64, num_attention_heads=4, num_hidden_layers=1
    )
    config.rope_scaling = config.rope_parameters = {"rope_type": name, "factor": 2.0}
    with pytest.raises(ValueError, match=f"rope scaling '{name}' is not supported"):
        modeling.FalconForCausalLM(config)(make_batch(4)[0])


def test_a_width_that_the_heads_do_not_divide_is_refused(modeling):
    config = transformers.FalconConfig(hidden_size=65, num_attention_heads=4, num_hidden_layers=1)
    with pytest.raises(ValueError, match="`hidden_size` must be a multiple"):
        modeling.FalconForCausalLM(config)


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
