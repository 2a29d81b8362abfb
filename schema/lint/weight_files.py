"""The JSON files of a weight folder, and where in them something stands."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from vacc_gen.schema.checkpoint import MAX_JSON_BYTES, read_regular
from vacc_gen.schema.lint.diagnostics import Finding
from vacc_gen.schema.lint.document import Document
from vacc_gen.schema.lint.tree import START

CONFIG = "config.json"
VACC_CONFIG = "config_vacc.json"
INDEX = "model.safetensors.index.json"

MAX_MODULE_BYTES = 1 << 20
"""Largest Python file that is looked into; modeling files have some 100 kB."""

WeightFinding = tuple[str, Finding]
"""The name of a file of the folder, and a finding in it."""


class WeightFiles:
    """The files of one weight folder; each attribute is by their names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.texts: dict[str, str] = {}
        self.objects: dict[str, dict[str, Any]] = {}
        self.broken: dict[str, tuple[int, str]] = {}
        """Offset and reason where a text is not a JSON object."""
        self.unreadable: dict[str, str] = {}
        """Why a file that is there cannot be read; it counts as absent then."""
        for name in (CONFIG, VACC_CONFIG, INDEX):
            try:
                source = read_regular(folder / name, MAX_JSON_BYTES)
            except OSError as error:
                reason = error.strerror or str(error)
                self.unreadable[name] = reason[0].lower() + reason[1:]
                continue
            if source is not None:
                self._parse(name, source)

    def _parse(self, name: str, source: bytes) -> None:
        self.texts[name] = source.decode("utf-8", errors="replace")
        try:
            value = json.loads(source.decode("utf-8"))
        except UnicodeDecodeError as bad:
            before = source[: bad.start].decode("utf-8")
            self.broken[name] = len(before), "not UTF-8 text"
        except json.JSONDecodeError as error:
            self.broken[name] = error.pos, error.msg[0].lower() + error.msg[1:]
        except (RecursionError, ValueError):
            self.broken[name] = 0, "nested too deeply, or a number has thousands of digits"
        else:
            if isinstance(value, dict):
                self.objects[name] = value
            else:
                self.broken[name] = 0, "not an object"

    def source(self, name: str) -> str | None:
        """Return a module's text, or None where there is none to read, or it is too large."""
        try:
            source = read_regular(self.folder / name, MAX_MODULE_BYTES)
        except OSError:
            return None
        return None if source is None else source.decode("utf-8", errors="replace")

    def names(self, pattern: str) -> list[str]:
        """Return the names of the folder's files that match a pattern such as `*.safetensors`."""
        return sorted(path.name for path in self.folder.glob(pattern) if path.is_file())

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
        spellings = (re.escape(json.dumps(key, ensure_ascii=escaped)) for escaped in (True, False))
        found = re.search(rf"(?:{'|'.join(spellings)})(?=\s*:)", text)
        start, end = found.span() if found else (0, min(1, len(text)))
        return name, Finding(Document(text, name).span_at(start, end), message, hint)
