"""The texts of each set: its files, its formats, its rows."""

import gzip
import json
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vacc_gen.generator.calibration.texts import (
    RUNNING_TEXT_CHARS,
    calibration_targets,
    files_of,
    rows_of,
    texts_of,
)
from vacc_gen.presets import CALIBRATION_SETS
from vacc_gen.schema.errors import StageError, UnreadableError
from vacc_gen.schema.recipe import Calibration, TextSource


def source(name, path, **choice):
    return TextSource(set=name, path=str(path), **choice)


def texts(one, root):
    return [text.decode() for file in files_of(one, root) for text in texts_of(one, file)]


def write_lines(path, values):
    content = lines(values)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.fixture
def published(tmp_path):
    """A folder with one small file of each published set, laid out as their repositories are."""
    for split, word in (("train.00000-of-01024", "train"), ("validation.00000-of-00008", "held")):
        rows = [{"text": f"{word} {n}", "url": "https://example.org"} for n in range(3)]
        write_lines(tmp_path / f"en/c4-{split}.json.gz", rows)
    rows = [
        {"instruction": "Add.", "input": "2 and 3", "output": "5"},
        {"instruction": "Name a colour.", "input": "", "output": "Red"},
    ]
    (tmp_path / "alpaca_data_cleaned.json").write_text(json.dumps(rows))
    with zipfile.ZipFile(tmp_path / "ceval-exam.zip", "w") as archive:
        head = "id,question,A,B,C,D"
        archive.writestr("val/law_val.csv", f"\ufeff{head},answer\n0,何为法？,甲,乙,丙,丁,B\n")
        archive.writestr("exam/val/art_val.csv", f'{head},answer\n0,"a,\nb",1,2,3,4,D\n')
        archive.writestr("test/law_test.csv", f"{head}\n0,何为法？,甲,乙,丙,丁\n")
        archive.writestr("dev/law_dev.csv", f"{head},answer,explanation\n0,Q,a,b,c,d,A,why\n")
        archive.writestr("__MACOSX/val/._law_val.csv", b"\x00\xff")
    return tmp_path


ADD = (
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\nAdd.\n\n### Input:\n2 and 3\n\n### Response:\n5"
)
NAME = (
    "Below is an instruction that describes a task. Write a response that appropriately "
    "completes the request.\n\n### Instruction:\nName a colour.\n\n### Response:\nRed"
)
LAW = "何为法？\nA. 甲\nB. 乙\nC. 丙\nD. 丁\n答案："
DEV = "Q\nA. a\nB. b\nC. c\nD. d\n答案：A"
ART = "a,\nb\nA. 1\nB. 2\nC. 3\nD. 4\n答案：D"


@pytest.mark.parametrize(
    ("name", "path", "choice", "expected"),
    [
        ("c4", ".", {}, ["train 0", "train 1", "train 2"]),
        ("c4", ".", {"split": "validation"}, ["held 0", "held 1", "held 2"]),
        ("c4", "en/c4-validation.00000-of-00008.json.gz", {}, ["held 0", "held 1", "held 2"]),
        ("alpaca", "alpaca_data_cleaned.json", {}, [ADD, NAME]),
        ("ceval", "ceval-exam.zip", {}, [ART, f"{LAW}B"]),
        ("ceval", ".", {"split": "test"}, [LAW]),
        (
            "ceval",
            ".",
            {"split": "dev", "subjects": ("law",)},
            ["Q\nA. a\nB. b\nC. c\nD. d\n答案：A"],
        ),
    ],
)
def test_published_sets_are_read_by_split_and_subject(published, name, path, choice, expected):
    assert texts(source(name, path, **choice), published) == expected


def test_own_files_are_read_by_their_columns(tmp_path):
    write_lines(
        tmp_path / "own/b.jsonl",
        [{"text": "a\ud800b"}, {"text": " \n"}, {"instruction": "Go.", "output": "Gone"}],
    )
    (tmp_path / "own/a.txt").write_text("first")
    (tmp_path / "own/notes.md").write_text("not read")
    first, surrogate, instruction = texts(source("mine", "own"), tmp_path)
    assert (first, surrogate) == ("first", "a?b")
    assert instruction.endswith("### Instruction:\nGo.\n\n### Response:\nGone")


@pytest.mark.parametrize(
    ("name", "path", "choice", "message"),
    [
        ("c4", "ceval-exam.zip", {}, r"ceval-exam\.zip is not a file of c4: those end in \.json"),
        ("c4", "alpaca_data_cleaned.json", {}, "row 1 has no text: it has instruction, input, out"),
        ("ceval", "alpaca_data_cleaned.json", {}, r"is not a file of ceval: those end in \.zip"),
        ("alpaca", "en/c4-train.00000-of-01024.json.gz", {}, "row 1 has no text: it has text, url"),
        ("c4", "en/c4-train.00000-of-01024.json.gz", {"split": "validation"}, "not of the split"),
        (
            "ceval",
            ".",
            {"subjects": ("law", "low")},
            r"ceval-exam\.zip has no entry val/low_val\.csv",
        ),
        ("c4", "dev", {}, r"dev has no file c4-train\.\*\.json\* that"),
        ("mine", "dev", {}, r"has no file \* that ends in \.txt, "),
        ("alpaca", ".", {"split": "dev"}, "alpaca has train, not dev"),
        ("c4", ".", {"subjects": ("law",)}, "c4 has no subjects"),
    ],
)
def test_a_wrong_set_for_the_path(published, name, path, choice, message):
    (published / "dev").mkdir()
    with pytest.raises(StageError, match=message):
        texts(source(name, path, **choice), published)


def test_what_is_not_there(tmp_path):
    with pytest.raises(UnreadableError, match=r"the calibration set c4 is not there: .*nowhere"):
        files_of(source("c4", "nowhere"), tmp_path)
    with pytest.raises(UnreadableError, match=r"cannot read .*none\.json: No such file"):
        values(tmp_path / "none.json")


@pytest.mark.parametrize(
    "values",
    [{"set": "../x"}, {"weight": float("inf")}, {"packing": "padded"}, {"mix": ({"set": "c4"},)}],
)
def test_a_spec_that_means_nothing_is_refused(values):
    with pytest.raises(ValueError, match="validation error"):
        Calibration.model_validate({"set": "c4", "path": "x", "seqlen": 8, **values})


DOCUMENTS = [{"text": f"text {n} — №", "url": f"https://example.org/{n}"} for n in range(300)]


def gzipped(content):
    """A gzip member without its time: test workers must agree on the names of the tests."""
    return gzip.compress(content, mtime=0)


def lines(values):
    return "".join(json.dumps(value) + "\n" for value in values).encode()


def values(path, **choice):
    return [row for _, row in rows_of(path, **choice)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", b"\xef\xbb\xbf" + lines(DOCUMENTS) + b" \n"),
        ("a.json.gz", gzipped(lines(DOCUMENTS[:99])) + gzipped(lines(DOCUMENTS[99:]))),
        ("a.json", gzipped(json.dumps(DOCUMENTS, indent=1).encode())),
        ("a.json", b" \n" + json.dumps(DOCUMENTS, ensure_ascii=False).encode()),
    ],
)
def test_rows_come_back_as_they_were(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert values(tmp_path / name) == DOCUMENTS


@settings(max_examples=50)
@given(content=st.binary(max_size=400), name=st.sampled_from(["a.json", "a.txt", "a.zip"]))
def test_any_bytes_are_rows_or_a_clear_error(tmp_path_factory, content, name):
    folder = tmp_path_factory.mktemp("any")
    for prefix in (b"", b"\x1f\x8b\x08", b"PK\x03\x04", b"[", b'{"text":'):
        (folder / name).write_bytes(prefix + content)
        try:
            assert all(isinstance(row, dict) for row in values(folder / name, split="val"))
        except StageError as error:
            assert name in error.message


def damaged(content):
    middle = len(content) // 2
    return content[:middle] + b"\x00" * 8 + content[middle + 8 :]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json.gz", damaged(gzipped(lines(DOCUMENTS))), "a.json.gz.* is (damaged|not JSON)"),
        ("a.json.gz", gzipped(lines(DOCUMENTS))[:-30], "a.json.gz is damaged"),
        ("a.jsonl", b'{"text": "a"}\n\n{"text": \n', "a.jsonl, line 3 is not JSON"),
        ("a.json", b'[{"text": "a"}, {"text"]', "a.json is not JSON"),
        ("a.json", b'[{"text": "a"}] x', "a.json is not JSON: Extra data"),
        ("a.json", b'[{"a":' + b"[" * 100_000, "a.json is damaged: maximum recursion"),
        ("a.json", b"[{}, 17]", "a.json, row 2 is not a JSON object"),
        ("a.jsonl", b"{}\n[]", "a.jsonl, row 2 is not a JSON object"),
        ("a.jsonl", b'{"text": "caf\xe9"}', "a.jsonl is not UTF-8"),
        ("a.txt", "café".encode("latin-1"), "a.txt is not UTF-8"),
        ("a.zip", b"PK\x03\x04" + b"x" * 60, "a.zip is damaged"),
    ],
    ids=range(11),
)
def test_a_damaged_file_is_called_by_its_fault(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StageError, match=message):
        values(tmp_path / name)


def test_running_text_is_cut_at_line_ends_and_nothing_is_lost(tmp_path):
    text = "".join(f"line {n} of a text\n" for n in range(3000)) + "x" * 50_000 + "\r\nend"
    (tmp_path / "a.txt").write_text(text, newline="")
    texts = [value["text"] for value in values(tmp_path / "a.txt")]
    assert "".join(texts) == text
    assert max(map(len, texts)) <= RUNNING_TEXT_CHARS
    assert all(one.endswith("\n") for one in texts[:5])


TRAIN, VALIDATION = "c4-train.00000-of-01024.json.gz", "c4-validation.00000-of-00008.json.gz"
ALPACA = "alpaca_data_cleaned.json"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"set": "alpaca", "path": "a"}, {ALPACA: f"a/{ALPACA}"}),
        ({"set": "alpaca", "path": "/a/mine.json"}, {ALPACA: "/a/mine.json"}),
        ({"set": "ceval", "path": "x/exam.zip"}, {"ceval-exam.zip": "x/exam.zip"}),
        ({"set": "c4", "path": "c4"}, {f"en/{TRAIN}": f"c4/{TRAIN}"}),
        (
            {"set": "c4", "path": "c4", "split": "validation"},
            {f"en/{VALIDATION}": f"c4/{VALIDATION}"},
        ),
        ({"set": "c4", "path": "data/c4.json.gz"}, {f"en/{TRAIN}": "data/c4.json.gz"}),
        (
            {"set": "c4", "path": "c4/c4-train.00007-of-01024.json.gz"},
            {"en/c4-train.00007-of-01024.json.gz": "c4/c4-train.00007-of-01024.json.gz"},
        ),
    ],
)
def test_targets_follow_the_path_and_the_split(source, expected):
    found = calibration_targets(CALIBRATION_SETS.find(source["set"]), TextSource(**source))
    assert {str(name): str(path) for name, path in found.items()} == expected
