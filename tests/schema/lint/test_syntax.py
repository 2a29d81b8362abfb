"""Texts that are not YAML: one finding, where a line shows the fault, or in the parser's words."""

import pytest

from tests.published import FOLDER
from vacc_gen.schema.lint.check import check_text

FALCON = (FOLDER / "llm/falcon/build_in/build/hf_falcon_int8.yaml").read_text(encoding="utf-8")


def reported(old, new):
    assert FALCON.count(old) == 1, old
    found = check_text(FALCON.replace(old, new), "build/x.yaml")
    return [(one.line, one.column, one.code, one.message) for one in found]


@pytest.mark.parametrize(
    ("old", "new", "line", "column", "message"),
    [
        ("tp: 4", "tp:4", 10, 5, "a space is missing after the colon"),
        ("name: f", "name:f", 1, 1, "a space is missing after the colon"),
        ("  dtype: int8", '  dtype: "int8', 18, 10, 'a quote " is opened here and not closed'),
        ("workers: 4", "workers: '4", 26, 12, "a quote ' is opened here and not closed"),
        ("  workers: 4", "  workers 4", 26, 3, "a `:` is missing after the key"),
        ("[[1024], [2048]]", "[[1024], [2048]", 8, 16, "a `[` is opened here and not closed"),
        ("\n  dtype: int8", "\n   dtype: int8", 18, 9, "a second `:` in one value"),
        ("    b2s: true", "     b2s: true", 11, 9, "a second `:` in one value"),
        ("backend:\n", "<<<<<<< ours\nbackend:\n", 16, 1, "a merge conflict is left here"),
        ("backend:\n", "```yaml\nbackend:\n", 16, 1, "this character cannot start a value"),
        ("./vacc_deploy", "@deploy", 25, 9, "this character cannot start a value"),
        ("./vacc_deploy", '"C:\\deploy"', 25, 12, "a `\\` in double quotes begins an escape"),
        ("  workers: 4", " workers: 4", 26, 2, "the indentation does not match the lines above"),
    ],
)
def test_one_finding_names_what_the_line_shows(old, new, line, column, message):
    found = reported(old, new)
    ((at, start, code, said),) = found
    assert (at, start, code) == (line, column, "VG001")
    assert said.startswith(f"not valid YAML: {message}")


def test_every_tab_is_reported_and_the_fix_has_the_neighbours_spaces():
    text = FALCON.replace("    tp: 4", "\ttp: 4").replace("  workers", "\tworkers")
    found = check_text(text, "build/x.yaml")
    assert [(one.line, one.code, one.fix.text) for one in found] == [
        (10, "VG011", "    "),
        (26, "VG011", "  "),
    ]


def test_every_full_width_mark_is_reported():
    text = FALCON.replace("name: ", "name： ").replace("[[1024], [2048]]", "[[1024]，[2048]］")
    found = check_text(text, "build/x.yaml")
    assert [(one.line, one.column, one.fix.text) for one in found] == [
        (1, 5, ":"),
        (8, 23, ", "),
        (8, 30, "]"),
    ]


def test_marks_in_comments_and_quotes_are_nobodys_business():
    text = FALCON.replace("  workers: 4", '  x: "四：四"  # 四：四\n workers: 4')
    assert [(one.line, one.code) for one in check_text(text, "x.yaml")] == [(27, "VG001")]


def test_a_tab_that_no_spaces_replace_has_no_fix():
    text = "frontend:\n  type: onnx\n\tdtype: [fp32\n"
    (tab,) = check_text(text, "x.yaml")
    assert (tab.code, tab.fix) == ("VG011", None)
