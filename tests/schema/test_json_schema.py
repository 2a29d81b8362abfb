"""The packaged JSON Schemas: current, valid, and of one mind with the models; their pages."""

import json
from pathlib import Path

import jsonschema
import pydantic
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from docs.reference_pages import PAGES, as_page
from tests.published import PATHS
from vacc_gen.schema.compile_yaml.config import CompileConfig
from vacc_gen.schema.json_schema import MODELS, as_text, packaged
from vacc_gen.schema.lint.document import load
from vacc_gen.schema.lint.structure import Form

VALIDATORS = {name: jsonschema.Draft202012Validator(json.loads(packaged(name))) for name in MODELS}
RECIPES = sorted((Path(__file__).parents[1] / "golden").glob("*/vacc.yaml"))


def is_accepted(values):
    try:
        CompileConfig.model_validate(values)
    except pydantic.ValidationError:
        return False
    return True


@pytest.mark.parametrize("name", MODELS)
def test_the_packaged_schema_is_current_and_one_of_2020_12_and_describes_every_key(name):
    schema = VALIDATORS[name].schema
    assert packaged(name) == as_text(name), "run `make docs`"
    jsonschema.Draft202012Validator.check_schema(schema)
    lacking = [
        key
        for part in [schema, *schema.get("$defs", {}).values()]
        for key, field in part.get("properties", {}).items()
        if not {"description", "$ref", "const"} & field.keys()
    ]
    assert lacking == []


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_current(name):
    page = Path(__file__).parents[2] / PAGES[name]
    assert as_page(name) == page.read_text(), "run `make docs`"


ODD = st.sampled_from((
    *(None, True, False, -1, 0, 1, 16, 0.5, "", "x", "fp16", "1", "COLOR_RGB2BGR", "4.51.3"),
    *([], [1], [1, 2], [[1], [2]], [[1], []], [None], ["0:YX"], [1, 2, 3, 4, 5, 6, 7, 8, 9]),
    *({}, {"a": 1}, {"type": "Resize"}, {"type": None}),
))  # fmt: skip


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
    if rng.random() < 0.25:
        del parent[path[-1]]
    elif rng.random() < 0.3 and isinstance(parent, dict):
        parent[rng.choice(["type", "dtype", "size", "new"])] = odd
    else:
        parent[path[-1]] = odd
    return values


ABOUT_A_KEY = ("VG101", "VG102", "VG107")
"""Findings about a key that is unknown or missing: an error of the schema is at the section."""


@settings(max_examples=200)
@given(st.sampled_from(PATHS), st.randoms(use_true_random=False), ODD)
def test_model_and_schema_refuse_the_same_in_the_same_places(path, rng, odd):
    values = changed(yaml.safe_load(path.read_bytes()), rng, odd)
    faults = Form(load(yaml.safe_dump(values)), CompileConfig).faults
    known = {one.section if one.code in ABOUT_A_KEY else one.steps for one in faults}
    places = {tuple(error.absolute_path) for error in VALIDATORS["vamc"].iter_errors(values)}
    assert known - {("workspace",)} <= places  # where a path that is null is one that is missing
    assert is_accepted(values) is not bool(places)


@pytest.mark.parametrize(
    ("section", "values", "place"),
    [
        ("dataset", {"sampler": {"get_data_num": "50"}}, ["sampler", "get_data_num"]),
        ("dataset", {"type": "huggingface", "seqlen": "9"}, ["seqlen"]),
        ("dataset", {"type": "hf", "seqlen": "9"}, ["type"]),
        ("dataset", {"process_ops": [{"type": "Resize", "size": [1]}]}, ["process_ops", 0, "size"]),
        ("dataset", {"process_ops": [{"size": [1, 1]}]}, ["process_ops", 0]),
        ("dataset", {"process_ops": [{"type": "Resiz"}]}, ["process_ops", 0, "type"]),
        ("graph", {"extra_ops": {"type": None, "params": 8}}, ["extra_ops", "params"]),
        ("workspace", {"workers": 1}, []),
        ("workspace", {"path": None}, ["path"]),
        ("frontend", {"checkpoint": "a", "shape": {"x": [[1], ["2"]]}}, ["shape", "x", 1, 0]),
        ("frontend", {"checkpoint": "a", "shape": {"x": [1, "2"]}}, ["shape", "x", 1]),
    ],
)
def test_an_editor_marks_a_mistake_once_and_where_it_is(section, values, place):
    config = yaml.safe_load(next(path for path in PATHS if "resnet" in str(path)).read_bytes())
    (error,) = VALIDATORS["vamc"].iter_errors({**config, section: values})
    assert list(error.absolute_path) == [section, *place]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.parent.name)
def test_recipes_are_accepted_and_a_mistake_in_them_is_marked_where_it_is(path):
    recipe = yaml.safe_load(path.read_bytes())
    assert VALIDATORS["recipe"].is_valid(recipe)
    for section, values, place in (
        ("target", {"tp": "4"}, ["tp"]),
        ("precisions", ["fp16", "fp32"], [1]),
        ("calibration", {"set": "c4", "path": "x"}, []),
        ("model", {"preset": "falcon-7b", "checkpoint": "x", "nam": "y"}, []),
    ):
        (error,) = VALIDATORS["recipe"].iter_errors({**recipe, section: values})
        assert list(error.absolute_path) == [section, *place]
