import json
from pathlib import Path

import pytest

from vacc_gen import presets
from vacc_gen.schema.errors import UsageError
from vacc_gen.schema.footprint import parameter_count
from vacc_gen.schema.geometry import geometry_from_config

FALCON_TINY = Path(__file__).parents[1] / "data" / "falcon-tiny"
MODELS = presets.MODELS.all()


@pytest.mark.parametrize("shelf", presets.SHELVES.values(), ids=presets.SHELVES)
def test_every_preset_is_called_as_its_file(shelf):
    assert shelf.names()
    assert tuple(preset.name for preset in shelf.all()) == shelf.names()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_model_agrees_with_its_config_and_names_an_environment(model):
    assert model.environment in presets.ENVIRONMENTS.names()
    assert model.recommended.prefill <= model.recommended.total
    if model.config is not None:
        published = model.geometry.model_copy(update={"parameters": None})
        assert geometry_from_config(model.config) == published
        assert model.config["model_type"] in model.model_types


@pytest.mark.parametrize(
    "model",
    [model for model in MODELS if model.geometry.parameters],
    ids=lambda model: model.name,
)
def test_the_published_parameter_count_is_what_the_geometry_holds(model):
    tower = model.vision.parameters if model.vision else 0
    count = parameter_count(model.geometry) + tower
    assert count == pytest.approx(model.geometry.parameters, rel=5e-3)


def test_falcon_tiny_is_the_checkpoint_that_the_tests_build():
    preset = presets.MODELS.find("falcon-tiny")
    assert preset.config == json.loads((FALCON_TINY / "config.json").read_text())


@pytest.mark.parametrize("name", ["falcon-7b", "FALCON-7B", "Falcon-7b"])
def test_capitals_do_not_matter(name):
    assert presets.MODELS.find(name).name == "falcon-7b"


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("flacon-7b", "falcon-7b"), ("7b-instruct", "falcon-7b-instruct"), ("falcon7b", "falcon-7b")],
)
def test_an_unknown_name_gets_the_nearest(wrong, meant):
    with pytest.raises(UsageError) as error:
        presets.MODELS.find(wrong)
    assert wrong in error.value.message
    assert meant in error.value.hint


def test_a_name_like_no_other_gets_the_whole_list():
    with pytest.raises(UsageError) as error:
        presets.CARDS.find("zzz")
    assert all(name in error.value.hint for name in presets.CARDS.names())


def test_a_preset_of_any_kind_can_be_found():
    assert presets.locate("va16") == ("cards", "VA16")
    assert presets.locate("Qwen2-7b") == ("models", "Qwen2-7B")
    with pytest.raises(UsageError, match="no preset"):
        presets.locate("va17")
