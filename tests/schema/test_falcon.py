"""The architecture that a config.json says, in every spelling of it."""

from math import prod
from pathlib import Path

import pytest

from tests.falcons import VARIANTS, VOCABULARY
from vacc_gen import presets
from vacc_gen.schema.checkpoint import TensorEntry
from vacc_gen.schema.falcon import EMBEDDING, HEAD, architecture_from_config, differences

TINY = {
    "model_type": "falcon",
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "vocab_size": 100,
}


def test_parameters_of_published_models():
    """The count is that of the model's own checkpoint."""
    counted = {}
    for model in presets.MODELS.all():
        if model.config and model.geometry.parameters:
            shapes = architecture_from_config(model.config).parameters()
            counted[model.name] = sum(map(prod, shapes.values())) == model.geometry.parameters
    assert {"falcon-7b", "falcon-40b", "falcon-rw-1b"} <= counted.keys()
    assert all(counted.values()), counted


@pytest.mark.parametrize("variant", VARIANTS)
def test_names_and_shapes_are_those_of_transformers(variant):
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    config = transformers.FalconConfig(
        num_hidden_layers=2, vocab_size=VOCABULARY, **VARIANTS[variant]
    )
    with torch.device("meta"):
        model = transformers.FalconForCausalLM(config)
    expected = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    assert architecture_from_config(config.to_dict()).parameters() == expected


def test_norms_are_known_by_name_and_an_untied_head_is_a_parameter():
    changes = {"bias": True, "parallel_attn": False, "tie_word_embeddings": False}
    architecture = architecture_from_config({**TINY, **changes})
    assert architecture.parameters()[HEAD] == architecture.parameters()[EMBEDDING] == (100, 64)
    norms = {name for name in architecture.parameters() if architecture.is_norm(name)}
    assert {"transformer.h.0.post_attention_layernorm.bias", "transformer.ln_f.weight"} <= norms
    assert all("ln" in name or "layernorm" in name for name in norms)


@pytest.mark.parametrize(
    ("config", "theta"),
    [
        ({}, 10000.0),
        ({"rope_theta": 500042.0}, 500042.0),
        ({"rope_scaling": None, "rope_theta": 7.0}, 7.0),
        ({"rope_parameters": {"rope_theta": 9.0, "rope_type": "default"}}, 9.0),
    ],
)
def test_the_rotary_base_in_every_spelling(config, theta):
    assert architecture_from_config({**TINY, **config}).rope_theta == theta


def test_layers_beyond_those_stored_are_not_enumerated():
    """A billion of them would not fit in memory; those that are stored are still compared."""

    def differences_of(config):
        found = {n: TensorEntry(n, Path("x"), 0, 0, "BF16", shape) for n, shape in stored.items()}
        return differences(architecture_from_config(config), config, found)

    stored = architecture_from_config(TINY).parameters()
    stored["transformer.h.1.mlp.dense_4h_to_h.weight"] = (64, 128)
    first, second = differences_of({**TINY, "num_hidden_layers": 10**9})
    assert first.message == "config.json asks for 1000000000 layers, the weights hold 2"
    assert (first.key, second.key) == ("num_hidden_layers", "ffn_hidden_size")
    del stored["transformer.h.0.input_layernorm.weight"]
    stored["transformer.h.7.x"] = (1,)
    gap, _ = differences_of(TINY)
    assert gap.message == "config.json asks for 2 layers, the weights hold 3, up to 7"
