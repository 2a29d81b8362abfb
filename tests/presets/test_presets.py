"""What holds of every preset. Each check names the presets that fail it."""

import json
from pathlib import Path

import pytest

from tests.workspaces import FALCON_TINY
from vacc_gen import presets
from vacc_gen.generator.environment.lock import missing_lock_reason, preset_lock, requirements_of
from vacc_gen.generator.vision import PATCHES_PER_TOKEN
from vacc_gen.schema.errors import UsageError
from vacc_gen.schema.geometry import footprint, geometry_from_config, parameter_count
from vacc_gen.schema.precision import Precision
from vacc_gen.schema.recipe import Environment

MODELS = presets.MODELS.all()
SIZES = {model.name: model.geometry.model_copy(update={"parameters": None}) for model in MODELS}
CARD = presets.CARDS.find("VA16")
LOCKS_BYTES = 1_000_000


def test_every_preset_is_called_as_its_file_and_no_two_alike():
    for shelf in presets.SHELVES.values():
        assert shelf.names()
        assert tuple(preset.name for preset in shelf.all()) == shelf.names()
    names = [name.casefold() for shelf in presets.SHELVES.values() for name in shelf.names()]
    assert len(names) == len(set(names))


def has_sizes_that_agree(model):
    g = model.geometry
    own_head_size = model.family in ("gemma", "qwen3")
    return (
        g.attention_heads % g.kv_heads == 0
        and model.recommended.total <= g.max_positions
        and (own_head_size or g.attention_heads * g.head_size == g.hidden_size)
    )


def has_sizes_of_its_config(model):
    is_of_type = model.config is None or model.config["model_type"] in model.model_types
    return is_of_type and geometry_from_config(model.config or {}) == SIZES[model.name]


def has_its_parameters(model):
    tower = model.vision.parameters if model.vision else 0
    count = parameter_count(model.geometry) + tower
    return count == pytest.approx(model.geometry.parameters, rel=5e-3)


def has_code_of_ours_only_for_falcon(model):
    known = ("config_vacc.json", "configuration_qwen2_vl.py", "processing_qwen2_vl.py")
    falcon = "falcon" in model.model_types
    written = [source.name for source in model.sources if source.generated]
    brought = [source.name for source in model.sources if not source.generated]
    return (
        written == (["modeling_falcon_vacc.py"] if falcon else [])
        and (model.config is not None) == (falcon and not model.any_size)
        and all(name.endswith("_vacc.py") or name in known for name in brought)
    )


def fits_the_larger_cards(model):
    tp, precisions = model.recommended.tp, model.recommended.precisions
    needs = [footprint(model.geometry, precision, tp, 2048) for precision in precisions]
    return max(need.total_bytes for need in needs) < CARD.die_memory_bytes


def has_room_for_an_image(model):
    fits = model.vision.patches // PATCHES_PER_TOKEN < model.recommended.prefill
    return fits and model.recommended.precisions == (Precision.FP16,)


@pytest.mark.parametrize(
    ("is_right", "models"),
    [
        (has_sizes_that_agree, MODELS),
        (has_sizes_of_its_config, [model for model in MODELS if model.config]),
        (has_its_parameters, [model for model in MODELS if model.geometry.parameters]),
        (has_code_of_ours_only_for_falcon, MODELS),
        (fits_the_larger_cards, MODELS),
        (has_room_for_an_image, [model for model in MODELS if model.vision]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_model(is_right, models):
    assert [model.name for model in models if not is_right(model)] == []


@pytest.mark.parametrize(
    ("name", "class_name"),
    [("falcon-7b", "FalconConfig"), ("gemma-7b", "GemmaConfig"), ("glm-4-9b-chat-hf", "GlmConfig")],
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
        ("someone/falcon7b", "did you mean falcon-7b or "),
        ("llama3", "Meta-Llama-3-8B or Meta-Llama-3-70B or Meta-Llama-3.1-8B"),
        ("instruct falcon 40", "did you mean falcon-40b-instruct"),
        ("llama", "LLaMA-33B-HF or Llama-2-7b-hf or"),  # those that begin so are first
        ("zzz", "`vacc-gen presets list` names all"),
    ],
)
def test_an_unknown_name_gets_the_nearest(wrong, meant):
    with pytest.raises(UsageError, match=f"no model is called '{wrong}'") as error:
        presets.load(wrong)
    assert meant in error.value.hint


def test_a_lock_answers_its_pins_or_a_reason_says_why_there_is_none():
    owners = set()
    for preset in presets.ENVIRONMENTS.all():
        environment = Environment(
            preset=preset.name, python=preset.python, platform=preset.platform
        )
        lock = preset_lock(preset.name)
        if lock is None:
            assert missing_lock_reason(environment) != "it has none", preset.name
        else:
            owners.add(preset.lock_name)
            assert lock.shortcomings(requirements_of(environment)) == (), preset.name
            assert "://" not in lock.text, preset.name
    locks = [*Path(presets.__path__[0], "environments").glob("*.txt")]
    assert {path.stem for path in locks} == owners
    assert sum(path.stat().st_size for path in locks) <= LOCKS_BYTES
