"""What holds of every preset. Each check is one test, and names the presets that fail it."""

import json

import pytest

from tests.workspaces import FALCON_TINY
from vacc_gen import presets
from vacc_gen.generator.plan import PATCHES_PER_TOKEN
from vacc_gen.schema.errors import UsageError
from vacc_gen.schema.footprint import footprint, parameter_count
from vacc_gen.schema.geometry import geometry_from_config
from vacc_gen.schema.precision import Precision

MODELS = presets.MODELS.all()
SIZES = {model.name: model.geometry.model_copy(update={"parameters": None}) for model in MODELS}
SOURCES = (
    "the published config.json",
    "a copy of the published config.json, ",
    "copies of the published config.json that agree, ",
    "defaults of transformers' ",
    "its own config.json",
)


def failing(is_right, models=MODELS):
    return [model.name for model in models if not is_right(model)]


def test_every_preset_is_called_as_its_file_and_no_two_alike():
    for shelf in presets.SHELVES.values():
        assert shelf.names()
        assert tuple(preset.name for preset in shelf.all()) == shelf.names()
    names = [name.casefold() for shelf in presets.SHELVES.values() for name in shelf.names()]
    assert len(names) == len(set(names))


def test_a_model_is_called_as_its_repository():
    def is_right(model):
        if model.huggingface_id is None:
            return model.name in ("falcon", "falcon-tiny")
        owner, _, repository = model.huggingface_id.partition("/")
        # The vendor's lists call Llama 3.2 and 3.3 by names that the repositories do not have.
        return owner and repository in (model.name, model.name.replace("Meta-", ""))

    assert failing(is_right) == []


def test_sizes_agree_with_each_other_and_with_the_lengths():
    def is_right(model):
        g, target = model.geometry, model.recommended
        own_head_size = model.family in ("gemma", "qwen3")
        return (
            g.attention_heads % g.kv_heads == 0
            and target.prefill <= target.total <= g.max_positions
            and (own_head_size or g.attention_heads * g.head_size == g.hidden_size)
        )

    assert failing(is_right) == []


def test_a_model_has_the_sizes_of_its_published_config_and_parameters():
    def is_right(model):
        is_of_type = model.config["model_type"] in model.model_types
        return is_of_type and geometry_from_config(model.config) == SIZES[model.name]

    assert failing(is_right, [model for model in MODELS if model.config]) == []

    def counts(model):
        tower = model.vision.parameters if model.vision else 0
        count = parameter_count(model.geometry) + tower
        return count == pytest.approx(model.geometry.parameters, rel=5e-3)

    assert failing(counts, [model for model in MODELS if model.geometry.parameters]) == []


def test_code_is_ours_for_falcon_and_nothing_else():
    known = ("config_vacc.json", "configuration_qwen2_vl.py", "processing_qwen2_vl.py")

    def is_right(model):
        falcon = "falcon" in model.model_types
        written = [source.name for source in model.sources if source.generated]
        brought = [source.name for source in model.sources if not source.generated]
        needs_none = "llama" in model.model_types and model.family != "mobillama"
        return (
            written == (["modeling_falcon_vacc.py"] if falcon else [])
            and (model.config is not None) == (falcon and not model.any_size)
            and all(name.endswith("_vacc.py") or name in known for name in brought)
            and not (needs_none and brought)
        )

    assert failing(is_right) == []


def test_what_is_recommended_fits_the_larger_cards():
    card = presets.CARDS.find("VA16")

    def is_right(model):
        return all(
            footprint(model.geometry, precision, model.recommended.tp, 2048).left_bytes(card) > 0
            for precision in model.recommended.precisions
        )

    assert failing(is_right) == []
    large = presets.MODELS.find("falcon-180B")  # so it is recommended in int8 alone
    assert large.recommended.precisions == (Precision.INT8,)
    assert footprint(large.geometry, Precision.FP16, 8, 2048).left_bytes(card) < 0


def test_a_model_that_reads_images_has_room_for_one_in_its_prompts():
    def is_right(model):
        fits = model.vision.patches // PATCHES_PER_TOKEN < model.recommended.prefill
        return fits and model.recommended.precisions == (Precision.FP16,)

    assert failing(is_right, [model for model in MODELS if model.vision]) == []


def test_sizes_are_verified_where_the_source_is_a_published_config_or_a_class():
    verified = [model for model in MODELS if model.geometry_source.verified]
    assert failing(lambda model: model.geometry_source.source.startswith(SOURCES), verified) == []
    assert len(verified) >= 32


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
    config = getattr(transformers, class_name)().to_dict()
    assert geometry_from_config(config) == SIZES[name]


def test_falcon_tiny_is_the_checkpoint_that_the_tests_build():
    config = json.loads((FALCON_TINY / "config.json").read_text())
    assert presets.MODELS.find("falcon-tiny").config == config


@pytest.mark.parametrize("name", ["falcon-7b", "FALCON-7B", "tiiuae/Falcon-7B"])
def test_a_model_is_loaded_by_name_or_hugging_face_id_in_any_capitals(name):
    assert presets.load(name).name == "falcon-7b"


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("flacon-7b", "did you mean falcon-7b or "),
        ("7b-instruct", "falcon-7b-instruct"),
        ("someone/falcon7b", "did you mean falcon-7b or "),
        ("llama3", "Meta-Llama-3-8B or Meta-Llama-3-70B or Meta-Llama-3.1-8B"),
        ("instruct falcon 40", "did you mean falcon-40b-instruct?"),
        ("llama", "LLaMA-33B-HF or Llama-2-7b-hf or"),  # those that begin so are first
        ("-", "`vacc-gen presets list` names all"),
        ("zzz", "`vacc-gen presets list` names all"),
    ],
)
def test_an_unknown_name_gets_the_nearest(wrong, meant):
    with pytest.raises(UsageError, match=f"no model is called '{wrong}'") as error:
        presets.load(wrong)
    assert meant in error.value.hint
