import gzip
import io
import json
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vacc_gen.generator.calibration import rows
from vacc_gen.generator.calibration.rows import Format, format_of, rows_of
from vacc_gen.schema.errors import CalibrationError, UnreadableError

DOCUMENTS = [{"text": f"text {n} — №", "url": f"https://example.org/{n}"} for n in range(300)]


def gzipped(content):
    """A gzip member without its time: test workers must agree on the names of the tests."""
    return gzip.compress(content, mtime=0)


def lines(values):
    return "".join(json.dumps(value) + "\n" for value in values).encode()


def values(path, **choice):
    return [row.value for row in rows_of(path, **choice)]


def write_zip(path, entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.json.gz", gzipped(lines(DOCUMENTS)), Format.JSON_LINES),
        ("a.jsonl", lines(DOCUMENTS), Format.JSON_LINES),
        ("a.json", b"\xef\xbb\xbf \n[{}]", Format.JSON_LIST),
        ("a.txt", b"[not JSON]", Format.PLAIN_TEXT),
        ("a.txt.gz", gzipped(b"words"), Format.PLAIN_TEXT),
        ("a.zip", b"PK\x05\x06" + bytes(18), Format.CSV_ZIP),
    ],
)
def test_a_format_is_told_by_its_first_bytes(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content)
    assert format_of(tmp_path / name) is expected


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", lines(DOCUMENTS)),
        ("a.jsonl", b"\xef\xbb\xbf\n" + lines(DOCUMENTS) + b" \n"),
        ("a.json.gz", gzipped(lines(DOCUMENTS[:99])) + gzipped(lines(DOCUMENTS[99:]))),
        ("a.json", json.dumps(DOCUMENTS, indent=1).encode()),
        ("a.json", json.dumps(DOCUMENTS, ensure_ascii=False).encode()),
    ],
)
def test_rows_come_back_as_they_were(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert values(tmp_path / name) == DOCUMENTS


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(
    expected=st.lists(st.dictionaries(st.text(), json_values, max_size=4), max_size=8),
    indent=st.sampled_from([None, 0, 3]),
    buffer_characters=st.integers(1, 40),
)
def test_a_list_is_read_alike_wherever_the_buffer_ends(expected, indent, buffer_characters):
    class Short(io.StringIO):
        def read(self, _size=-1, /):
            return super().read(buffer_characters)

    scanner = rows._JsonScanner(Short(json.dumps(expected, indent=indent)), "list")
    found = []
    assert scanner.take("[")
    while not scanner.take("]"):
        found.append(scanner.object(len(found) + 1))
        scanner.take(",")
    assert found == expected


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=400), name=st.sampled_from(["a.json", "a.txt", "a.gz", "a.zip"]))
def test_any_bytes_are_rows_or_a_clear_error(tmp_path_factory, content, name):
    folder = tmp_path_factory.mktemp("any")
    for prefix in (b"", b"\x1f\x8b\x08", b"PK\x03\x04", b"[", b'{"text":'):
        (folder / name).write_bytes(prefix + content)
        try:
            values(folder / name, split="val")
        except CalibrationError as error:
            assert name in error.message


def damaged(content):
    middle = len(content) // 2
    return content[:middle] + bytes(b ^ 0xFF for b in content[middle : middle + 8]) + (
        content[middle + 8 :]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json.gz", damaged(gzipped(lines(DOCUMENTS))), "damaged compressed file"),
        ("a.json.gz", gzipped(lines(DOCUMENTS))[:-30], "damaged compressed file"),
        (
            "a.json.gz",
            gzipped(lines(DOCUMENTS)) + damaged(gzipped(lines(DOCUMENTS))),
            "damaged compressed file",
        ),
        ("a.jsonl", b'{"text": "a"}\n{"text": \n', "a.jsonl, line 2 is not JSON"),
        ("a.json", b'[{"text": "a"}, {"text"]', "a.json, row 2 is not JSON"),
        ("a.json", b'[{"text": "a"} {"text": "b"}]', "breaks off after row 1"),
        ("a.json", b'[{"text": "a"}', "breaks off after row 1"),
        ("a.json", b'[{"text": "a"}] x', "follows the end of the list"),
        ("a.json", b'[{"a":' + b"[" * 100_000, "row 1 is not JSON"),
        ("a.json", b"[17]", "a.json, row 1 is not a JSON object"),
        ("a.jsonl", b"{}\n[]", "a.jsonl, line 2 is not a JSON object"),
        ("a.jsonl", b'{"text": "caf\xe9"}', "a.jsonl is not UTF-8"),
        ("a.txt", "café".encode("latin-1"), "a.txt is not UTF-8"),
        ("a.jsonl", b" \n ", "a.jsonl is empty"),
        ("a.bin", b"\x00\x01", "neither JSON"),
        ("a.zip", b"PK\x03\x04" + b"x" * 60, "damaged zip archive"),
    ],
)
def test_a_damaged_file_is_called_by_its_fault(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CalibrationError, match=message):
        values(tmp_path / name)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UnreadableError, match=r"cannot read .*none\.json: No such file"):
        values(tmp_path / "none.json")


def test_an_endless_line_ends_in_an_error(tmp_path):
    with gzip.open(tmp_path / "a.json.gz", "wb", compresslevel=1) as file:
        file.write(b'{"text": "')
        for _ in range(40):
            file.write(b"0" * (1 << 20))
    with pytest.raises(CalibrationError, match="line of more than 16 MiB"):
        values(tmp_path / "a.json.gz")


CSV = 'id,question,A,B,C,D,answer\n0,问,一,二,三,四,A\n1,"a,\nb",1,2,3,4,D\n'


def test_entries_of_a_zip_are_chosen_by_split_and_subject(tmp_path):
    path = write_zip(
        tmp_path / "exam.zip",
        {
            "val/law_val.csv": CSV,
            "exam/val/art_val.csv": "\ufeff" + CSV,
            "dev/law_dev.csv": CSV,
            "__MACOSX/val/._law_val.csv": b"\x00\xff",
        },
    )
    found = list(rows_of(path, "val"))
    assert [row.place for row in found] == 2 * ["exam.zip: exam/val/art_val.csv"] + 2 * [
        "exam.zip: val/law_val.csv"
    ]
    assert [row.value["question"] for row in found] == 2 * ["问", "a,\nb"]
    assert len(list(rows_of(path, "val", ["law"]))) == 2
    with pytest.raises(CalibrationError, match=r"no entry val/low_val\.csv") as raised:
        values(path, split="val", subjects=["law", "low"])
    assert raised.value.hint == "did you mean law?"
    with pytest.raises(CalibrationError, match="no entry test/<subject>_test"):
        values(path, split="test")


@pytest.mark.parametrize(
    "entry", ["../val/law_val.csv", "val/../../x", "/etc/x", "..\\x", "C:\\x", "\\x"]
)
def test_a_zip_that_points_outside_is_refused(tmp_path, entry):
    path = write_zip(tmp_path / "exam.zip", {"val/law_val.csv": CSV, entry: CSV})
    with pytest.raises(CalibrationError, match="points outside"):
        values(path, split="val")


def test_a_damaged_entry_of_a_zip(tmp_path):
    path = write_zip(tmp_path / "exam.zip", {"val/law_val.csv": CSV * 50})
    content = bytearray(path.read_bytes())
    content[60] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(CalibrationError, match="damaged"):
        values(path, split="val")


def test_running_text_is_cut_at_line_ends_and_nothing_is_lost(tmp_path):
    text = "".join(f"line {n} of a text\n" for n in range(3000)) + "x" * 50_000 + "\r\nend"
    (tmp_path / "a.txt").write_text(text, newline="")
    texts = [value["text"] for value in values(tmp_path / "a.txt")]
    assert "".join(texts) == text
    assert max(map(len, texts)) <= rows.RUNNING_TEXT_CHARS
    assert all(one.endswith("\n") for one in texts[:5])


def test_the_bytes_that_are_told_are_those_of_the_file(tmp_path):
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzipped(lines(DOCUMENTS * 50)))
    told = []
    assert len(list(rows_of(path, on_bytes=told.append))) == 50 * len(DOCUMENTS)
    assert sum(told) == path.stat().st_size
