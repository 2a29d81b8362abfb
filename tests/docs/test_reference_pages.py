"""The reference pages: current, and every key that a model has is on them."""

import re
from pathlib import Path

import pytest

from docs.reference_pages import PAGES, as_page, rules_page
from vacc_gen.schema.json_schema import MODELS
from vacc_gen.schema.lint.rule import all_rules
from vacc_gen.schema.lint.suggestions import sections

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_current(name):
    assert as_page(name) == (ROOT / PAGES[name]).read_text(), "run `make docs`"


def test_the_page_of_rules_is_current():
    assert rules_page(all_rules()) == (ROOT / "docs/reference/rules.md").read_text(), (
        "run `make docs`"
    )


@pytest.mark.parametrize("name", PAGES)
def test_every_key_has_a_row_of_four_cells(name):
    keys = [
        key for models in sections(MODELS[name]).values() for m in models for key in m.model_fields
    ]
    rows = re.findall(r"^\| `(\w+)` \|.*\|$", as_page(name), re.MULTILINE)
    assert rows == keys
    cells = {line.count("|") for line in as_page(name).splitlines() if line.startswith("|")}
    assert cells == {5}


def test_a_row_says_what_may_be_written():
    recipe, config = as_page("recipe"), as_page("vamc")
    assert (
        "| `tp` | integer, at least 1, at most 64 | `4` | tensor parallelism, in dies |" in recipe
    )
    assert '| `python` | `"3.8"`, `"3.9"`' in recipe
    assert "| `model` | [section](#model) | required |" in recipe
    assert "| `enable_kv_share` | boolean |  | deprecated: obsolete" in config
    assert "| `code` | string, such as COLOR_RGB2BGR," in config
