"""The JSON files of a weight folder, and where in them something stands."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from vacc_gen.schema.checkpoint_facts import MAX_JSON_BYTES
from vacc_gen.schema.document import Document
from vacc_gen.schema.subject import Finding

CONFIG = "config.json"
VACC_CONFIG = "config_vacc.json"
INDEX = "model.safetensors.index.json"

MAX_MODULE_BYTES = 4 << 20
"""Largest Python file that is looked into; modeling files have some 100 kB."""

WeightFinding = tuple[str, Finding]
"""The name of a file of the folder, and a finding in it."""


class BrokenJson(NamedTuple):
    """Why a text is no JSON object, and at which offset."""

    offset: int
    reason: str


class WeightFiles:
    """The files of one weight folder; a file that is absent or too large counts as absent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.broken: dict[str, BrokenJson] = {}
        self.texts: dict[str, str] = {}
        self._values: dict[str, dict[str, Any]] = {}
        for name in (CONFIG, VACC_CONFIG, INDEX):
            self._read(name)

    def _read(self, name: str) -> None:
        path = self.folder / name
        try:
            if not path.is_file() or path.stat().st_size > MAX_JSON_BYTES:
                return
            text = path.read_bytes().decode("utf-8", errors="replace")
        except OSError as error:
            self.texts[name] = ""
            self.broken[name] = BrokenJson(0, f"cannot be read: {error.strerror}")
            return
        self.texts[name] = text
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            self.broken[name] = BrokenJson(min(error.pos, len(text)), error.msg)
        except (ValueError, RecursionError) as error:
            self.broken[name] = BrokenJson(0, str(error))
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
        path = self.folder / name
        try:
            if not path.is_file() or path.stat().st_size > MAX_MODULE_BYTES:
                return None
            return path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None

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
        found = re.search(rf"{re.escape(json.dumps(key))}(?=\s*:)", text)
        start, end = found.span() if found else (0, min(1, len(text)))
        return name, Finding(Document(text, name).span_at(start, end), message, hint)
