"""The texts of a calibration set: which files it has, how they are read, what in a row is text.

Files are read a row at a time, so memory does not grow with them; a JSON list is read whole.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

from vacc_gen.schema.errors import StageError, UnreadableError
from vacc_gen.schema.preset import CalibrationSet
from vacc_gen.schema.recipe import TextSource

RUNNING_TEXT_CHARS = 8 << 10
"""Plain text has no rows; it is cut at line ends into texts of about this length."""

JSON_SUFFIXES = (".json", ".json.gz", ".jsonl", ".jsonl.gz")
"""Of files with an object a line or one list of objects, whichever the first character shows."""

Row: TypeAlias = Mapping[str, object]
Stream: TypeAlias = io.BufferedReader | gzip.GzipFile


def _document(row: Row) -> str | None:
    text = row.get("text")
    return text if isinstance(text, str) else None


def _instruction(row: Row) -> str | None:
    """As Stanford Alpaca trains (github.com/tatsu-lab/stanford_alpaca, PROMPT_DICT in train.py)."""
    instruction, given, output = (row.get(key) for key in ("instruction", "input", "output"))
    if not isinstance(instruction, str) or not isinstance(output, str):
        return None
    context, input_part = "", ""
    if isinstance(given, str) and given:
        context = ", paired with an input that provides further context"
        input_part = f"### Input:\n{given}\n\n"
    return (
        f"Below is an instruction that describes a task{context}. Write a response that "
        f"appropriately completes the request.\n\n### Instruction:\n{instruction}\n\n"
        f"{input_part}### Response:\n{output}"
    )


def _question(row: Row) -> str | None:
    """As C-Eval prompts (github.com/hkust-nlp/ceval, format_example): the answer if it is there."""
    question = row.get("question")
    if not isinstance(question, str):
        return None
    choices = [f"\n{letter}. {row[letter]}" for letter in "ABCD" if row.get(letter)]
    return f"{question}{''.join(choices)}\n答案：{row.get('answer') or ''}"


@dataclass(frozen=True)
class TextSet:
    """How the files of a set are named, and what in their rows is text."""

    files: str
    """Pattern of file names in a folder; `{split}` stands for the split."""
    suffixes: tuple[str, ...]
    splits: tuple[str, ...]
    text_of: Callable[[Row], str | None]
    """Makes a text of a row; None where the row has not its columns."""
    columns: str

    def pattern(self, split: str | None) -> str:
        """The pattern of the files of `split`, or of the first split."""
        return self.files.format(split=split or self.splits[0])

    def split_of(self, file_name: str) -> str | None:
        """The split that a file is of, where its name shows it."""
        splits = self.splits if "{split}" in self.files else ()
        return next((split for split in splits if fnmatch(file_name, self.pattern(split))), None)


PUBLISHED = {
    "c4": TextSet("c4-{split}.*.json*", JSON_SUFFIXES, ("train", "validation"), _document, "text"),
    "ceval": TextSet("*.zip", (".zip",), ("val", "dev", "test"), _question, "question"),
    "alpaca": TextSet("*.json*", JSON_SUFFIXES, ("train",), _instruction, "instruction and output"),
}
"""The sets that the compiler knows, by their name in `dataset.name`."""

OWN = TextSet(
    files="*",
    suffixes=(".txt", ".txt.gz", *JSON_SUFFIXES),
    splits=("",),
    text_of=lambda row: _document(row) if "text" in row else _instruction(row),
    columns="text, or instruction and output",
)
"""Your own files, under any other name."""


def files_of(source: TextSource, root: Path) -> tuple[Path, ...]:
    """List the files of a set, in the order of their names; paths are relative to `root`.

    Raises:
        UnreadableError: `source.path` is not there.
        StageError: the set has no such split or subjects, the folder has no such files, or a
            file is of another split or format.
    """
    path, known = root / source.path, PUBLISHED.get(source.set, OWN)
    if known is not OWN and source.split not in (None, *known.splits):
        raise StageError(f"{source.set} has {', '.join(known.splits)}, not {source.split}")
    if known is not OWN and source.subjects and source.set != "ceval":
        raise StageError(f"{source.set} has no subjects; only ceval has")
    suffixes = ", ".join(known.suffixes)
    if path.is_file():
        if not path.name.endswith(known.suffixes):
            raise StageError(
                f"{path.name} is not a file of {source.set}: those end in {suffixes}",
                "set calibration.set to the set that calibration.path points to",
            )
        if source.split and known.split_of(path.name) not in (None, source.split):
            raise StageError(f"{path.name} is not of the split {source.split}")
        return (path,)
    hint = "`vacc-gen fetch` downloads the published sets"
    if not path.is_dir():
        raise UnreadableError(f"the calibration set {source.set} is not there: {path}", hint)
    pattern = known.pattern(source.split)
    listed = [file for file in path.rglob(pattern) if file.name.endswith(known.suffixes)]
    found = sorted(file for file in listed if "/." not in f"/{file.relative_to(path)}")
    if not found:
        raise StageError(f"{path} has no file {pattern} that ends in {suffixes}", hint)
    return tuple(found)


def texts_of(source: TextSource, file: Path) -> Iterator[bytes]:
    """Yield the text of every row of `file`, in UTF-8; rows whose text is empty are passed over.

    Raises:
        UnreadableError: the file cannot be opened.
        StageError: it is damaged or not UTF-8, or a row has no text.
    """
    known = PUBLISHED.get(source.set, OWN)
    for place, row in rows_of(file, source.split or known.splits[0], source.subjects):
        text = known.text_of(row)
        if text is None:
            raise StageError(
                f"{place} has no text: it has {', '.join(list(map(str, row))[:6]) or 'no columns'}",
                f"each row of {source.set} must have {known.columns}",
            )
        if text and not text.isspace():
            yield text.encode("utf-8", "replace")  # JSON can hold lone surrogates


def rows_of(path: Path, split: str = "", subjects: Sequence[str] = ()) -> Iterator[tuple[str, Row]]:
    """Yield (place, row) for the rows of a file; `split` and `subjects` choose entries of a zip.

    Raises:
        UnreadableError: the file cannot be opened.
        StageError: the file is damaged, not UTF-8, or not what its name says.
    """
    try:
        with path.open("rb") as file:
            is_packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if is_packed else path.open("rb") as stream:
            if path.name.endswith(".zip"):
                yield from _csv_rows(stream, path.name, split, subjects)
            elif path.name.endswith((".txt", ".txt.gz")):
                yield from _running_text(stream, path.name)
            else:
                yield from _json_rows(stream, path.name)
    except UnicodeDecodeError as error:
        message = f"{path.name} is not UTF-8: {error.reason}"
        raise StageError(message, "convert it with iconv") from error
    # A locked zip is a RuntimeError, and so is JSON that is nested too deep.
    except (
        EOFError, gzip.BadGzipFile, zlib.error, zipfile.BadZipFile, csv.Error, RuntimeError
    ) as error:  # fmt: skip
        raise StageError(f"{path.name} is damaged: {error}", "fetch it again") from error
    except OSError as error:
        raise UnreadableError(f"cannot read {path}: {error.strerror or error}") from error


def _json_rows(stream: Stream, name: str) -> Iterator[tuple[str, Row]]:
    """The objects of a list, which is read whole, or one a line."""
    is_list = stream.peek(1).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")
    values = _parsed(stream.read(), name) if is_list else _json_lines(stream, name)
    for number, value in enumerate(values, start=1):
        place = f"{name}, row {number}"
        if not isinstance(value, dict):
            raise StageError(f"{place} is not a JSON object")
        yield place, value


def _json_lines(stream: Stream, name: str) -> Iterator[Any]:
    for number, line in enumerate(stream, start=1):
        if not line.isspace():
            yield _parsed(line, f"{name}, line {number}")


def _parsed(text: bytes, place: str) -> Any:
    try:
        return json.loads(text.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise StageError(f"{place} is not JSON: {error}") from error


def _running_text(stream: Stream, name: str) -> Iterator[tuple[str, Row]]:
    characters = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    text = ""
    while line := characters.readline(RUNNING_TEXT_CHARS):
        if text and len(text) + len(line) > RUNNING_TEXT_CHARS:
            yield name, {"text": text}
            text = ""
        text += line
    yield name, {"text": text}


def _csv_rows(
    stream: Stream, name: str, split: str, subjects: Sequence[str]
) -> Iterator[tuple[str, Row]]:
    """The rows of the entries `<split>/<subject>_<split>.csv`, in the order of the subjects."""
    with zipfile.ZipFile(stream) as archive:
        entries = {}
        for entry in map(PurePosixPath, archive.namelist()):
            if entry.match(f"{split}/*_{split}.csv") and "__MACOSX" not in entry.parts:
                entries[entry.name.removesuffix(f"_{split}.csv")] = str(entry)
        for subject in subjects or sorted(entries) or ["<subject>"]:
            if subject not in entries:
                raise StageError(
                    f"{name} has no entry {split}/{subject}_{split}.csv",
                    f"it has {', '.join(sorted(entries)) or 'none of that split'}",
                )
            with archive.open(entries[subject]) as file:
                lines = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
                for number, row in enumerate(csv.DictReader(lines), start=1):
                    yield f"{name}: {entries[subject]}, row {number}", row


def calibration_targets(
    preset: CalibrationSet, source: TextSource
) -> dict[PurePosixPath, PurePosixPath]:
    """Map files of a published set's repository to where the recipe looks for them.

    A path that names a file takes the published file of that name where the set has many, such as
    c4-train.00007-of-01024.json.gz, and else the one of the preset.
    """
    published = PUBLISHED.get(preset.name, OWN)
    path = PurePosixPath(source.path)
    files = [PurePosixPath(name) for name in preset.files]
    wanted = [file for file in files if fnmatch(file.name, published.pattern(source.split))]
    if not path.name.endswith(published.suffixes):
        return {file: path / file.name for file in wanted}
    if published.split_of(path.name):
        return {files[0].with_name(path.name): path}
    return {wanted[0]: path}
