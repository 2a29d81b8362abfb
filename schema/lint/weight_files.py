"""The files of a weight folder, read once for all rules, and where in them something stands."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from vacc_gen.schema.checkpoint import (
    ADAPTER_FILE,
    CONFIG_FILE,
    INDEX_FILE,
    Layout,
    read_layout,
    with_full_names,
)
from vacc_gen.schema.errors import CheckpointError, Fault
from vacc_gen.schema.falcon import (
    EMBEDDING,
    HEAD,
    Architecture,
    architecture_from_config,
)
from vacc_gen.schema.geometry import is_falcon, shortened
from vacc_gen.schema.json_files import (
    MAX_JSON_BYTES,
    JsonError,
    file_names,
    parse_json,
    read_regular,
)
from vacc_gen.schema.lint.diagnostics import Finding, Severity
from vacc_gen.schema.lint.document import Document
from vacc_gen.schema.lint.tree import START
from vacc_gen.schema.shards import GIT_LFS_POINTER, TensorEntry

VACC_CONFIG = "config_vacc.json"
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
SPECIAL_TOKENS = "special_tokens_map.json"
GENERATION = "generation_config.json"
JSON_FILES = (
    *(CONFIG_FILE, VACC_CONFIG, INDEX_FILE, ADAPTER_FILE, GENERATION),
    *(TOKENIZER, TOKENIZER_CONFIG, SPECIAL_TOKENS),
)

MAX_MODULE_BYTES = 1 << 20
"""Largest Python file that is looked into; modeling files have some 100 kB."""

WeightFinding = tuple[str, Finding]
"""The name of a file of the folder, and a finding in it."""


class WeightFiles:
    """The files of one weight folder; each attribute is by their names.

    `falcon_only`: the asker can use no other model.
    """

    def __init__(self, folder: Path, falcon_only: bool = False) -> None:
        self.folder = folder
        self.falcon_only = falcon_only
        self.names = file_names(folder)
        self.texts: dict[str, str] = {}
        self.objects: dict[str, dict[str, Any]] = {}
        self.broken: dict[str, tuple[int, str]] = {}
        """Offset and reason where a file is not a JSON object, or cannot be read."""
        for name in JSON_FILES:
            if name in self.names:
                self._read(name)

    def _read(self, name: str) -> None:
        self.texts[name] = ""
        try:
            source = read_regular(self.folder / name, MAX_JSON_BYTES) or b""
            self.texts[name] = source.decode("utf-8", errors="replace")
            if source.startswith(GIT_LFS_POINTER):
                raise JsonError(0, "a pointer of Git LFS; `git lfs pull` brings the file")
            value = parse_json(source, with_nan=name != TOKENIZER)
        except JsonError as error:
            self.broken[name] = error.offset, f"not valid JSON: {error.reason}"
        except OSError as error:
            reason = error.strerror or str(error)
            self.broken[name] = 0, f"cannot be read: {reason[0].lower()}{reason[1:]}"
        else:
            if isinstance(value, dict):
                self.objects[name] = value
            else:
                self.broken[name] = 0, "not valid JSON: not an object"

    @property
    def config(self) -> Mapping[str, Any]:
        """What config.json says; nothing where it cannot be read."""
        return self.objects.get(CONFIG_FILE, {})

    @property
    def is_falcon(self) -> bool:
        return is_falcon(self.config)

    @cached_property
    def layout(self) -> Layout:
        if INDEX_FILE in self.broken:
            return Layout()
        return read_layout(self.folder, self.objects.get(INDEX_FILE))

    @cached_property
    def tensors(self) -> dict[str, TensorEntry]:
        """The tensors; those of a Falcon by their whole names, however they are stored."""
        return with_full_names(self.layout.tensors, self.config)

    @cached_property
    def architecture(self) -> Architecture | CheckpointError:
        try:
            return architecture_from_config(self.config)
        except CheckpointError as error:
            return error

    @cached_property
    def vocabulary(self) -> int | None:
        """How many tokens the model has: the embedding's rows, or else what config.json says."""
        embedding = self.tensors.get(EMBEDDING, self.tensors.get(HEAD)) if self.is_falcon else None
        if embedding is not None and embedding.shape:
            return embedding.shape[0]
        inner = self.config.get("text_config")
        sizes = {**inner, **self.config} if isinstance(inner, dict) else self.config
        size = sizes.get("padded_vocab_size", sizes.get("vocab_size"))
        return size if type(size) is int and size > 0 else None

    def reason_against_id(self, value: Any) -> str | None:
        """Return what is wrong with a token id, or None."""
        if type(value) is not int or value < 0:
            return f"{shortened(value)}, which is not the id of a token"
        if self.vocabulary is not None and value >= self.vocabulary:
            return f"{shortened(value)}; the model has {self.vocabulary} tokens, from 0"
        return None

    def source(self, name: str) -> str | None:
        """Return a module's text, or None where there is none to read, or it is too large."""
        try:
            source = read_regular(self.folder / name, MAX_MODULE_BYTES)
        except OSError:
            return None
        return None if source is None else source.decode("utf-8", errors="replace")

    def finding(self, fault: Fault) -> WeightFinding:
        """Return a fault as a finding where it stands."""
        file, key = fault.file, fault.key
        if file is None:
            entry = self.tensors[str(key)]
            is_indexed = INDEX_FILE in self.objects
            file, key = (INDEX_FILE, entry.name) if is_indexed else (entry.path.name, None)
        message = fault.message.removeprefix(f"{self.folder}/").removeprefix(f"{file}: ")
        name, found = self.at_key(file, key, message, fault.hint)
        return name, found._replace(severity=Severity.WARNING if fault.is_warning else None)

    def at_offset(self, name: str, offset: int, message: str) -> WeightFinding:
        """Return a finding at an offset of a file."""
        document = Document(self.texts[name], name)
        span = document.span_at(offset, min(offset + 1, len(document.text)))
        return name, Finding(span, message)

    def at_key(
        self, name: str, key: str | None, message: str, hint: str | None = None
    ) -> WeightFinding:
        """Return a finding at a key of a file, or else at such a value, or else at the start."""
        text = self.texts.setdefault(name, "")
        if not text:
            return name, Finding(START, message, hint)
        spellings = (re.escape(json.dumps(key, ensure_ascii=escaped)) for escaped in (True, False))
        either = f"(?:{'|'.join(spellings)})"
        found = None
        if key is not None:
            found = re.search(rf"{either}(?=\s*:)", text) or re.search(either, text)
        start, end = found.span() if found else (0, min(1, len(text)))
        return name, Finding(Document(text, name).span_at(start, end), message, hint)
