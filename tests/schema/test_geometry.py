"""The sizes that a config.json says, and the memory and heads of a die that follow from them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vacc_gen import presets
from vacc_gen.schema.errors import CheckpointError
from vacc_gen.schema.geometry import (
    TP_CHOICES,
    Geometry,
    footprint,
    geometry_from_config,
    least_tp,
    parameter_count,
    shape_difference,
)
from vacc_gen.schema.precision import Precision

SEVEN, FORTY = (presets.MODELS.find(name).config for name in ("falcon-7b", "falcon-40b"))
SEVEN_OF_2023 = {"model_type": "RefinedWebModel", "n_head": 71, "n_layer": 32, "multi_query": True}
FORTY_OF_2023 = {"model_type": "RefinedWeb", "n_head": 128, "n_head_kv": 8, "n_layer": 60}
LLAMA_8B = presets.MODELS.find("Meta-Llama-3-8B").geometry
LLAMA = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
}
CHATGLM = {
    "model_type": "chatglm",
    "hidden_size": 4096,
    "ffn_hidden_size": 13696,
    "num_layers": 28,
    "num_attention_heads": 32,
    "multi_query_attention": True,
    "multi_query_group_num": 2,
    "kv_channels": 128,
    "padded_vocab_size": 65024,
    "seq_length": 32768,
}


@pytest.mark.parametrize(("old", "new"), [(SEVEN_OF_2023, SEVEN), (FORTY_OF_2023, FORTY)])
def test_the_names_of_2023_say_the_same(old, new):
    hidden_size = 64 * old["n_head"]
    old = {**old, "hidden_size": hidden_size, "vocab_size": 65024}
    assert geometry_from_config(old) == geometry_from_config({**new, "hidden_size": hidden_size})


def test_llama_names_serve_most_families():
    geometry = geometry_from_config(LLAMA)
    assert geometry == LLAMA_8B.model_copy(update={"parameters": None})
    assert geometry_from_config({**LLAMA, "model_type": "qwen2"}) == geometry
    assert geometry_from_config({"model_type": "qwen2_vl", "text_config": LLAMA}) == geometry
    assert geometry_from_config({**LLAMA, "head_dim": 256}).head_size == 256
    assert geometry_from_config({**LLAMA, "num_key_value_heads": None}).kv_heads == 32
    assert geometry_from_config({**LLAMA, "tie_word_embeddings": True}).tied_embeddings
    assert geometry_from_config({**LLAMA, "model_type": "gemma"}).tied_embeddings


def test_chatglm_has_names_of_its_own():
    geometry = geometry_from_config(CHATGLM)
    assert (geometry.layers, geometry.kv_heads, geometry.head_size) == (28, 2, 128)
    assert (geometry.vocab_size, geometry.max_positions) == (65024, 32768)
    assert geometry_from_config({**CHATGLM, "multi_query_attention": False}).kv_heads == 32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_hidden_layers": None}, "num_hidden_layers or n_layer or num_layers is missing"),
        ({"hidden_size": "4096"}, "hidden_size is '4096', not a whole number from 1 to 2147483647"),
        ({"vocab_size": 0}, "vocab_size is 0"),
        ({"vocab_size": 2**31}, "vocab_size is 2147483648"),
        ({"num_attention_heads": True}, "num_attention_heads is True"),
        ({"num_attention_heads": 31}, "4096 is not a multiple of 31 attention heads"),
        ({"num_local_experts": 8}, "a mixture of experts"),
    ],
)
def test_a_config_without_usable_sizes_is_refused(change, message):
    with pytest.raises(CheckpointError, match=message):
        geometry_from_config({**LLAMA, **change})


def test_a_difference_is_of_the_sizes_that_make_a_model():
    longer = LLAMA_8B.model_copy(update={"max_positions": 1, "vocab_size": 1})
    assert shape_difference(LLAMA_8B, longer) is None
    other = longer.model_copy(update={"layers": 3, "kv_heads": 1})
    assert shape_difference(LLAMA_8B, other) == (
        "layers is 3, the preset's 32; kv_heads is 1, the preset's 8"
    )


def test_llama_by_hand():
    fp16 = footprint(LLAMA_8B, Precision.FP16, tp=4, total_tokens=2048)
    attention = 4096 * (8 + 2 * 2) * 128 + 8 * 128 * 4096
    mlp = 3 * 4096 * 14336 // 4
    embedding = 2 * 4096 * 128256 // 4
    assert fp16.weights_bytes == 2 * (32 * (attention + mlp) + embedding)
    assert fp16.kv_cache_bytes == 2 * 32 * 2 * 128 * 2048 * 16 * 2
    assert fp16.total_bytes == fp16.weights_bytes + fp16.kv_cache_bytes
    for precision, group_bytes in ((Precision.INT8, 64 + 2), (Precision.INT4, 32 + 2)):
        made = footprint(LLAMA_8B, precision, tp=4, total_tokens=2048)
        assert made.weights_bytes == 32 * (attention + mlp) * group_bytes // 64 + 2 * embedding
        assert made.kv_cache_bytes == fp16.kv_cache_bytes
    kv8 = footprint(LLAMA_8B, Precision.KV8, tp=4, total_tokens=2048)
    assert (kv8.weights_bytes, kv8.kv_cache_bytes * 2) == (fp16.weights_bytes, fp16.kv_cache_bytes)


def test_a_model_fits_from_some_tp_on():
    assert least_tp(LLAMA_8B, Precision.FP16, 2048, 8 << 30) == 4
    assert least_tp(LLAMA_8B, Precision.INT8, 2048, 8 << 30) == 2
    assert least_tp(LLAMA_8B, Precision.INT8, 2048, 1 << 20) is None
    whole = footprint(LLAMA_8B, Precision.INT8, 1, 2048).total_bytes
    assert least_tp(LLAMA_8B, Precision.INT8, 2048, whole) == 1


@pytest.mark.parametrize(
    ("heads", "kv_heads", "tp", "sentence", "even_tp"),
    [
        (32, 8, 4, "8 attention heads and 2 KV heads a die", 4),
        (32, 8, 16, "2 attention heads and 1 KV head a die", 16),  # each KV head on two dies
        (71, 1, 4, "up to 18 attention heads and 1 KV head a die", 1),
        (32, 8, 6, "up to 6 attention heads and 2 KV heads a die", 8),
        (36, 6, 4, "up to 9 attention heads and 2 KV heads a die", 2),
    ],
)
def test_what_tp_does_to_heads(heads, kv_heads, tp, sentence, even_tp):
    split = LLAMA_8B.model_copy(update={"attention_heads": heads, "kv_heads": kv_heads})
    assert (split.heads_sentence(tp), split.even_tp(tp)) == (sentence, even_tp)
    assert split.splits_evenly(tp) == (tp == even_tp)


SIZES = [name for name, field in Geometry.model_fields.items() if field.is_required()]
FLAGS = dict.fromkeys(("gated_mlp", "tied_embeddings"), st.booleans())
GEOMETRIES = st.builds(Geometry, **dict.fromkeys(SIZES, st.integers(1, 300)), **FLAGS)


@given(GEOMETRIES, st.sampled_from(TP_CHOICES), st.integers(1, 4096))
def test_dies_share_what_one_die_would_hold(geometry, tp, tokens):
    for precision in Precision:
        one = footprint(geometry, precision, 1, tokens)
        each = footprint(geometry, precision, tp, tokens)
        # The fullest die times their number holds at least everything.
        assert one.weights_bytes - tp <= each.weights_bytes * tp <= one.weights_bytes * tp
        assert one.kv_cache_bytes <= each.kv_cache_bytes * tp <= one.kv_cache_bytes * tp
    fp16 = footprint(geometry, Precision.FP16, 1, tokens)
    assert fp16.weights_bytes == 2 * parameter_count(geometry)
