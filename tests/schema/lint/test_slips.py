import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.published import PATHS, named
from vacc_gen.schema.lint.document import load
from vacc_gen.schema.lint.slips import mended, slips


def right(line):
    return mended(line, slips(line))


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("    tp:4", "    tp: 4"),
        ("path:./x", "path: ./x"),
        ("path:/x/y", "path: /x/y"),
        ("- type:Resize", "- type: Resize"),
        ("  -19", "  - 19"),
        ("  --1", "  - -1"),
        ("  - x", "  - x"),
        ("tp\uff1a4", "tp: 4"),
        ("tp \uff1a 4", "tp : 4"),
        ("model_kwargs\uff1a", "model_kwargs:"),
        ("tp:\u30004", "tp: 4"),
        ("tp: 4\u00a0", "tp: 4"),
        ("\u3000\u3000tp: 4", "    tp: 4"),
        ("\u00a0\u00a0tp: 4", "  tp: 4"),
        ("\uff54\uff50\uff1a\uff14", "tp: 4"),
        ("name: \u201cx\u201d", 'name: "x"'),
        ("size: [1\uff0c2]", "size: [1, 2]"),
        ("size: \u30101, 2\u3011", "size: [1, 2]"),
        ("size: (1, 2)", "size: [1, 2]"),
        ("/9/Add: (1, 2)", "/9/Add: [1, 2]"),
        ("dtype: fp16,", "dtype: fp16"),
        ('"dtype": "fp16",', '"dtype": "fp16"'),
        ("size: [1, 2],", "size: [1, 2]"),
        ("tp = 4", "tp: 4"),
        ("tp=4", "tp: 4"),
        ("transformers==4.51.3", "transformers: 4.51.3"),
        ("accelerate==0.23", 'accelerate: "0.23"'),
        ("- type; Pad", "- type: Pad"),
        ("workers 4", "workers: 4"),
        ("\u2013 type: Pad", "- type: Pad"),
        ("\u2022 640", "- 640"),
        ("+ tp: 4", " tp: 4"),
        ("tp: 4# dies", "tp: 4 # dies"),
        ("tp: 4 // dies", "tp: 4 # dies"),
        ("suffix: jpg'", "suffix: jpg"),
    ],
)
def test_a_slip_is_put_right(line, meant):
    assert right(line).replace("tp : 4", "tp: 4") == meant.replace("tp : 4", "tp: 4")
    assert load(line).suspicious or line == meant


@pytest.mark.parametrize(
    "line",
    [
        "a: b:c",
        "C:\\weights",
        "url: https://host/x",
        "- https://host/x",
        "a: 'x,'",
        'a: "it\'s"',
        "a: x#y",
        "- plain words here",
        "a: [1, 2]  # \uff08note\uff09\uff0c",
        "# tp\uff1a4\uff0c",
        "a: |",
        "---",
        "--- # x",
        "<<: *base",
    ],
)
def test_what_is_no_slip_stays(line):
    assert right(line) == line


def test_lines_in_brackets_and_blocks_are_left_alone():
    text = "a: {b: 1,\n  c:2,\n  d = 3}\ne: |\n  f:1,\n  g = 2\nh:1\n"
    assert [slip.line for slip in slips(text)] == [7]


@pytest.mark.parametrize("path", PATHS, ids=named)
def test_a_healthy_text_has_no_slip_in_a_value(path):
    assert [slip for slip in slips(path.read_text(encoding="utf-8")) if slip.in_value] == []


MARKS = st.sampled_from([*"ab1:-=,;[](){}'\"#/ +\t", "\uff1a", "\u3000", "\u00a0", "\u201c", "\n"])


@settings(max_examples=400, deadline=None)
@given(st.lists(MARKS, max_size=30).map("".join))
def test_slips_lie_in_their_lines_and_do_not_overlap(text):
    lines = load(text).lines
    by_line = {}
    for slip in slips(text):
        assert 0 <= slip.start <= slip.end <= len(lines[slip.line - 1])
        by_line.setdefault(slip.line, []).append(slip)
    for line, found in by_line.items():
        ends = [0, *(slip.end for slip in found)]
        assert all(slip.start >= end for slip, end in zip(found, ends, strict=False))
        assert mended(lines[line - 1], found) != lines[line - 1]
