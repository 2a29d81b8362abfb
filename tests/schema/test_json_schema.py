"""The packaged JSON Schemas: current, valid, and of one mind with models and checks."""

import json
import random

import jsonschema
import pydantic
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.published import PATHS, named
from vacc_gen.schema.compile_yaml.config import VamcConfig
from vacc_gen.schema.json_schema import MODELS, as_text
from vacc_gen.schema.lint import structure
from vacc_gen.schema.lint.document import load
from vacc_gen.schema.lint.walk import packaged_schema, schema_text

WRONG = {
    "sqlai_mobilenetv3.yaml",
    "official_scrfd.yaml",
    "cv/super_resolution/sparnet/config.yaml",
    "tensorflow_bert_base_en_qa-384.yaml",
    "vamc_config.yaml",
}
"""Published configs that are structurally wrong."""


def is_wrong(path):
    return any(named(path).endswith(name) for name in WRONG)


def accepted_by_model(values):
    try:
        VamcConfig.model_validate(values)
    except pydantic.ValidationError:
        return False
    return True


def accepted_by_check(text):
    document = load(text)
    return not document.problems and not structure.check(document, packaged_schema("vamc"))


@pytest.mark.parametrize("name", MODELS)
def test_the_packaged_schema_is_current(name):
    assert schema_text(name) == as_text(name), "run `python -m vacc_gen.schema.json_schema`"


@pytest.mark.parametrize("name", MODELS)
def test_the_packaged_schema_is_one_of_2020_12(name):
    schema = packaged_schema(name)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)


def properties(schema):
    for part in [schema, *schema.get("$defs", {}).values()]:
        yield from part.get("properties", {}).items()


@pytest.mark.parametrize("name", MODELS)
def test_every_key_has_a_description(name):
    schema = packaged_schema(name)
    lacking = [
        key
        for key, field in properties(schema)
        if "description" not in field and "$ref" not in field and "const" not in field
    ]
    assert lacking == []


@pytest.mark.parametrize("path", PATHS, ids=named)
def test_published_configs_are_accepted_by_all_or_by_none(path):
    values = yaml.safe_load(path.read_bytes())
    validator = jsonschema.Draft202012Validator(packaged_schema("vamc"))
    assert validator.is_valid(values) is not is_wrong(path)
    assert accepted_by_model(values) is not is_wrong(path)
    assert accepted_by_check(path.read_bytes()) is not is_wrong(path)


ODD = st.sampled_from(
    (
        *(None, True, False, -1, 0, 1, 16, 0.0, 1.0, 0.5, 1e9, float("inf")),
        *("", "x", "fp16", "1", "COLOR_RGB2BGR", "4.51.3"),
        *([], [1], [1, 2], [[1], [2]], [[1], []], [None], ["0:YX"], [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        *({}, {"a": 1}, {"type": "Resize"}, {"type": None}),
    )
)


def paths_of(value, path=()):
    yield path
    if isinstance(value, (dict, list)):
        children = value.items() if isinstance(value, dict) else enumerate(value)
        for key, child in children:
            yield from paths_of(child, (*path, key))


def changed(values, rng, odd):
    """Change one place: another value, no value, or a key of another name."""
    path = rng.choice([path for path in paths_of(values) if path])
    parent = values
    for step in path[:-1]:
        parent = parent[step]
    kind = rng.randrange(4)
    if kind == 0:
        del parent[path[-1]]
    elif kind == 1 and isinstance(parent, dict):
        parent[rng.choice(["type", "dtype", "size", "new"])] = odd
    else:
        parent[path[-1]] = odd
    return values


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(PATHS), st.randoms(use_true_random=False), ODD)
def test_model_and_check_accept_the_same(path, rng, odd):
    values = changed(yaml.safe_load(path.read_bytes()), rng, odd)
    text = yaml.safe_dump(values, sort_keys=False)
    assert accepted_by_check(text) == accepted_by_model(values)


def test_the_mutants_of_the_property_are_of_both_kinds():
    rng = random.Random(1)
    verdicts = set()
    for _ in range(60):
        values = changed(yaml.safe_load(rng.choice(PATHS).read_bytes()), rng, rng.choice([1, "x"]))
        verdicts.add(accepted_by_model(values))
    assert verdicts == {True, False}


def test_recipes_of_the_schema_are_those_of_the_model():
    version = packaged_schema("recipe")["properties"]["version"]["const"]
    text = f"version: {version}\nmodel: {{preset: a, checkpoint: b}}\ntarget: {{prefill: 1000}}\n"
    problems = structure.check(load(text), packaged_schema("recipe"))
    assert [problem.kind for problem in problems] == ["bounds"]
    values = json.dumps(yaml.safe_load(text))
    with pytest.raises(pydantic.ValidationError):
        MODELS["recipe"].model_validate_json(values)
