import re

import pytest

from tests.schema.lint.examples import findings
from vacc_gen.schema.lint.diagnostics import Severity
from vacc_gen.schema.lint.rule import all_rules
from vacc_gen.schema.lint.rules_page import TOPICS, as_page, page_of

RULES = all_rules()


def named(rule):
    return f"{rule.code}-{rule.name}"


@pytest.mark.parametrize("rule", RULES, ids=named)
def test_the_bad_example_is_found(rule, tmp_path):
    assert findings(rule, page_of(rule).bad, tmp_path)


@pytest.mark.parametrize("rule", RULES, ids=named)
def test_the_good_example_is_not(rule, tmp_path):
    assert findings(rule, page_of(rule).good, tmp_path) == []


@pytest.mark.parametrize("rule", RULES, ids=named)
def test_a_rule_has_a_page(rule):
    page = page_of(rule)
    assert page.why
    assert page.bad
    assert page.good
    assert not rule.summary.endswith(".")
    assert as_page(rule).startswith(f"# {rule.code} {rule.name}\n")


def test_codes_are_unique_and_of_a_topic():
    codes = [rule.code for rule in RULES]
    assert codes == sorted(set(codes))
    assert all(re.fullmatch(r"VG\d{3}", code) and code[:3] in TOPICS for code in codes)


def test_a_fixable_finding_is_of_a_rule_that_says_so(tmp_path):
    for rule in RULES:
        for number, found in enumerate(findings(rule, page_of(rule).bad, tmp_path / rule.code)):
            if found.fix is not None:
                assert rule.fix != "none", rule.code
                assert found.fix.safe == (rule.fix == "safe"), rule.code
            assert number < 10


def test_opt_in_rules_are_no_errors():
    assert {rule.severity for rule in RULES if not rule.default} == {Severity.INFO}
