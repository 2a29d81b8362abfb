"""The file formats that texts come in: from a file to its rows, one at a time.

Nothing is read whole: memory stays within `MAX_ROW_BYTES` and some buffers, whatever a file holds.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import io
import itertools
import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple, cast

from vacc_gen.schema.errors import CalibrationError, UnreadableError

MAX_ROW_BYTES = 16 << 20
"""A longer row is refused: no text is that long, and a gzip of zeros would not end."""
RUNNING_TEXT_CHARS = 8 << 10
"""Plain text has no rows; it is cut at line ends into texts of about this length."""
_BUFFER_BYTES = 1 << 18
_GZIP_MAGIC = b"\x1f\x8b"
_ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")

OnBytes = Callable[[int], None]
"""Is told how many more bytes of a file were read."""


class Row(NamedTuple):
    """One row and where it stands: `place` is a file or an entry of it, `number` counts from 1."""

    place: str
    number: int
    value: Mapping[str, Any]


class Format(str, Enum):
    """A file format; the value is how messages call it."""

    JSON_LINES = "JSON lines"
    JSON_LIST = "a JSON list"
    CSV_ZIP = "a zip archive"
    PLAIN_TEXT = "plain text"


class _CountedFile(io.FileIO):
    """A file that tells how much of it was read."""

    def __init__(self, path: Path, on_bytes: OnBytes) -> None:
        super().__init__(path)
        self._on_bytes = on_bytes

    def readinto(self, buffer: Any, /) -> int | None:
        count = super().readinto(buffer)
        if count:
            self._on_bytes(count)
        return count


def format_of(path: Path) -> Format:
    """Tell a file's format from its first bytes, gzipped or not; plain text by its name.

    Raises:
        UnreadableError: the file cannot be opened.
        CalibrationError: the file is empty, a damaged gzip file, or of none of the formats.
    """
    with _reading(path), _opened(path, lambda _: None) as stream:
        head = stream.read(4096)
    if not head.strip():
        raise CalibrationError(f"{path.name} is empty")
    if head.startswith(_ZIP_MAGICS):
        return Format.CSV_ZIP
    if path.name.removesuffix(".gz").endswith(".txt"):
        return Format.PLAIN_TEXT
    first = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if first in (b"[", b"{"):
        return Format.JSON_LIST if first == b"[" else Format.JSON_LINES
    raise CalibrationError(
        f"{path.name} is neither JSON, nor a zip archive, nor a .txt file",
        hint="texts are read from .json.gz, .jsonl, .json, .zip and .txt files",
    )


def rows_of(
    path: Path,
    split: str = "",
    subjects: Iterable[str] = (),
    on_bytes: OnBytes = lambda _: None,
) -> Iterator[Row]:
    """Yield the rows of a file in their order; `split` and `subjects` choose entries of a zip.

    Raises:
        UnreadableError: the file cannot be opened.
        CalibrationError: the file is damaged, not UTF-8, or not what it should be.
    """
    format_ = format_of(path)
    with _reading(path):
        if format_ is Format.CSV_ZIP:
            yield from _csv_rows(path, split, tuple(subjects), on_bytes)
            return
        with _opened(path, on_bytes) as stream:
            if format_ is Format.JSON_LINES:
                yield from _json_lines(stream, path.name)
            elif format_ is Format.JSON_LIST:
                yield from _json_list(stream, path.name)
            else:
                yield from _running_text(stream, path.name)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Say in our words what the standard library found wrong with a file."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise CalibrationError(
            f"{path.name} is not UTF-8: {error.reason}", hint="convert it with iconv"
        ) from error
    except (gzip.BadGzipFile, zlib.error, EOFError, zipfile.BadZipFile) as error:
        kind = "zip archive" if isinstance(error, zipfile.BadZipFile) else "compressed file"
        raise CalibrationError(
            f"{path.name} is a damaged {kind}: {error}", hint="fetch it again"
        ) from error
    except (csv.Error, NotImplementedError, RuntimeError) as error:
        raise CalibrationError(f"{path.name} cannot be read: {error}") from error
    except OSError as error:
        raise UnreadableError(f"cannot read {path}: {error.strerror or error}") from error


@contextmanager
def _opened(path: Path, on_bytes: OnBytes) -> Iterator[IO[bytes]]:
    """Open a file for reading, unpacked where it is gzipped."""
    with io.BufferedReader(_CountedFile(path, on_bytes), _BUFFER_BYTES) as file:
        if not file.peek(2).startswith(_GZIP_MAGIC):
            yield cast(IO[bytes], file)
            return
        with gzip.GzipFile(fileobj=file) as unpacked:
            buffered = io.BufferedReader(cast(io.RawIOBase, unpacked), _BUFFER_BYTES)
            yield cast(IO[bytes], buffered)


def _json_lines(stream: IO[bytes], place: str) -> Iterator[Row]:
    for number, line in enumerate(_lines(stream, place), start=1):
        text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        if not text.isspace():
            try:
                value = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise CalibrationError(f"{place}, line {number} is not JSON: {error}") from error
            if not isinstance(value, dict):
                raise CalibrationError(f"{place}, line {number} is not a JSON object")
            yield Row(place, number, value)


def _json_list(stream: IO[bytes], place: str) -> Iterator[Row]:
    """Decode a list element by element, so that the list itself is never in memory."""
    scanner = _JsonScanner(io.TextIOWrapper(stream, encoding="utf-8-sig"), place)
    scanner.take("[")
    if not scanner.take("]"):
        for number in itertools.count(1):
            yield Row(place, number, scanner.object(number))
            if scanner.take("]"):
                break
            if not scanner.take(","):
                raise CalibrationError(f"{place}: the list breaks off after row {number}")
    if scanner.peek():
        raise CalibrationError(f"{place}: something follows the end of the list")


class _JsonScanner:
    """A window that moves over the text of a JSON document."""

    def __init__(self, characters: IO[str], place: str) -> None:
        self._characters = characters
        self._place = place
        self._decode = json.JSONDecoder().raw_decode
        self._text = ""
        self._position = 0

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            while self._position < len(self._text):
                if not self._text[self._position].isspace():
                    return self._text[self._position]
                self._position += 1
            if not self._more():
                return ""

    def take(self, character: str) -> bool:
        """Step over `character` if it is the next."""
        found = self.peek() == character
        self._position += found
        return found

    def object(self, number: int) -> dict[str, Any]:
        """Decode the object that begins here, the row of that number."""
        if self.peek() != "{":
            raise CalibrationError(f"{self._place}, row {number} is not a JSON object")
        while True:
            try:
                value, self._position = self._decode(self._text, self._position)
            except (ValueError, RecursionError) as error:  # noqa: PERF203  # more may complete it
                too_long = len(self._text) - self._position > MAX_ROW_BYTES
                if too_long or isinstance(error, RecursionError) or not self._more():
                    raise CalibrationError(
                        f"{self._place}, row {number} is not JSON: {error}"
                    ) from error
            else:
                return cast(dict[str, Any], value)

    def _more(self) -> bool:
        characters = self._characters.read(_BUFFER_BYTES)
        self._text = self._text[self._position :] + characters
        self._position = 0
        return bool(characters)


def _running_text(stream: IO[bytes], place: str) -> Iterator[Row]:
    characters = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    number, text = 1, ""
    while line := characters.readline(RUNNING_TEXT_CHARS):
        if text and len(text) + len(line) > RUNNING_TEXT_CHARS:
            yield Row(place, number, {"text": text})
            number, text = number + 1, ""
        text += line
    if text:
        yield Row(place, number, {"text": text})


def _csv_rows(
    path: Path, split: str, subjects: tuple[str, ...], on_bytes: OnBytes
) -> Iterator[Row]:
    with (
        io.BufferedReader(_CountedFile(path, on_bytes), _BUFFER_BYTES) as file,
        zipfile.ZipFile(file) as archive,
    ):
        for entry in _entries(archive, path.name, split, subjects):
            place = f"{path.name}: {entry}"
            with archive.open(entry) as stream:
                lines = (line.decode("utf-8") for line in _lines(stream, place))
                for number, row in enumerate(csv.DictReader(_without_bom(lines)), start=1):
                    yield Row(place, number, row)


def _entries(
    archive: zipfile.ZipFile, name: str, split: str, subjects: tuple[str, ...]
) -> list[str]:
    """Names of the entries `<split>/<subject>_<split>.csv`, in the order of the subjects."""
    found: dict[str, str] = {}
    for entry in archive.namelist():
        parts = PurePosixPath(entry.replace("\\", "/")).parts
        if ".." in parts or parts[:1] == ("/",) or entry[1:2] == ":":
            raise CalibrationError(
                f"{name} has an entry that points outside of it: {entry!r}",
                hint="it is not the published file; fetch that",
            )
        suffix = f"_{split}.csv"
        if parts[-2:-1] == (split,) and parts[-1].endswith(suffix) and parts[0] != "__MACOSX":
            found[parts[-1].removesuffix(suffix)] = entry
    if not found:
        raise CalibrationError(
            f"{name} has no entry {split}/<subject>_{split}.csv",
            hint="ceval is published as ceval-exam.zip with the folders dev, val and test",
        )
    missing = [subject for subject in subjects if subject not in found]
    if missing:
        near = difflib.get_close_matches(missing[0], found, n=3)
        raise CalibrationError(
            f"{name} has no entry {split}/{missing[0]}_{split}.csv",
            hint=f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(found)}",
        )
    return [found[subject] for subject in subjects or sorted(found)]


def _lines(stream: IO[bytes], place: str) -> Iterator[bytes]:
    while line := stream.readline(MAX_ROW_BYTES + 1):
        if len(line) > MAX_ROW_BYTES:
            raise CalibrationError(f"{place} has a line of more than {MAX_ROW_BYTES >> 20} MiB")
        yield line


def _without_bom(lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        yield line.removeprefix("\ufeff") if number == 0 else line
