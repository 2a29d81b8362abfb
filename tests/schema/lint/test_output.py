import gzip
import json
import re
from pathlib import Path

import jsonschema
import pytest

from tests.published import FOLDER
from vacc_gen.schema.lint import output as render
from vacc_gen.schema.lint.check import check_paths
from vacc_gen.schema.lint.diagnostics import START, Diagnostic, Fix, Severity
from vacc_gen.schema.lint.document import load

FIELDS = {
    "code": "VG101",
    "severity": Severity.ERROR,
    "path": "build/x.yaml",
    "line": 2,
    "column": 3,
    "end_line": 2,
    "end_column": 6,
    "message": "unknown key `tpp`",
    "hint": "did you mean `tp`?",
}
FOUND = Diagnostic(**FIELDS, fix=Fix(START, "tp"))
FILES = {"build/x.yaml": load("a:\n  tpp: 4", "build/x.yaml")}


def test_colour_adds_escapes_alone():
    plain = render.as_text([FOUND], FILES, 1)
    coloured = render.as_text([FOUND], FILES, 1, colour=True)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_nothing_found_is_one_line_and_no_result():
    assert json.loads(render.as_sarif([]))["runs"][0]["results"] == []
    assert render.as_text([], {}, 3) == "3 files checked: nothing found\n"


@pytest.mark.parametrize("path", ["a\nb.yaml", "a\x1b[31m.yaml", "a\u202eb.yaml"])
def test_paths_and_messages_cannot_write_to_the_terminal(path):
    found = Diagnostic("VG101", Severity.ERROR, path, 1, 1, 1, 2, "key `\x1b[2J`", "\x07")
    text = render.as_text([found], {path: load("\x1b[2J: 1")}, 1)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert path not in text
    assert len(text.splitlines()) == 7


def test_a_long_line_is_not_shown():
    for length, shown in ((160, 4), (161, 1)):
        text = render.as_text([FOUND], {FOUND.path: load("a:\n  tpp: " + "x" * (length - 7))}, 0)
        assert len(text.splitlines()) == shown + 1  # and the hint


def test_json_is_the_contract():
    findings = [{**FIELDS, "severity": "error", "fixable": True}]
    report = {"version": 1, "checked": 7, "findings": findings}
    assert json.loads(render.as_json([FOUND], 7)) == report


def test_github_escapes_what_would_end_a_command():
    found = Diagnostic("VG101", Severity.WARNING, "a,b:\n%\x1b", 1, 2, 3, 4, "50 %\nnext", None)
    note = Diagnostic("VG903", Severity.INFO, "x.yaml", 1, 1, 1, 2, "large", None)
    assert render.as_github([FOUND, found, note]) == (
        "::error file=build/x.yaml,line=2,endLine=2,col=3,endColumn=5,title=VG101"
        "::unknown key `tpp`%0Adid you mean `tp`?\n"
        "::warning file=a%2Cb%3A%0A%25\\x1b,line=1,endLine=3,col=2,title=VG101::50 %25%0Anext\n"
        "::notice file=x.yaml,line=1,endLine=1,col=1,endColumn=1,title=VG903::large\n"
    )


def test_sarif_is_valid_by_the_published_schema():
    packed = Path(__file__).parents[2] / "data" / "sarif-schema-2.1.0.json.gz"
    schema = json.loads(gzip.decompress(packed.read_bytes()))
    result = check_paths([str(FOLDER)])
    log = json.loads(render.as_sarif(result.diagnostics))
    jsonschema.Draft4Validator(schema).validate(log)
    (run,) = log["runs"]
    assert len(run["results"]) == len(result.diagnostics) > 5
    for entry in run["results"]:
        assert run["tool"]["driver"]["rules"][entry["ruleIndex"]]["id"] == entry["ruleId"]


@pytest.mark.parametrize(
    ("value", "cells"), [("weights", 7), ("模型权重", 8), ("e\N{COMBINING ACUTE ACCENT}", 1)]
)
def test_carets_stand_under_their_word_whatever_the_script(value, cells):
    text = f"model: {{checkpoint: {value}, 预设: x}}\n"
    column = text.index("预设") + 1
    found = Diagnostic("VG101", Severity.ERROR, "a.yaml", 1, column, 1, column + 2, "unknown key")
    shown = render.as_text([found], {"a.yaml": load(text)}, 1)
    carets = shown.splitlines()[3]
    assert carets == " | " + " " * (len("model: {checkpoint: , ") + cells) + "^" * 4
