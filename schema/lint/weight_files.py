"""The JSON files of a weight folder, and where in them something stands."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from vacc_gen.schema.checkpoint_facts import MAX_JSON_BYTES, read_regular
from vacc_gen.schema.lint.diagnostics import Finding
from vacc_gen.schema.lint.document import Document
from vacc_gen.schema.lint.tree import START

CONFIG = "config.json"
VACC_CONFIG = "config_vacc.json"
INDEX = "model.safetensors.index.json"

MAX_MODULE_BYTES = 1 << 20
"""Largest Python file that is looked into; modeling files have some 100 kB."""


class _RepeatedKeyError(ValueError):
    """A JSON object has a key twice."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


_SLIPS = {
    "'": "texts stand in double quotes",
    "/": "JSON has no comments",
    "#": "JSON has no comments",
    "}": "a value is missing",
    "]": "a value is missing",
    ",": "two commas in a row",
    "": "it ends too early",
    "T": "true is written small",
    "F": "false is written small",
}
"""What stands where a value or a key was expected, and what that tells."""


_CLOSING = {"}": "brace", "]": "bracket"}


def _at_the_comma(text: str, error: json.JSONDecodeError) -> json.JSONDecodeError:
    """Return the error at a comma that nothing follows, as Python has it from 3.13 on."""
    before = text[: error.pos].rstrip()
    if text[error.pos : error.pos + 1] in _CLOSING and before.endswith(","):
        return json.JSONDecodeError(error.msg, text, len(before) - 1)
    return error


def _reason(text: str, error: json.JSONDecodeError) -> str:
    """Return why a text is no JSON, in words, where the parser says only what it expected."""
    if text.startswith("\ufeff"):
        return "it begins with a byte order mark"
    if not text.strip():
        return "the file is empty"
    if text[error.pos : error.pos + 1] == ",":
        closing = text[error.pos + 1 :].lstrip()[:1]
        if closing in _CLOSING:
            return f"a comma stands before the closing {_CLOSING[closing]}"
    slip = _SLIPS.get(text[error.pos : error.pos + 1])
    if slip is not None and error.msg.startswith("Expecting"):
        return slip
    return error.msg[:1].lower() + error.msg[1:].removesuffix(" at")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _RepeatedKeyError(key)
            seen.add(key)
    return made


def _last(text: str, key: str) -> int:
    """Return the offset at which a key stands for the last time."""
    places = [found.start() for found in _key(key).finditer(text)]
    return places[-1] if places else 0


def _key(key: str) -> re.Pattern[str]:
    spellings = {re.escape(json.dumps(key, ensure_ascii=escaped)) for escaped in (True, False)}
    return re.compile(rf"(?:{'|'.join(sorted(spellings))})(?=\s*:)")


def reason_of(error: OSError) -> str:
    """Return why a file could not be read, in words."""
    reason = error.strerror or str(error)
    return reason[0].lower() + reason[1:]


WeightFinding = tuple[str, Finding]
"""The name of a file of the folder, and a finding in it."""


class BrokenJson(NamedTuple):
    """Why a text is no JSON object, and at which offset."""

    offset: int
    reason: str


class WeightFiles:
    """The files of one weight folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.broken: dict[str, BrokenJson] = {}
        self.unreadable: dict[str, str] = {}
        """Why a file that is there cannot be read, by name; it counts as absent then."""
        self.texts: dict[str, str] = {}
        self._values: dict[str, dict[str, Any]] = {}
        for name in (CONFIG, VACC_CONFIG, INDEX):
            try:
                source = read_regular(folder / name, MAX_JSON_BYTES)
            except OSError as error:
                self.unreadable[name] = reason_of(error)
                continue
            if source is not None:
                self._parse(name, source)

    def _parse(self, name: str, source: bytes) -> None:
        text = source.decode("utf-8", errors="replace")
        self.texts[name] = text.removeprefix("\ufeff")
        try:
            source.decode("utf-8")
            value = json.loads(text, object_pairs_hook=_without_repeats)
        except UnicodeDecodeError as bad:
            before = source[: bad.start].decode("utf-8")
            self.broken[name] = BrokenJson(len(before), "not UTF-8 text")
        except _RepeatedKeyError as twice:
            self.broken[name] = BrokenJson(_last(text, twice.key), f"`{twice.key}` stands twice")
        except json.JSONDecodeError as found:
            error = _at_the_comma(text, found)
            self.broken[name] = BrokenJson(min(error.pos, len(text)), _reason(text, error))
        except RecursionError:
            self.broken[name] = BrokenJson(0, "nested too deeply")
        except ValueError:
            self.broken[name] = BrokenJson(0, "a number has thousands of digits")
        else:
            if isinstance(value, dict):
                self._values[name] = value
            else:
                self.broken[name] = BrokenJson(0, "not an object")

    def json(self, name: str) -> dict[str, Any] | None:
        """Return a file's object, or None where it is absent or broken."""
        return self._values.get(name)

    def source(self, name: str) -> str | None:
        """Return a module's text, or None where there is none to read, or one beyond all size."""
        try:
            source = read_regular(self.folder / name, MAX_MODULE_BYTES)
        except OSError:
            return None
        return None if source is None else source.decode("utf-8", errors="replace")

    def has(self, name: str) -> bool:
        """Whether a name is that of a file of the folder, or of none that could be one."""
        path = self.folder / name
        return path.name != name or os.path.isfile(path)  # noqa: PTH113  # never raises

    def modeling_file(self) -> str | None:
        """Return the name of the first patched modeling file of the folder, if there is one."""
        return min((path.name for path in self.folder.glob("modeling_*_vacc.py")), default=None)

    def shards(self) -> list[str]:
        """Return the names of the folder's safetensors files."""
        return sorted(
            path.name for path in self.folder.glob("*.safetensors") if self.has(path.name)
        )

    def at_start(self, name: str, message: str, hint: str | None = None) -> WeightFinding:
        """Return a finding in a file that has no lines."""
        self.texts.setdefault(name, "")
        return name, Finding(START, message, hint)

    def at_offset(
        self, name: str, offset: int, message: str, hint: str | None = None
    ) -> WeightFinding:
        """Return a finding at an offset of a file."""
        document = Document(self.texts[name], name)
        span = document.span_at(offset, min(offset + 1, len(document.text)))
        return name, Finding(span, message, hint)

    def at_key(self, name: str, key: str, message: str, hint: str | None = None) -> WeightFinding:
        """Return a finding at a key of a file, or at its start where the key is absent."""
        text = self.texts[name]
        found = _key(key).search(text)
        start, end = found.span() if found else (0, min(1, len(text)))
        return name, Finding(Document(text, name).span_at(start, end), message, hint)
