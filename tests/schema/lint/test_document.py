import math
import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.published import PATHS, named
from vacc_gen.schema.lint import reader
from vacc_gen.schema.lint.diagnostics import Fix, Span
from vacc_gen.schema.lint.document import MAX_BYTES, load
from vacc_gen.schema.lint.reader import MAX_NODES


@pytest.fixture(params=["CSafeLoader", "SafeLoader"])
def loader(request, monkeypatch):
    """With libyaml, and as on a machine that lacks it."""
    if not hasattr(yaml, request.param):
        pytest.skip("PyYAML was built without libyaml")
    monkeypatch.setattr(reader, "_Loader", getattr(yaml, request.param))
    return request.param


def test_values_and_spans_are_those_of_the_published_configs(loader):
    for path in PATHS:
        document = load(path.read_bytes(), str(path))
        assert document.faults == [], named(path)
        assert document.values == yaml.safe_load(path.read_bytes()), named(path)
        for steps, node in document.root.walk():
            assert node.span == document.span_at(node.span.start, node.span.end)
            if steps and isinstance(steps[-1], str):
                assert document.written(document.key_span(*steps)) == steps[-1]
            if not isinstance(node.value, (dict, list)):
                assert yaml.safe_load(document.written(node.span)) == node.value


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
        ("'4.51'", "4.51"),
        ("!!str 4.51", "4.51"),
        ("0x1F", 31),
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
    assert document.key_span("a", "b", 2, "c")[:4] == (2, 14, 2, 15)
    assert document.value_span("a", "z") == document.key_span("a")
    for path in (("a", "b", 7), ("a", "z"), ("a", "b", 0, "x")):
        assert document.node(*path) is None


@pytest.mark.parametrize(
    ("source", "code", "line", "column"),
    [
        ("a: 1\na: 2\n", "VG006", 2, 1),
        ("a: {b: 1, b: 2}\n", "VG006", 1, 11),
        ("a: !!python/object/apply:os.system [x]\n", "VG007", 1, 4),
        ("a: !include other.yaml\n", "VG007", 1, 4),
        ('a: !!timestamp "x"\n', "VG007", 1, 4),
        ("a: *missing\n", "VG007", 1, 4),
        ("a: &a\n  b: *a\n", "VG007", 2, 6),
        ("a: {<<: 5}\n", "VG007", 1, 9),
        ("no: 1\n", "VG008", 1, 1),
        ("? [a, b]\n: 1\n", "VG008", 1, 3),
        ("a: 2024-13-45\n", "VG007", 1, 4),
        ("a: 0b_\n", "VG007", 1, 4),
        ("a: 1\n---\nb: 2\n", "VG005", 2, 1),
        ("a: 'x\x00'\n", "VG002", 1, 6),
        ("a: \ud800\n", "VG002", 1, 4),
        ("\ufeffa: 1\n", "VG003", 1, 1),
        (b"ok: 1\nb: \xc3\x28\n", "VG002", 2, 4),
        (b"\xef\xbb\xbfa: \xff\n", "VG002", 1, 4),  # alone: a fix would cut the text short
        ("a: 1\n".encode("utf-16"), "VG002", 1, 1),
        ("a: 1\n".encode("utf-32"), "VG002", 1, 1),
        ("%YAML 9.0\n---\na: 1\n", "VG001", 1, 1),
        ("# nothing\n", "VG012", 1, 1),
    ],
)
def test_faults_stand_where_they_are(source, code, line, column):
    ((found, finding),) = load(source).faults
    assert (found, *finding.span[:2]) == (code, line, column)


def aliases(number):
    """Return lists, each of the one before `number` times."""
    rows = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * number)}]" for n in range(1, 30)]
    return "\n".join(["a0: &a0 [x]", *rows])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *((nesting * 65, "nested deeper than 64 levels") for nesting in ("[", "{a: ", "{", "- ")),
        *((nesting * 1500, "nested deeper than 64 levels") for nesting in ("[", "{a: ", "{", "- ")),
        ("".join(" " * n + "k:\n" for n in range(1000)), "nested deeper than 64 levels"),
        (aliases(9), f"aliases that stand for more than {MAX_NODES:,} values"),
        (f"[{'1,' * MAX_NODES}]", f"holds more than {MAX_NODES:,} values"),
        (
            b"a" * (MAX_BYTES + 1),
            f"larger than {MAX_BYTES:,} bytes, the most that a config may have",
        ),
    ],
    ids=lambda value: f"{value[:9]}-{len(value)}",
)
def test_what_is_too_much_is_one_finding(text, message, loader):
    ((code, finding),) = load(text).faults
    assert (code, finding.message) == ("VG004", message)


def test_a_line_of_quotes_or_spaces_takes_no_time():
    started = time.process_time()
    for text in ('a: "' + '\\"' * 50_000, "a: [\nb" + " " * 50_000 + "x", "a: [" + " 'x" * 50_001):
        assert load(text).found("VG001")
    assert time.process_time() - started < 2


def test_what_is_as_much_as_allowed_is_read(loader):
    for text in ("[" * 64 + "]" * 64, f"[{'1,' * (MAX_NODES - 1)}]", "#" * (MAX_BYTES - 2) + "\na"):
        assert load(text).faults == []


@pytest.mark.parametrize(
    "number",
    ["9" * 65, "0x" + "f" * 20_000, "1" + ":59" * 50_000, "1" + ":59" * 400 + ".5"],
    ids=lambda number: f"{number[:4]}-{len(number)}",
)
@pytest.mark.parametrize("form", ["tp: {}\n", "a: [[{}], [2048]]\n", "tp: !!int {}\n"])
def test_a_number_too_large_is_reported_and_not_made(form, number, loader):
    ((_, finding),) = load(form.format(number)).faults
    assert finding.message.endswith("is a number too large for any config")


def test_a_file_that_could_not_be_read_as_it_is_written_is_not_sound():
    assert load("a: 1\na: 2\n").is_sound
    assert load("\ufeffa: 1\n").is_sound
    for text in ("no: 1\n", "a: !x 1\n", "a: *b\n", "a: [", ""):
        assert not load(text).is_sound


@pytest.mark.parametrize(
    ("text", "removed"),
    [
        ("a: 1\n!a: 1  # x\n!b: 2\n", True),
        ("a:\n  b:\n    c: [1]\n  # d\n!  b:\n    c: [1]\n!  e: 2\n", True),
        ("a:\n- b: &x 1\n!  b: 1\n!- c\n", True),
        ("a:\n!a:\n!", True),
        ("a: {b: 1}\n!a: {b: 1}!", True),  # the last line may lack its end
        ("a: {b: 1!, b: 1!}\n", False),
        ("a: 1\n!a: &x 1\n!b: *x\n", False),  # an alias needs it
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_an_exact_duplicate_goes_with_its_lines_and_nothing_else(text, removed, end):
    before, duplicate, after = text.replace("\n", end).split("!")
    document = load(f"{before}{duplicate}{after}")
    ((_, finding),) = document.faults
    assert (finding.fix is not None) is removed
    if removed:
        assert document.fixed([finding.fix]) == before + after


def test_of_fixes_that_overlap_the_first_is_applied_and_neighbours_both():
    document = load("a：：1\n")
    both = [Fix(document.span_at(at, at + 1), ":") for at in (1, 2)]
    assert document.fixed(both) == "a::1\n"
    wide = Fix(document.span_at(0, 3), "b")
    assert document.fixed([wide, *both]) == "b1\n"


def test_the_byte_order_mark_stays_unless_it_is_the_fault():
    document = load("\ufeffa: 1\n")
    change = Fix(document.value_span("a"), "2")
    assert document.fixed([change]) == "\ufeffa: 2\n"
    assert document.fixed([change, document.found("VG003")[0].fix]) == "a: 2\n"


LETTERS = "abc:-[]{},#&*!|>'\"%@`?\t\n\r \x85\u2028\ufeff\x00\x1bé：，“0123."
FRAGMENTS = st.sampled_from([*LETTERS, "<<", "*a", "&a ", "!!", "\n  ", "{{ x }}"])


@settings(max_examples=300)
@given(st.lists(FRAGMENTS, max_size=40).map("".join) | st.binary(max_size=80))
def test_no_text_makes_it_raise(source):
    document = load(source)
    for span in (finding.span for _, finding in document.faults):
        assert 0 <= span.start <= span.end <= len(source)
        assert 1 <= span.line <= len(document.lines) + 1
        assert span.column >= 1
    assert document.root is not None or document.faults
