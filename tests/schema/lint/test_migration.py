"""Older recipes are read, newer ones refused."""

import pytest

from vacc_gen.schema.lint import fixes as edits
from vacc_gen.schema.lint.check import check_text
from vacc_gen.schema.lint.document import load
from vacc_gen.schema.lint.migration import RECIPE_VERSION, migrate

VERSION_1 = """\
# ours
version: 1
model: {preset: falcon-7b, checkpoint: /path/to/falcon-7b}
target:
  throughput: false  # latency counts
  tp: 2
"""


@pytest.mark.parametrize(("written", "word"), [("true", "throughput"), ("false", "latency")])
def test_version_1_says_its_goal_as_a_boolean(written, word):
    document = load(VERSION_1.replace("false", written), "vacc.yaml")
    migration = migrate(document)
    assert migration.version == 1
    assert document.values["version"] == RECIPE_VERSION
    assert document.values["target"] == {"optimize_for": word, "tp": 2}


def test_an_older_recipe_is_read_and_said_to_be_older():
    (found,) = check_text(VERSION_1, "vacc.yaml")
    assert (found.code, found.severity, found.line, found.column) == ("VG181", "info", 2, 10)


def test_its_fix_writes_the_newest_version_and_keeps_comments():
    (found,) = check_text(VERSION_1, "vacc.yaml")
    fixed = edits.apply(VERSION_1, [found.fix])
    assert fixed == VERSION_1.replace("version: 1", f"version: {RECIPE_VERSION}").replace(
        "throughput: false", "optimize_for: latency"
    )
    assert check_text(fixed, "vacc.yaml") == []


def test_a_finding_in_an_older_recipe_points_at_what_was_written():
    text = VERSION_1.replace("tp: 2", "tpp: 2")
    unknown = next(found for found in check_text(text, "vacc.yaml") if found.code == "VG101")
    assert (unknown.line, unknown.column) == (6, 3)


def test_a_misused_old_key_is_left_to_the_validator():
    text = VERSION_1.replace("throughput: false", "throughput: perhaps")
    assert [(f.code, f.line) for f in check_text(text, "vacc.yaml") if f.severity == "error"] == [
        ("VG101", 5)
    ]


def test_a_newer_recipe_is_refused_in_so_many_words():
    text = VERSION_1.replace("version: 1", "version: 7").replace("throughput", "something_new")
    (found,) = check_text(text, "vacc.yaml")
    assert (found.code, found.severity, found.line) == ("VG180", "error", 2)
    assert found.message == (
        f"this recipe is of version 7; this vacc-gen reads versions up to {RECIPE_VERSION}"
    )


@pytest.mark.parametrize("version", ["0", "-1", "true", "'2'", "2.0", "null"])
def test_what_is_no_version_is_no_version(version):
    text = f"version: {version}\nmodel: {{preset: a, checkpoint: /b}}\n"
    errors = [found for found in check_text(text, "vacc.yaml") if found.severity == "error"]
    assert [found.line for found in errors] == [1]
