from pathlib import Path

import yaml

from vacc_gen.schema.lint.rule import all_rules, as_document, as_table, unescaped

ROOT = Path(__file__).parents[3]


def test_the_document_is_current():
    written = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
    assert written == as_document(all_rules()), "run `python -m vacc_gen.schema.lint.rule`"


def test_the_table_has_a_line_for_each_rule():
    assert len(as_table(all_rules()).splitlines()) == len(all_rules())


def test_escapes_in_examples_stand_for_themselves():
    assert unescaped(r"a: \tb\x00\ufeff\r") == "a: \tb\x00\ufeff\r\n"
    assert unescaped(r"a: b\c") == "a: b"


def test_the_hooks_are_well_formed():
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert [hook["id"] for hook in hooks] == ["vacc-gen-validate", "vacc-gen-fix"]
    for hook in hooks:
        assert {"id", "name", "entry", "language", "files"} <= set(hook)
