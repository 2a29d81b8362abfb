import pytest
from hypothesis import given
from hypothesis import strategies as st

from vacc_gen import presets
from vacc_gen.schema.footprint import (
    TP_CHOICES,
    HeadSplit,
    footprint,
    least_tp,
    parameter_count,
)
from vacc_gen.schema.geometry import Geometry
from vacc_gen.schema.precision import Precision
from vacc_gen.schema.preset import Card

LLAMA = presets.MODELS.find("Meta-Llama-3-8B").geometry
CARD = Card(name="c", summary="s", dies=2, die_memory_bytes=8 << 30, source="s")
SIZES = st.integers(1, 300)
GEOMETRIES = st.builds(
    Geometry,
    layers=SIZES,
    hidden_size=SIZES,
    attention_heads=SIZES,
    kv_heads=SIZES,
    head_size=SIZES,
    ffn_hidden_size=SIZES,
    vocab_size=SIZES,
    max_positions=SIZES,
    gated_mlp=st.booleans(),
    tied_embeddings=st.booleans(),
)


def test_llama_by_hand():
    fp16 = footprint(LLAMA, Precision.FP16, tp=4, total_tokens=2048)
    attention = 4096 * (8 + 2 * 2) * 128 + 8 * 128 * 4096
    mlp = 3 * 4096 * 14336 // 4
    embedding = 2 * 4096 * 128256 // 4
    assert fp16.weights_bytes == 2 * (32 * (attention + mlp) + embedding)
    assert fp16.kv_cache_bytes == 2 * 32 * 2 * 128 * 2048 * 16 * 2
    for precision, group_bytes in ((Precision.INT8, 64 + 2), (Precision.INT4, 32 + 2)):
        made = footprint(LLAMA, precision, tp=4, total_tokens=2048)
        assert made.weights_bytes == 32 * (attention + mlp) * group_bytes // 64 + 2 * embedding
        assert made.kv_cache_bytes == fp16.kv_cache_bytes
    kv8 = footprint(LLAMA, Precision.KV8, tp=4, total_tokens=2048)
    assert kv8.weights_bytes == fp16.weights_bytes
    assert kv8.kv_cache_bytes == fp16.kv_cache_bytes // 2


def test_a_model_fits_from_some_tp_on():
    alone = footprint(LLAMA, Precision.FP16, 1, 2048)
    assert alone.left_bytes(CARD) == (8 << 30) - alone.weights_bytes - alone.kv_cache_bytes < 0
    assert least_tp(LLAMA, Precision.FP16, 2048, 8 << 30) == 4
    assert least_tp(LLAMA, Precision.INT8, 2048, 8 << 30) == 2
    assert least_tp(LLAMA, Precision.INT8, 2048, 1 << 20) is None


@pytest.mark.parametrize(
    ("heads", "kv_heads", "tp", "sentence", "even_tp"),
    [
        (32, 8, 4, "8 attention heads and 2 KV heads a die", 4),
        (32, 8, 16, "2 attention heads and 1 KV head a die", 16),  # each KV head on two dies
        (71, 1, 4, "up to 18 attention heads and 1 KV head a die", 1),
        (32, 8, 6, "up to 6 attention heads and 2 KV heads a die", 8),
        (12, 12, 8, "up to 2 attention heads and 2 KV heads a die", 4),
        (36, 6, 4, "up to 9 attention heads and 2 KV heads a die", 2),
    ],
)
def test_what_tp_does_to_heads(heads, kv_heads, tp, sentence, even_tp):
    split = HeadSplit(tp, heads, kv_heads)
    assert split.sentence() == sentence
    assert split.even_tp() == even_tp
    assert split.is_even == (tp == even_tp)


@given(GEOMETRIES, st.sampled_from(TP_CHOICES), st.integers(1, 4096))
def test_dies_share_what_one_die_would_hold(geometry, tp, tokens):
    for precision in Precision:
        one = footprint(geometry, precision, 1, tokens)
        each = footprint(geometry, precision, tp, tokens)
        assert each.weights_bytes <= one.weights_bytes
        assert each.kv_cache_bytes <= one.kv_cache_bytes
        # The fullest die times their number holds at least everything.
        assert each.weights_bytes * tp + tp >= one.weights_bytes
        assert each.kv_cache_bytes * tp >= one.kv_cache_bytes
    fp16 = footprint(geometry, Precision.FP16, 1, tokens)
    assert fp16.weights_bytes == 2 * parameter_count(geometry)
