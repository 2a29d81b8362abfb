"""Recipes and files of a workspace: they read back as what they were made of, and whatever text a
recipe or a checkpoint holds, what is emitted has its own lines alone.
"""

import json
import subprocess

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from vacc_gen.generator.emit.files import compile_config_text, emit, recipe_text, sections
from vacc_gen.generator.plan import make_plan
from vacc_gen.presets import MODELS
from vacc_gen.schema.errors import shell_command
from vacc_gen.schema.lint.check import check_text
from vacc_gen.schema.recipe import Recipe

ODD = "/.'\"\\$`#:%{}[]-!&*|> \n\r\t\x1b\x7f\x85\xa0\u200b\u2028\u2029\u202e\u2066\ufeff\U000e0041"
foreign = st.text(st.sampled_from(ODD + "ab世é🙂"), min_size=1, max_size=12)
PRESET = MODELS.find("falcon-7b")


def assert_own_lines(text):
    """Nothing breaks a line, hides or reorders but line feeds and tabs, by whatever standard."""
    assert [mark for mark in text if not mark.isprintable() and mark not in "\n\t"] == []


def recipe_of(**parts):
    model = {"preset": PRESET.name, "checkpoint": "/path/to/falcon-7b"}
    return Recipe.model_validate_json(json.dumps({"version": 2, "model": model, **parts}))


@settings(max_examples=50)
@given(foreign, foreign)
def test_whatever_a_recipe_holds_stays_on_its_lines(text, word):
    calibration = {"set": "c4", "path": text, "seqlen": 16}
    model = {"preset": PRESET.name, "checkpoint": text}
    recipe = recipe_of(model=model, calibration=calibration, verification={"text": text})
    written = recipe_text(recipe, ["vacc-gen", "new", "--out", word])
    assert_own_lines(written)
    assert Recipe.model_validate_json(json.dumps(yaml.safe_load(written))) == recipe
    plan = make_plan(recipe, PRESET, None)
    for job in plan.configs:
        assert yaml.safe_load(compile_config_text(job)) == job.config
    for written in emit(plan, None).values():
        assert_own_lines(written)


@given(st.dictionaries(foreign, foreign | st.lists(foreign)))
def test_yaml_of_any_keys(values):
    assert_own_lines(sections(values))
    assert (yaml.safe_load(sections(values)) or {}) == values


@settings(max_examples=30)
@given(st.dictionaries(st.text(), st.text() | st.just("\ud800")))
def test_the_checkpoints_config(extra):
    config = {**(PRESET.config or {}), "extra": extra}
    plan = make_plan(recipe_of(), PRESET, None)
    text = emit(plan, config)["source_code/config_vacc.json"]
    assert_own_lines(text)
    assert json.loads(text)["extra"] == extra


@settings(max_examples=60)
@given(st.lists(foreign | st.just("") | st.just("\udcff"), min_size=1, max_size=40))
def test_words_for_the_shell(words):
    command = shell_command(words)
    assert_own_lines(command)
    for locale in ("C", "C.UTF-8"):
        printed = subprocess.run(
            ["bash", "-c", f"printf '%s\\0' {command}"],
            env={"LC_ALL": locale},
            capture_output=True,
            check=True,
        ).stdout
        assert printed.decode("utf-8", "surrogateescape").split("\0")[:-1] == words


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"target": {"card": "VA16", "tp": 2, "optimize_for": "latency"}},
        {"precisions": ["kv8"], "environment": {"pins": ["tiktoken==0.7", "einops"]}},
        {"quantization": {"group_size": 32, "device": "cuda:1", "true_sequential": False}},
        {
            "calibration": {
                "set": "c4",
                "path": "a: b # c",
                "seqlen": 16,
                "seed": 3,
                "mix": [{"set": "mine", "path": "x.txt", "weight": 0.5}],
            },
            "verification": {"decode_steps": 64, "max_abs_diff": {"int8": 2.5}},
        },
    ],
)
def test_a_recipe_reads_back_as_itself(parts):
    recipe = recipe_of(**parts)
    text = recipe_text(recipe, ["vacc-gen", "new", "--out", "a b"])
    assert text.startswith("# vacc-gen new --out 'a b'\n# yaml-language-server: $schema=")
    assert Recipe.model_validate_json(json.dumps(yaml.safe_load(text))) == recipe
    assert [found.message for found in check_text(text, "vacc.yaml")] == []
