"""The texts of a calibration set: which files it has, and what in a row is text.

Standard library alone and no pydantic, so that a check of a recipe stays light.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vacc_gen.generator.calibration.rows import Format, OnBytes, format_of, rows_of
from vacc_gen.schema.errors import CalibrationError, UnreadableError


class Source(Protocol):
    """Where texts come from; `schema.calibration.TextSource` is one."""

    @property
    def set(self) -> str:
        """Name of the set."""

    @property
    def path(self) -> str:
        """Its file or folder."""

    @property
    def split(self) -> str | None:
        """Which part of it; None: the first that the set has."""

    @property
    def subjects(self) -> Sequence[str]:
        """Which subjects of ceval; empty: all."""


TextOf = Callable[[Mapping[str, object]], str | None]
"""Makes a text of a row; None where the row has none of its columns."""


def _document(row: Mapping[str, object]) -> str | None:
    text = row.get("text")
    return text if isinstance(text, str) else None


def _instruction(row: Mapping[str, object]) -> str | None:
    """As Stanford Alpaca trains (github.com/tatsu-lab/stanford_alpaca, PROMPT_DICT in train.py)."""
    instruction, given, output = (row.get(key) for key in ("instruction", "input", "output"))
    if not isinstance(instruction, str) or not isinstance(output, str):
        return None
    task = "Below is an instruction that describes a task"
    if isinstance(given, str) and given:
        return (
            f"{task}, paired with an input that provides further context. Write a response that "
            f"appropriately completes the request.\n\n### Instruction:\n{instruction}\n\n"
            f"### Input:\n{given}\n\n### Response:\n{output}"
        )
    return (
        f"{task}. Write a response that appropriately completes the request.\n\n"
        f"### Instruction:\n{instruction}\n\n### Response:\n{output}"
    )


def _question(row: Mapping[str, object]) -> str | None:
    """As C-Eval prompts (github.com/hkust-nlp/ceval, format_example): the answer if it is there."""
    question = row.get("question")
    if not isinstance(question, str):
        return None
    choices = [f"\n{letter}. {row[letter]}" for letter in "ABCD" if row.get(letter)]
    return f"{question}{''.join(choices)}\n答案：{row.get('answer') or ''}"


@dataclass(frozen=True)
class PublishedSet:
    """What is known of a published set's files."""

    formats: tuple[Format, ...]
    files: str
    """Pattern of file names in a folder; `{split}` stands for the split."""
    splits: tuple[str, ...]
    text_of: TextOf
    columns: str


PUBLISHED = {
    "c4": PublishedSet(
        (Format.JSON_LINES,), "c4-{split}.*.json*", ("train", "validation"), _document, "text"
    ),
    "ceval": PublishedSet(
        (Format.CSV_ZIP,), "*.zip", ("val", "dev", "test"), _question, "question"
    ),
    "alpaca": PublishedSet(
        (Format.JSON_LIST, Format.JSON_LINES),
        "*.json*",
        ("train",),
        _instruction,
        "instruction and output",
    ),
}
"""The sets that the compiler knows, by their name in `dataset.name`."""

CHECKED_BYTES = 32 << 20
"""Text that `check_enough` reads at the most."""
_OWN_SUFFIXES = (".txt", ".txt.gz", ".jsonl", ".jsonl.gz", ".json", ".json.gz", ".zip")
_ANY_TEXT: tuple[TextOf, ...] = (_document, _instruction, _question)


def check_source(source: Source) -> None:
    """Refuse a split or subjects that the set does not have.

    Raises:
        CalibrationError: it has none such.
    """
    known = PUBLISHED.get(source.set)
    if known is not None and source.split is not None and source.split not in known.splits:
        raise CalibrationError(f"{source.set} has {', '.join(known.splits)}, not {source.split}")
    if known is not None and source.subjects and source.set != "ceval":
        raise CalibrationError(f"{source.set} has no subjects; only ceval has")


def files_of(source: Source, root: Path) -> tuple[Path, ...]:
    """List the files of a set, in the order of their names; paths are relative to `root`.

    Raises:
        UnreadableError: `source.path` is not there.
        CalibrationError: a folder without such files, or a file of another split or format.
    """
    check_source(source)
    path = root / source.path
    known = PUBLISHED.get(source.set)
    if path.is_dir():
        pattern = known.files.format(split=source.split or known.splits[0]) if known else "*"
        found = sorted(
            file
            for file in path.rglob(pattern)
            if file.name.endswith(_OWN_SUFFIXES) and "/." not in f"/{file.relative_to(path)}"
        )
        if not found:
            raise CalibrationError(
                f"{path} has no file {pattern}"
                + ("" if known else f" that ends in {', '.join(_OWN_SUFFIXES)}"),
                hint="`vacc-gen fetch` brings the published sets",
            )
    elif path.is_file():
        found = [path]
    else:
        raise UnreadableError(
            f"the calibration set {source.set} is not there: {path}",
            hint="`vacc-gen fetch` brings the published sets",
        )
    for file in found:
        _check_file(file, source, known)
    return tuple(found)


def texts_of(
    source: Source, files: Sequence[Path], on_bytes: OnBytes = lambda _: None
) -> Iterator[bytes]:
    """Yield the text of every row of `files`, in UTF-8; rows whose text is empty are passed over.

    Raises:
        UnreadableError: a file cannot be opened.
        CalibrationError: a file is damaged or not UTF-8, or a row has no text.
    """
    known = PUBLISHED.get(source.set)
    candidates = (known.text_of,) if known else _ANY_TEXT
    split = source.split or (known.splits[0] if known else "val")
    for file in files:
        for row in rows_of(file, split, source.subjects, on_bytes):
            text = _text_of(row.value, candidates)
            if text is None:
                raise CalibrationError(
                    f"{row.place}, row {row.number} has no text: it has {_columns(row.value)}",
                    hint=f"each row of {source.set} has {known.columns}"
                    if known
                    else "each row has text, or instruction and output, or question",
                )
            if text and not text.isspace():
                yield text.encode("utf-8", "replace")  # JSON can hold halves of surrogate pairs


def windows_by_source(weights: Sequence[float], samples: int) -> list[int]:
    """Share `samples` windows out by weight; what is left over goes to the largest remainders."""
    exact = [samples * weight / sum(weights) for weight in weights]
    shares = [int(share) for share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda index: shares[index] - exact[index])
    for index in by_remainder[: samples - sum(shares)]:
        shares[index] += 1
    return shares


def check_enough(source: Source, root: Path, windows: int, seqlen: int, packing: str) -> None:
    """Refuse a set that cannot fill `windows` of `seqlen` tokens, where that is certain.

    A byte-level tokenizer makes no more tokens of a text than it has UTF-8 bytes, so this needs no
    tokenizer, and it stops reading as soon as there may be enough.

    Raises:
        UnreadableError, CalibrationError: that, or as `files_of` and `texts_of`.
    """
    texts = text_bytes = long_enough = 0
    for text in texts_of(source, files_of(source, root)):
        texts += 1
        text_bytes += len(text)
        long_enough += len(text) >= seqlen
        enough = (
            text_bytes + texts >= windows * seqlen  # an end-of-text token follows each
            if packing == "concatenate"
            else long_enough >= windows
        )
        if enough or text_bytes > CHECKED_BYTES:
            return
    have = (
        f"its {texts:,} texts have {text_bytes:,} bytes"
        if packing == "concatenate"
        else f"{long_enough:,} of its {texts:,} texts have that many bytes"
    )
    raise CalibrationError(
        f"{source.set} cannot fill {windows} windows of {seqlen} tokens: {have}, and a token is at "
        "least one",
        hint=too_few_hint(packing),
    )


def too_few_hint(packing: str) -> str:
    """What to do about too few texts."""
    packed = "" if packing == "concatenate" else ", `packing: concatenate`"
    return f"ask for fewer samples, a shorter seqlen{packed}, or bring more text"


def _check_file(file: Path, source: Source, known: PublishedSet | None) -> None:
    found = format_of(file)
    if known is None:
        return
    if found not in known.formats:
        raise CalibrationError(
            f"{file.name} is {found.value}, but {source.set} is published as "
            f"{known.formats[0].value}",
            hint="does calibration.set name the set that calibration.path points to?",
        )
    wanted = known.files.format(split=source.split)
    others = (known.files.format(split=split) for split in known.splits)
    if source.split and not file.match(wanted) and any(map(file.match, others)):
        raise CalibrationError(f"{file.name} is not of the split {source.split}")


def _text_of(row: Mapping[str, object], candidates: Sequence[TextOf]) -> str | None:
    texts = (text_of(row) for text_of in candidates)
    return next((text for text in texts if text is not None), None)


def _columns(row: Mapping[str, object]) -> str:
    return ", ".join(str(key) for key in list(row)[:6]) or "no columns"
