import gzip
import json
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vacc_gen.generator.calibration.texts import check_enough, files_of, texts_of, windows_by_source
from vacc_gen.schema.calibration import Calibration, TextSource
from vacc_gen.schema.errors import CalibrationError, UnreadableError


def source(name, path, **choice):
    return TextSource(set=name, path=str(path), **choice)


def texts(one, root):
    return [text.decode() for text in texts_of(one, files_of(one, root))]


def write_lines(path, values):
    content = "".join(json.dumps(value) + "\n" for value in values).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.fixture
def published(tmp_path):
    """A folder with one small file of each published set, laid out as their repositories are."""
    page = {"timestamp": "2019-04-25T12:57:54Z", "url": "https://example.org"}
    for split, word in (("train.00000-of-01024", "train"), ("validation.00000-of-00008", "held")):
        rows = [{"text": f"{word} {n}", **page} for n in range(3)]
        write_lines(tmp_path / f"en/c4-{split}.json.gz", rows)
    (tmp_path / "alpaca_data_cleaned.json").write_text(
        json.dumps(
            [
                {"instruction": "Add.", "input": "2 and 3", "output": "5"},
                {"instruction": "Name a colour.", "input": "", "output": "Red"},
            ]
        )
    )
    with zipfile.ZipFile(tmp_path / "ceval-exam.zip", "w") as archive:
        head = "id,question,A,B,C,D"
        archive.writestr("val/law_val.csv", f"{head},answer\n0,何为法？,甲,乙,丙,丁,B\n")
        archive.writestr("test/law_test.csv", f"{head}\n0,何为法？,甲,乙,丙,丁\n")
        archive.writestr("dev/law_dev.csv", f"{head},answer,explanation\n0,Q,a,b,c,d,A,why\n")
    return tmp_path


def test_c4_is_read_by_split(published):
    assert texts(source("c4", "."), published) == ["train 0", "train 1", "train 2"]
    assert texts(source("c4", ".", split="validation"), published)[0] == "held 0"
    assert texts(source("c4", "en/c4-validation.00000-of-00008.json.gz"), published)[0] == "held 0"
    wrong = source("c4", "en/c4-validation.00000-of-00008.json.gz", split="train")
    with pytest.raises(CalibrationError, match="is not of the split train"):
        files_of(wrong, published)


def test_alpaca_wears_its_instruction_template(published):
    with_input, without_input = texts(source("alpaca", "alpaca_data_cleaned.json"), published)
    assert with_input == (
        "Below is an instruction that describes a task, paired with an input that provides further "
        "context. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nAdd.\n\n### Input:\n2 and 3\n\n### Response:\n5"
    )
    assert without_input == (
        "Below is an instruction that describes a task. Write a response that appropriately "
        "completes the request.\n\n### Instruction:\nName a colour.\n\n### Response:\nRed"
    )


def test_ceval_asks_its_questions(published):
    question = "何为法？\nA. 甲\nB. 乙\nC. 丙\nD. 丁\n答案："
    assert texts(source("ceval", "ceval-exam.zip"), published) == [question + "B"]
    assert texts(source("ceval", ".", split="test"), published) == [question]
    assert texts(source("ceval", ".", split="dev", subjects=("law",)), published) == [
        "Q\nA. a\nB. b\nC. c\nD. d\n答案：A"
    ]


def test_own_files_are_read_by_their_columns(tmp_path):
    write_lines(
        tmp_path / "own/b.jsonl",
        [{"text": "one"}, {"text": " \n"}, {"instruction": "Go.", "output": "Gone"}],
    )
    (tmp_path / "own/a.txt").write_text("first")
    (tmp_path / "own/notes.md").write_text("not read")
    found = texts(source("mine", "own"), tmp_path)
    assert found[:2] == ["first", "one"]
    assert found[2].endswith("### Instruction:\nGo.\n\n### Response:\nGone")
    assert len(found) == 3


def test_half_a_surrogate_pair_does_not_stop_the_reading(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a\\ud800b"}\n')
    assert texts(source("mine", "a.jsonl"), tmp_path) == ["a?b"]


@pytest.mark.parametrize(
    ("name", "path", "message"),
    [
        ("c4", "ceval-exam.zip", "ceval-exam.zip is a zip archive, but c4 is published as JSON l"),
        ("c4", "alpaca_data_cleaned.json", "is a JSON list, but c4 is published as JSON lines"),
        ("alpaca", "ceval-exam.zip", "is a zip archive, but alpaca is published as a JSON list"),
        ("ceval", "alpaca_data_cleaned.json", "is a JSON list, but ceval is published as a zip"),
        ("alpaca", "en/c4-train.00000-of-01024.json.gz", "row 1 has no text: it has text, time"),
    ],
)
def test_a_wrong_set_for_the_path(published, name, path, message):
    with pytest.raises(CalibrationError, match=message):
        texts(source(name, path), published)


def test_what_is_not_there(published):
    with pytest.raises(UnreadableError, match=r"the calibration set c4 is not there: .*nowhere"):
        files_of(source("c4", "nowhere"), published)
    (published / "empty").mkdir()
    with pytest.raises(CalibrationError, match=r"empty has no file c4-train\.\*\.json\*"):
        files_of(source("c4", "empty"), published)
    with pytest.raises(CalibrationError, match=r"has no file \* that ends in \.txt"):
        files_of(source("mine", "empty"), published)


def test_a_row_without_text_is_named(tmp_path):
    write_lines(tmp_path / "a.jsonl", [{"text": "one"}, {"url": "x", "txt": "two"}])
    with pytest.raises(CalibrationError, match=r"a\.jsonl, row 2 has no text: it has url, txt"):
        texts(source("mine", "a.jsonl"), tmp_path)
    write_lines(tmp_path / "b.jsonl", [{"text": 3}])
    with pytest.raises(CalibrationError, match=r"b\.jsonl, row 1 has no text"):
        texts(source("c4", "b.jsonl"), tmp_path)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"set": "alpaca", "split": "dev"}, "alpaca has train, not dev"),
        ({"set": "c4", "split": "val"}, "c4 has train, validation, not val"),
        ({"set": "c4", "subjects": ("law",)}, "c4 has no subjects"),
    ],
)
def test_splits_and_subjects_that_a_set_does_not_have(tmp_path, choice, message):
    with pytest.raises(CalibrationError, match=message):
        files_of(TextSource(path=".", **choice), tmp_path)


@pytest.mark.parametrize(
    ("packing", "windows", "seqlen", "enough"),
    [
        ("concatenate", 3, 36, True),  # 10 texts of 10 bytes and an end-of-text token: 110
        ("concatenate", 3, 37, False),
        ("concatenate", 1, 110, True),
        ("concatenate", 1, 111, False),
        ("one_text", 10, 10, True),
        ("one_text", 11, 10, False),
        ("one_text", 1, 11, False),
    ],
)
def test_too_few_texts_are_known_without_a_tokenizer(tmp_path, packing, windows, seqlen, enough):
    write_lines(tmp_path / "a.jsonl", [{"text": "0123456789"}] * 10)
    if enough:
        check_enough(source("mine", "a.jsonl"), tmp_path, windows, seqlen, packing)
        return
    with pytest.raises(CalibrationError, match=f"cannot fill {windows} windows of {seqlen} tokens"):
        check_enough(source("mine", "a.jsonl"), tmp_path, windows, seqlen, packing)


def test_enough_is_known_before_the_damage_at_the_end_is_reached(tmp_path):
    """The check reads no further than it must; the stage itself reads everything."""
    content = "".join(json.dumps({"text": f"{n} " * 200}) + "\n" for n in range(20_000)).encode()
    (tmp_path / "c4-train.0.json.gz").write_bytes(gzip.compress(content, 1)[:-100])
    check_enough(source("c4", "."), tmp_path, 8, 128, "concatenate")


@given(weights=st.lists(st.floats(0.01, 100), min_size=1, max_size=6), samples=st.integers(1, 1000))
def test_windows_are_shared_out_to_the_last_one(weights, samples):
    shares = windows_by_source(weights, samples)
    assert sum(shares) == samples
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share - samples * weight / sum(weights)) < 1


def test_the_simple_form_stays_simple():
    spec = Calibration.model_validate_json('{"set": "alpaca", "path": "/x.json", "seqlen": 512}')
    assert (spec.samples, spec.seed, spec.packing) == (128, 0, "concatenate")
    assert spec.sources == (spec,)


@pytest.mark.parametrize(
    "values",
    [
        {"set": "../x"},
        {"set": "c4", "weight": 0},
        {"set": "c4", "weight": float("inf")},
        {"set": "c4", "seed": -1},
        {"set": "c4", "packing": "padded"},
        {"set": "c4", "mix": ({"set": "alpaca"},)},
    ],
)
def test_a_spec_that_means_nothing_is_refused(values):
    with pytest.raises(ValueError, match="validation error"):
        Calibration.model_validate({"path": "x", "seqlen": 8, **values})
