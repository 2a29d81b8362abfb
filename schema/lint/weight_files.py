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
    TensorEntry,
    read_headers,
)
from vacc_gen.schema.errors import CheckpointError
from vacc_gen.schema.falcon import EMBEDDING, HEAD, Architecture, architecture_from_config
from vacc_gen.schema.geometry import is_falcon
from vacc_gen.schema.json_files import (
    MAX_JSON_BYTES,
    JsonError,
    file_names,
    parse_object,
    read_regular,
)
from vacc_gen.schema.lint.diagnostics import START, Finding, Severity
from vacc_gen.schema.lint.document import Document

VACC_CONFIG = "config_vacc.json"
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
SPECIAL_TOKENS = "special_tokens_map.json"
GENERATION = "generation_config.json"
JSON_FILES = (
    *(CONFIG_FILE, VACC_CONFIG, INDEX_FILE, ADAPTER_FILE, GENERATION),
    *(TOKENIZER, TOKENIZER_CONFIG, SPECIAL_TOKENS),
)


class WeightFiles:
    """The files of one weight folder; `texts` and `objects` are by their names.

    `falcon_only`: the asker can use no other model.
    """

    def __init__(self, folder: Path, falcon_only: bool = False) -> None:
        self.folder = folder
        self.falcon_only = falcon_only
        self.names = file_names(folder)
        self.texts: dict[str, str] = {}
        self.objects: dict[str, dict[str, Any]] = {}
        self.broken: list[CheckpointError] = []
        """Of those that are not JSON objects, or cannot be read."""
        for name in JSON_FILES:
            if name in self.names:
                self._read(name)
        self.stored: dict[str, TensorEntry] = {}
        """The tensors by the names that they are stored by."""
        self.faults: list[CheckpointError] = []
        """Of the files of weights."""
        if INDEX_FILE not in self.names or INDEX_FILE in self.objects:
            self.stored, self.faults = read_headers(folder, self.objects.get(INDEX_FILE))

    def _read(self, name: str) -> None:
        offset = 0
        try:
            source = read_regular(self.folder / name, MAX_JSON_BYTES) or b""
            self.texts[name] = source.decode("utf-8", errors="replace")
            self.objects[name] = parse_object(source, allow_nan=name != TOKENIZER)
            return
        except JsonError as error:
            offset, message = error.offset, f"not valid JSON: {error.reason}"
        except OSError as error:
            reason = error.strerror or str(error)
            message = f"cannot be read: {reason[0].lower()}{reason[1:]}"
        self.broken.append(CheckpointError(message, None, offset, file=name))

    @property
    def config(self) -> Mapping[str, Any]:
        """What config.json says; nothing where it cannot be read."""
        return self.objects.get(CONFIG_FILE, {})

    @property
    def is_falcon(self) -> bool:
        return is_falcon(self.config)

    @cached_property
    def tensors(self) -> dict[str, TensorEntry]:
        """The tensors; those of a Falcon by their whole names, however they are stored.

        transformers also loads a base model's, whose names begin without `transformer.`.
        """
        bare = ("word_embeddings.", "h.", "ln_f.") if self.is_falcon else ()
        return {
            f"transformer.{name}" if name.startswith(bare) else name: entry
            for name, entry in self.stored.items()
        }

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

    def place(self, fault: CheckpointError) -> tuple[Document, Finding]:
        """Return a file and the finding in it: at the fault's key, or else at the start.

        What is wrong in a shard is shown where the index names it.
        """
        file, key = fault.file, fault.key
        index = self.texts.get(INDEX_FILE, "")
        if file.endswith(".safetensors") and json.dumps(file) in index:
            file, key = INDEX_FILE, key or file
        message = fault.message.removeprefix(f"{self.folder}/").removeprefix(f"{file}: ")
        severity = Severity.WARNING if fault.is_warning else None
        document, span = Document(self.texts.get(file, ""), str(self.folder / file)), START
        if document.text:
            start, end = _place(document.text, key)
            span = document.span_at(start, min(end, len(document.text)))
        return document, Finding(span, message, fault.hint, None, severity)


def _place(text: str, key: str | int | None) -> tuple[int, int]:
    """Return where in JSON text a key stands, or else such a value, or else its beginning."""
    if isinstance(key, str):
        either = "|".join(re.escape(json.dumps(key, ensure_ascii=way)) for way in (True, False))
        found = re.search(rf"(?:{either})(?=\s*:)", text) or re.search(either, text)
        if found:
            return found.span()
    offset = key if isinstance(key, int) else 0
    return offset, offset + 1
