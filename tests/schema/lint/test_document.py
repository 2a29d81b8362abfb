import math

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.published import PATHS, named
from vacc_gen.schema.lint import reader
from vacc_gen.schema.lint.document import MAX_BYTES, Span, load
from vacc_gen.schema.lint.reader import MAX_DEPTH, MAX_NODES


@pytest.fixture(params=["CSafeLoader", "SafeLoader"])
def loader(request, monkeypatch):
    """With libyaml, and as on a machine that lacks it."""
    if not hasattr(yaml, request.param):
        pytest.skip("PyYAML was built without libyaml")
    monkeypatch.setattr(reader, "_Loader", getattr(yaml, request.param))
    return request.param


def kinds(source):
    return [problem.kind for problem in load(source).problems]


@pytest.mark.parametrize("path", PATHS, ids=named)
def test_values_are_those_of_pyyaml(path, loader):
    document = load(path.read_bytes(), str(path))
    assert document.problems == []
    assert document.values == yaml.safe_load(path.read_bytes())


@pytest.mark.parametrize("path", PATHS, ids=named)
def test_spans_hold_the_text_of_the_values(path):
    document = load(path.read_bytes(), str(path))
    stack = [document.root]
    while stack:
        node = stack.pop()
        written = document.text[node.span.start : node.span.end]
        assert node.span == document.span_at(node.span.start, node.span.end)
        if isinstance(node.value, dict):
            for key, entry in node.value.items():
                assert document.text[entry.key_span.start : entry.key_span.end] == key
                stack.append(entry.node)
        elif isinstance(node.value, list):
            stack += node.value
        else:
            assert yaml.safe_load(written) == node.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", False),
        ("0o17", "0o17"),
        ("017", 15),
        ("1e999", "1e999"),
        ("1.0e+999", math.inf),
        ("1:30", 90),
        ("~", None),
        ("4.51.3", "4.51.3"),
        ("4.51", 4.51),
        ("'4.51'", "4.51"),
        ("!!str 4.51", "4.51"),
        ("0x1F", 31),
        ("1_000", 1000),
    ],
)
def test_scalars_mean_what_they_mean_to_pyyaml(text, value, loader):
    document = load(f"key: {text}\n")
    assert document.values == {"key": value} == yaml.safe_load(f"key: {text}\n")


def test_merge_keys_are_merged(loader):
    text = "base: &base {a: 1, b: 2}\nsame:\n  <<: *base\n  b: 3\nboth: {<<: [*base, {c: 4}]}\n"
    assert load(text).values == yaml.safe_load(text)


def test_places_count_lines_and_columns_from_one(loader):
    document = load("a:\n  b: [1, é, {c: d}]\n")
    assert document.node("a", "b", 2, "c").span == Span(2, 17, 2, 18, 19, 20)
    assert document.node("a", "b", 1).span[:4] == (2, 10, 2, 11)
    assert document.node("a", "b", 7) is None
    assert document.node("a", "z") is None
    assert document.node("a", "b", 0, "x") is None


@pytest.mark.parametrize(
    ("source", "kind", "line", "column"),
    [
        ("a: 1\na: 2\n", "duplicate-key", 2, 1),
        ("a: {b: 1, b: 2}\n", "duplicate-key", 1, 11),
        ("a: !!python/object/apply:os.system [x]\n", "tag", 1, 4),
        ("a: !include other.yaml\n", "tag", 1, 4),
        ("a: *missing\n", "undefined-alias", 1, 4),
        ("a: &a\n  b: *a\n", "recursive-alias", 2, 6),
        ("a: {<<: 5}\n", "bad-merge", 1, 9),
        ("no: 1\n", "key-not-text", 1, 1),
        ("2024-01-01: 1\n", "key-not-text", 1, 1),
        ("? [a, b]\n: 1\n", "collection-key", 1, 3),
        ("{[a]: 1}\n", "collection-key", 1, 2),
        ("a: 2024-13-45\n", "bad-scalar", 1, 4),
        ("a: 0b_\n", "bad-scalar", 1, 4),
        (f"a: {'9' * 5000}\n", "bad-scalar", 1, 4),
        ("a: 1\n---\nb: 2\n", "several-documents", 2, 1),
        ("a: 'x\x00'\n", "control", 1, 6),
        ("a: \x1b[31m\n", "control", 1, 4),
        ("a: \ud800\n", "control", 1, 4),
        ("\ufeffa: 1\n", "bom", 1, 1),
        (b"\xef\xbb\xbfa: 1\n", "bom", 1, 1),
        (b"a: \xff\n", "not-text", 1, 4),
        (b"ok: 1\nb: \xc3\x28\n", "not-text", 2, 4),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "not-text", 1, 1),
        ("a: 1\n".encode("utf-16"), "encoding", 1, 1),
        ("a: 1\n".encode("utf-32"), "encoding", 1, 1),
        ("a: [1\nb: 2\n", "syntax", 2, 2),
        ("a:\n  b\n  c: 1\n", "syntax", 3, 4),
        ("@\n", "syntax", 1, 1),
        ("%YAML 9.0\n---\na: 1\n", "syntax", 1, 1),
    ],
)
def test_problems_stand_where_they_are(source, kind, line, column):
    problems = [problem for problem in load(source).problems if problem.kind == kind]
    assert [problem.span[:2] for problem in problems] == [(line, column)]


@pytest.mark.parametrize("nesting", ["[" * 10_000, "{a: " * 10_000, "- " * 10_000])
def test_deep_nesting_ends_at_the_bound(nesting, loader):
    if loader == "SafeLoader" and nesting.startswith("-"):
        nesting = nesting[:2000]  # the pure scanner takes its time with these
    (problem,) = load(nesting).problems
    assert problem.kind == "too-deep"
    assert problem.facts == {"limit": MAX_DEPTH}


def test_indented_nesting_ends_at_the_bound(loader):
    text = "".join(" " * depth + "k:\n" for depth in range(1000))
    assert kinds(text) == ["too-deep"]


def test_aliases_count_as_what_they_stand_for(loader):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    (problem,) = load("\n".join(lines)).problems
    assert problem.kind == "too-many"
    assert problem.facts == {"limit": MAX_NODES, "alias": True}


def test_many_values_end_at_the_bound():
    assert kinds("[" + "1," * (MAX_NODES + 1) + "]") == ["too-many"]


def test_large_texts_are_not_read():
    assert kinds(b"a" * (MAX_BYTES + 1)) == ["too-large"]
    assert kinds("a" * (MAX_BYTES + 1)) == ["too-large"]


def test_what_stands_before_an_error_is_kept():
    document = load("a: 1\nb:\n  c: [1, 2\nd: 3\n")
    assert not document.complete
    assert document.root.value["a"].node.value == 1


def test_an_empty_text_has_no_root():
    assert load("").root is None
    assert load("# nothing\n").values is None


FRAGMENTS = st.sampled_from(
    [
        *"abc:-[]{},#&*!|>'\"%@`?\t\n\r \x85\u2028\ufeff\x00\x1bé0123.",
        "<<",
        "*a",
        "&a ",
        "!!",
        "\n  ",
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(FRAGMENTS, max_size=40).map("".join))
def test_no_text_makes_it_raise(text):
    document = load(text)
    for problem in document.problems:
        assert 0 <= problem.span.start <= problem.span.end <= len(text)
        assert 1 <= problem.span.line <= len(document.lines) + 1
        assert problem.span.column >= 1
    assert document.values is None or document.root is not None


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80))
def test_no_bytes_make_it_raise(source):
    load(source)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64) + 1, 2**64 - 1)
    | st.text(max_size=8)
    | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(VALUES, st.booleans())
def test_what_pyyaml_writes_is_read_back(values, flow):
    text = yaml.safe_dump(values, default_flow_style=flow)
    assert load(text).values == yaml.safe_load(text)


@pytest.mark.parametrize(
    "number",
    [
        "9" * 400,
        "0x" + "f" * 300,
        "0x" + "f" * 20_000,
        "0b" + "1" * 2000,
        "1" + ":59" * 300_000,
        "1" + ":59" * 400 + ".5",
        "0x1" + "0" * 16,
    ],
    ids=lambda number: f"{number[:4]}-{len(number)}",
)
@pytest.mark.parametrize(
    "form", ["tp: {}\n", "name: {}\n", "a: [[{}], [2048]]\n", "tp: !!int {}\n"]
)
def test_a_number_too_large_is_told_and_not_made(form, number, loader):
    document = load(form.format(number))
    assert [problem.kind for problem in document.problems] == ["bad-scalar"]
    (entry,) = document.root.value.values()
    assert entry.node.rejected


def test_a_value_with_a_refused_tag_is_not_made(loader):
    document = load('tp: !!timestamp "x"\n')
    assert [problem.kind for problem in document.problems] == ["tag"]
    assert document.node("tp").rejected
