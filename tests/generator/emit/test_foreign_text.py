"""Whatever text a recipe or a checkpoint holds: what is emitted has its own lines alone, and reads
back as the same text."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from vacc_gen.generator.emit.files import compile_config_text, emit, recipe_text, sections
from vacc_gen.generator.plan import Plan, make_plan
from vacc_gen.presets import MODELS
from vacc_gen.schema.errors import shell_command
from vacc_gen.schema.recipe import Recipe

ODD = "/.'\"\\$`#:%{}[]-!&*|> \n\r\t\x1b\x7f\x85\xa0\u200b\u2028\u2029\u202e\u2066\ufeff\U000e0041"
foreign = st.text(st.sampled_from(ODD + "ab世é🙂"), min_size=1, max_size=12)
PRESET = MODELS.find("falcon-7b")


def assert_own_lines(text: str) -> None:
    """Nothing breaks a line, hides or reorders but line feeds and tabs, by whatever standard."""
    assert [mark for mark in text if not mark.isprintable() and mark not in "\n\t"] == []


def plan_of(text: str) -> tuple[Recipe, Plan]:
    parts: dict[str, Any] = {
        "version": 2,
        "model": {"preset": PRESET.name, "checkpoint": text},
        "calibration": {"set": "c4", "path": text, "seqlen": 16},
        "verification": {"text": text},
    }
    recipe = Recipe.model_validate_json(json.dumps(parts))
    return recipe, make_plan(recipe, PRESET, None)


@given(foreign, foreign)
def test_recipes(text: str, word: str) -> None:
    recipe, _ = plan_of(text)
    written = recipe_text(recipe, ["vacc-gen", "new", "--out", word])
    assert_own_lines(written)
    assert Recipe.model_validate_json(json.dumps(yaml.safe_load(written))) == recipe


@given(foreign)
def test_compile_configs(text: str) -> None:
    for job in plan_of(text)[1].configs:
        written = compile_config_text(job)
        assert_own_lines(written)
        assert yaml.safe_load(written) == job.config


@given(st.dictionaries(foreign, foreign | st.lists(foreign)))
def test_yaml_of_any_keys(values: dict[str, object]) -> None:
    assert_own_lines(sections(values))
    assert (yaml.safe_load(sections(values)) or {}) == values


@settings(max_examples=30)
@given(st.dictionaries(st.text(), st.text() | st.just("\ud800")))
def test_the_checkpoints_config(extra: dict[str, str]) -> None:
    config = {**(PRESET.config or {}), "extra": extra}
    text = emit(plan_of("w")[1], config)["source_code/config_vacc.json"]
    assert_own_lines(text)
    assert json.loads(text)["extra"] == extra


@settings(max_examples=30)
@given(foreign)
def test_every_file_of_a_workspace(text: str) -> None:
    for written in emit(plan_of(text)[1], None).values():
        assert_own_lines(written)


@settings(max_examples=60)
@given(st.lists(foreign | st.just("") | st.just("\udcff"), min_size=1, max_size=40))
def test_words_for_the_shell(words: list[str]) -> None:
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
