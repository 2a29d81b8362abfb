"""What holds of every model preset."""

import pytest

from vacc_gen import presets
from vacc_gen.generator.vision import image_tokens
from vacc_gen.schema.footprint import footprint
from vacc_gen.schema.geometry import geometry_from_config
from vacc_gen.schema.precision import Precision

MODELS = presets.MODELS.all()
every_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)


def test_names_differ_in_more_than_capitals():
    names = [name.casefold() for shelf in presets.SHELVES.values() for name in shelf.names()]
    assert len(names) == len(set(names))


@every_model
def test_a_model_is_called_as_its_repository(model):
    if model.huggingface_id is None:
        assert model.name in ("falcon", "falcon-tiny")
        return
    owner, _, repository = model.huggingface_id.partition("/")
    assert owner
    # The vendor's lists call Llama 3.2 and 3.3 by names that the repositories do not have.
    assert repository in (model.name, model.name.replace("Meta-", ""))


@every_model
def test_sizes_agree_with_each_other(model):
    g = model.geometry
    assert g.attention_heads % g.kv_heads == 0
    assert model.recommended.total <= g.max_positions
    wide_heads = ("gemma", "qwen3")  # head sizes of their own
    if model.family not in wide_heads:
        assert g.attention_heads * g.head_size == g.hidden_size


@every_model
def test_code_is_ours_for_falcon_and_nothing_else(model):
    is_falcon = "falcon" in model.model_types
    ours = [source.name for source in model.sources if source.generated]
    brought = [source.name for source in model.sources if not source.generated]
    assert ours == (["modeling_falcon_vacc.py"] if is_falcon else [])
    assert (model.config is not None) == (is_falcon and not model.any_size)
    known = ("config_vacc.json", "configuration_qwen2_vl.py", "processing_qwen2_vl.py")
    assert all(name.endswith("_vacc.py") or name in known for name in brought)
    if "llama" in model.model_types and model.family != "mobillama":
        assert brought == []


@every_model
def test_what_is_recommended_fits_the_larger_cards_and_splits_evenly(model):
    card = presets.CARDS.find("VA16")
    tp = model.recommended.tp
    for precision in model.recommended.precisions:
        assert footprint(model.geometry, precision, tp, 2048).left_bytes(card) > 0
    if model.name not in ("falcon-7b", "falcon-7b-instruct"):  # 71 heads, published with tp 4
        assert model.geometry.attention_heads % tp == 0


def test_falcon_180b_is_recommended_in_int8_alone_because_fp16_is_too_large():
    model = presets.MODELS.find("falcon-180B")
    card = presets.CARDS.find("VA16")
    assert footprint(model.geometry, Precision.FP16, 8, 2048).left_bytes(card) < 0


@pytest.mark.parametrize(
    ("name", "class_name"),
    [
        ("falcon-7b", "FalconConfig"),
        ("gemma-7b", "GemmaConfig"),
        ("glm-4-9b-chat-hf", "GlmConfig"),
        ("Phi-3-mini-4k-instruct", "Phi3Config"),
    ],
)
def test_sizes_that_are_called_verified_are_transformers_own(name, class_name):
    transformers = pytest.importorskip("transformers")
    model = presets.MODELS.find(name)
    assert model.geometry_source.verified
    config = getattr(transformers, class_name)().to_dict()
    assert geometry_from_config(config) == model.geometry.model_copy(update={"parameters": None})


def test_sizes_are_verified_where_the_source_is_a_published_config_or_a_class():
    verified = [model for model in MODELS if model.geometry_source.verified]
    sources = (
        "the published config.json",
        "a copy of the published config.json, ",
        "copies of the published config.json that agree, ",
        "defaults of transformers' ",
        "its own config.json",
    )
    assert all(model.geometry_source.source.startswith(sources) for model in verified)
    assert len(verified) == 32


@every_model
def test_a_model_that_reads_images_has_room_for_one_in_its_prompts(model):
    if model.vision is not None:
        assert image_tokens(model.vision) < model.recommended.prefill
        assert model.recommended.precisions == (Precision.FP16,)
