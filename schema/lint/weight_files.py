"""The JSON files of a weight folder, and where in them something stands."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from vacc_gen.schema.checkpoint import MAX_JSON_BYTES, read_regular
from vacc_gen.schema.lint.diagnostics import Finding
from vacc_gen.schema.lint.document import Document
from vacc_gen.schema.lint.tree import START

CONFIG = "config.json"
VACC_CONFIG = "config_vacc.json"
INDEX = "model.safetensors.index.json"

MAX_MODULE_BYTES = 1 << 20
"""Largest Python file that is looked into; modeling files have some 100 kB."""

_BOM = "\ufeff"
_CLOSING = re.compile(r"[\s,]*([}\]])")

WeightFinding = tuple[str, Finding]
"""The name of a file of the folder, and a finding in it."""


class BrokenJson(NamedTuple):
    """Why a text is not a JSON object, and at which offset."""

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
        self._objects: dict[str, dict[str, Any]] = {}
        for name in (CONFIG, VACC_CONFIG, INDEX):
            try:
                source = read_regular(folder / name, MAX_JSON_BYTES)
            except OSError as error:
                reason = error.strerror or str(error)
                self.unreadable[name] = reason[0].lower() + reason[1:]
                continue
            if source is not None:
                self._add(name, source)

    def _add(self, name: str, source: bytes) -> None:
        self.texts[name] = source.decode("utf-8", errors="replace").removeprefix(_BOM)
        value = parse(source)
        if isinstance(value, BrokenJson):
            self.broken[name] = value
        else:
            self._objects[name] = value

    def json(self, name: str) -> dict[str, Any] | None:
        """Return a file's object, or None where it is absent or broken."""
        return self._objects.get(name)

    def source(self, name: str) -> str | None:
        """Return a module's text, or None where there is none to read, or it is too large."""
        try:
            source = read_regular(self.folder / name, MAX_MODULE_BYTES)
        except OSError:
            return None
        return None if source is None else source.decode("utf-8", errors="replace")

    def has(self, name: str) -> bool:
        """Whether the folder has a file of this name."""
        return os.path.isfile(self.folder / name)  # noqa: PTH113  # never raises

    def names(self, pattern: str) -> list[str]:
        """Return the names of the folder's files that match a pattern such as `*.safetensors`."""
        return sorted(path.name for path in self.folder.glob(pattern) if self.has(path.name))

    def at_start(self, name: str, message: str, hint: str | None = None) -> WeightFinding:
        """Return a finding in a file that has no lines."""
        self.texts.setdefault(name, "")
        return name, Finding(START, message, hint)

    def at_offset(self, name: str, offset: int, message: str) -> WeightFinding:
        """Return a finding at an offset of a file."""
        document = Document(self.texts[name], name)
        span = document.span_at(offset, min(offset + 1, len(document.text)))
        return name, Finding(span, message)

    def at_key(self, name: str, key: str, message: str, hint: str | None = None) -> WeightFinding:
        """Return a finding at a key of a file, or at its start where the key is absent."""
        text = self.texts[name]
        start, end = next(_places(text, key), (0, min(1, len(text))))
        return name, Finding(Document(text, name).span_at(start, end), message, hint)


def parse(source: bytes) -> dict[str, Any] | BrokenJson:
    """Return the JSON object that a file holds, or what is wrong with it."""
    try:
        text = source.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_without_repeats)
    except UnicodeDecodeError as bad:
        return BrokenJson(len(source[: bad.start].decode("utf-8")), "not UTF-8 text")
    except KeyError as twice:
        *_, (last, _) = _places(text, twice.args[0])
        return BrokenJson(last, f"`{twice.args[0]}` is there twice")
    except json.JSONDecodeError as error:
        return _broken(text, error)
    except RecursionError:
        return BrokenJson(0, "nested too deeply")
    except ValueError:
        return BrokenJson(0, "a number has thousands of digits")
    return value if isinstance(value, dict) else BrokenJson(0, "not an object")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of these pairs.

    Raises:
        KeyError: a key is there twice.
    """
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise KeyError(key)
        values[key] = value
    return values


def _broken(text: str, error: json.JSONDecodeError) -> BrokenJson:
    """Return what the parser says; a comma before a bracket it calls many things."""
    if text.startswith(_BOM):
        return BrokenJson(0, "it begins with a byte order mark")
    if not text.strip():
        return BrokenJson(len(text), "the file is empty")
    before = text[: error.pos].rstrip()
    closing = _CLOSING.match(text, error.pos)
    if closing and (text[error.pos] == "," or before.endswith(",")):  # from Python 3.13 on, before
        comma = error.pos if text[error.pos] == "," else len(before) - 1
        return BrokenJson(comma, f"a comma before `{closing[1]}`")
    reason = error.msg[:1].lower() + error.msg[1:].removesuffix(" at")
    return BrokenJson(error.pos, reason)


def _places(text: str, key: str) -> Iterator[tuple[int, int]]:
    """Yield where a key stands, as spans of offsets."""
    spellings = {re.escape(json.dumps(key, ensure_ascii=escaped)) for escaped in (True, False)}
    pattern = rf"(?:{'|'.join(sorted(spellings))})(?=\s*:)"
    return (found.span() for found in re.finditer(pattern, text))
