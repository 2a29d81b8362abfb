"""Every rule by its own examples: what it reports, where, how, and the text after its fix."""

import re
from pathlib import Path

import pytest
import yaml

from docs.reference_pages import TOPICS, rules_page
from tests.schema.lint.examples import assert_on_record, written
from vacc_gen.schema.lint.check import check_paths
from vacc_gen.schema.lint.output import as_text
from vacc_gen.schema.lint.rule import all_rules, as_page, as_table, page_of

ROOT = Path(__file__).parents[3]
RULES = all_rules()


def named(rule):
    return f"{rule.code}-{rule.name}"


def snapshot(result, folder):
    """Return the findings, and each file that a fix changes as it is afterwards."""
    shown = as_text(result.diagnostics, result.documents, 0)
    for path, document in result.documents.items():
        fixes = [one.fix for one in result.diagnostics if one.path == path and one.fix]
        if fixes:
            safety = "--fix" if all(fix.safe for fix in fixes) else "--fix --unsafe-fixes"
            shown += f"\nafter {safety}:\n{document.fixed(fixes)}"
    return shown.replace(f"{folder}/", "")


@pytest.mark.parametrize("rule", RULES, ids=named)
def test_the_bad_example_is_reported_as_on_record(rule, tmp_path):
    folder = tmp_path / "bad"
    result = written(rule, page_of(rule).bad, folder)
    own = [found for found in result.diagnostics if found.code == rule.code]
    assert own
    assert rule.fix != "none" or not any(found.fix for found in own)
    assert_on_record(f"{rule.code}.txt", snapshot(result, folder))


@pytest.mark.parametrize("rule", RULES, ids=named)
def test_the_good_example_is_not_reported(rule, tmp_path):
    written(rule, page_of(rule).bad, tmp_path)  # a good example has the files that differ
    result = written(rule, page_of(rule).good, tmp_path)
    assert rule.code not in {found.code for found in result.diagnostics}


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.fix != "none"], ids=named)
def test_a_fix_removes_its_cause(rule, tmp_path):
    result = written(rule, page_of(rule).bad, tmp_path / "bad")
    own = [found for found in result.diagnostics if found.code == rule.code and found.fix]
    assert own, "the rule says that it has a fix, and its example shows none"
    assert {found.fix.safe for found in own} == {rule.fix == "safe"}
    for found in own:
        document = result.documents[found.path]
        text = document.fixed([found.fix])
        Path(found.path).write_text(text, encoding="utf-8", newline="")
    again = check_paths([own[0].path], None).diagnostics
    assert rule.code not in {found.code for found in again}


def test_every_rule_has_a_code_of_its_own_and_a_whole_page():
    codes = [rule.code for rule in RULES]
    assert codes == sorted(set(codes))
    assert all(re.fullmatch(r"VG\d{3}", code) and code[:3] in TOPICS for code in codes)
    assert len(as_table(RULES).splitlines()) == len(RULES)
    for rule in RULES:
        assert all(page_of(rule)), rule.code
        assert not rule.summary.endswith("."), rule.code
        assert as_page(rule).startswith(f"# {rule.code} {rule.name}\n")


def test_the_page_of_rules_is_current():
    page = ROOT / "docs" / "reference" / "rules.md"
    assert rules_page(RULES) == page.read_text(), "run `make docs`"


def test_the_hooks_are_well_formed():
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert [hook["id"] for hook in hooks] == ["vacc-gen-validate", "vacc-gen-fix"]
    for hook in hooks:
        assert {"id", "name", "entry", "language", "files"} <= set(hook)
