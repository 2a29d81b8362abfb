"""Edits of a text: what they take, what they leave, to the character."""

import pytest

from tests.published import FOLDER
from vacc_gen.schema.lint import fixes
from vacc_gen.schema.lint.check import check_text
from vacc_gen.schema.lint.diagnostics import Fix
from vacc_gen.schema.lint.document import load

FALCON = (FOLDER / "llm/falcon/build_in/build/hf_falcon_int8.yaml").read_text(encoding="utf-8")
TEXT = """\
name: x  # the name
frontend:
  type: onnx
  shape:
    a: [1]
    b: [2]
  # about the checkpoint
  checkpoint: y
backend: {type: z}
"""


def entry(document, *path):
    return document.node(*path[:-1]).value[path[-1]]


@pytest.mark.parametrize(
    ("path", "removed"),
    [
        (("name",), "name: x  # the name\n"),
        (("frontend", "type"), "  type: onnx\n"),
        (("frontend", "shape"), "  shape:\n    a: [1]\n    b: [2]\n"),
        (("frontend", "shape", "b"), "    b: [2]\n"),
        (("backend",), "backend: {type: z}\n"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_remove_takes_the_lines_of_the_entry_and_no_other(path, removed, end):
    document = load(TEXT.replace("\n", end))
    fix = fixes.remove(document, entry(document, *path))
    assert fixes.fixed(document, [fix]) == TEXT.replace(removed, "").replace("\n", end)


def test_remove_leaves_alone_what_shares_its_line():
    document = load("backend: {type: z, dtype: fp16}\nops:\n- type: a\n  size: 1\n")
    assert fixes.remove(document, entry(document, "backend", "dtype")) is None
    assert fixes.remove(document, entry(document, "ops", 0, "type")) is None


def test_remove_leaves_alone_what_an_alias_may_need():
    document = load("backend:\n  dtype: int8\n  dtype: &p int8\nname: *p\n")
    assert fixes.remove(document, entry(document, "backend", "dtype")) is None


def test_the_last_line_may_lack_its_end():
    document = load("a: 1\nb: 2")
    assert fixes.fixed(document, [fixes.remove(document, entry(document, "b"))]) == "a: 1\n"


@pytest.mark.parametrize(
    "values", ["dtype: fp16\n  dtype: fp16", "compile:\n    a: 1\n  compile:\n    a: 1"]
)
def test_an_exact_duplicate_goes_and_its_neighbours_stay(values):
    first = values[: len(values) // 2].rstrip()
    text = f"name: x\nbackend:\n  type: y\n  {values}  # twice\n  other: 1\nworkspace: {{}}\n"
    document = load(text)
    (fault,) = document.faults
    after = fixes.fixed(document, [fault.finding.fix])
    assert after == f"name: x\nbackend:\n  type: y\n  {first}\n  other: 1\nworkspace: {{}}\n"


def test_of_fixes_that_overlap_the_first_is_applied_and_neighbours_both():
    document = load("a：：1\n")
    both = [fixes.replace(document.span_at(at, at + 1), ":") for at in (1, 2)]
    assert fixes.fixed(document, both) == "a::1\n"
    wide = Fix(0, 3, "b")
    assert fixes.fixed(document, [wide, *both]) == "b1\n"


def test_the_byte_order_mark_stays_unless_it_is_the_fault():
    document = load("\ufeffa: 1\n")
    change = fixes.replace(document.value_span("a"), "2")
    assert fixes.fixed(document, [change]) == "\ufeffa: 2\n"
    assert fixes.fixed(document, [change, document.faults[0].finding.fix]) == "a: 2\n"


def test_marks_in_comments_and_quotes_are_nobodys_business():
    text = FALCON.replace("  workers: 4", '  x: "四：四"  # 四：四\n workers: 4')
    assert [(one.line, one.code) for one in check_text(text, "x.yaml")] == [(27, "VG001")]
