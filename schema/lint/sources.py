"""Which files a check is about, and their bytes; never waits, never follows a loop."""

# Paths stay as they were given: pathlib would rewrite them.
# ruff: noqa: PTH112, PTH113, PTH118, PTH119, PTH120

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from vacc_gen.schema.errors import UnreadableError
from vacc_gen.schema.json_files import MANIFEST_FILE, open_regular, read_json
from vacc_gen.schema.lint.document import MAX_BYTES, Document, load

STDIN = "-"

_SKIPPED = frozenset(("node_modules", "__pycache__", "venv", "site-packages"))
_WEIGHTS = re.compile(
    r"(config_vacc|adapter_config|model\.safetensors\.index|pytorch_model\.bin\.index)\.json"
    r"|model(-\d{5}-of-\d{5})?\.safetensors|pytorch_model.*\.bin"
)
"""Names that make a folder one of weights."""
_BESIDE_WEIGHTS = re.compile(r"((tokenizer_|generation_)?config|tokenizer)\.json|.*\.safetensors")
"""Names of others that are checked as a part of their folder where they are named."""
_EXPORTED = (".onnx", ".so", "genai_config.json")
"""Of a model that was exported or compiled: its config.json is a copy, without weights."""


@dataclass
class Sources:
    """YAML files and weight folders to check, in order, and what could not be read."""

    files: dict[str, bool] = field(default_factory=dict)  # whether it was named, not only found
    weight_folders: dict[str, str] = field(default_factory=dict)  # by what they are without links
    compiled_folders: list[str] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)

    def add_weights(self, folder: str) -> None:
        self.weight_folders.setdefault(os.path.realpath(folder), folder)


def find(paths: Iterable[str]) -> Sources:
    """Return what the paths of a command line stand for: files, folders, `-`."""
    sources = Sources()
    for path in paths:
        name = os.path.basename(path)
        is_of_weights = _WEIGHTS.fullmatch(name) or _BESIDE_WEIGHTS.fullmatch(name)
        if path != STDIN and os.path.isdir(path):
            _search(path, sources)
            # Only where it is named: its files are read whole.
            if os.path.isfile(os.path.join(path, MANIFEST_FILE)) and any(Path(path).glob("*.onnx")):
                sources.compiled_folders.append(path)
        elif is_of_weights and os.path.lexists(path):
            sources.add_weights(os.path.dirname(path) or ".")
        else:
            sources.files[path] = True
    return sources


def _search(folder: str, sources: Sources) -> None:
    """Add the YAML files and weight folders below a folder; links to folders are not followed."""

    def report(error: OSError) -> None:
        sources.unreadable.append((error.filename, _reason(error)))

    for current, folders, names in os.walk(folder, onerror=report):
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and name not in _SKIPPED
        )
        shown = current[2:] if folder == "." else current  # `a.yaml`, not `./a.yaml`
        if has_weights(current, [*folders, *names]):
            sources.add_weights(shown or ".")
        for name in sorted(names):
            if name.lower().endswith((".yaml", ".yml")):
                sources.files.setdefault(os.path.join(shown, name), False)


def has_weights(folder: str, names: Iterable[str]) -> bool:
    """Whether a folder of these names is one of weights; a config.json alone may be of any tool."""
    if any(map(_WEIGHTS.fullmatch, names)):
        return True
    if "config.json" not in names or any(name.endswith(_EXPORTED) for name in names):
        return False
    config = read_json(Path(folder, "config.json")) or {}
    named = (config.get("model_type"), config.get("architectures"))
    has_tensors = any(name.endswith(".safetensors") for name in names)
    return has_tensors or any(isinstance(name, str | list) for name in named)


def read(path: str) -> Document:
    """Read a YAML file; of one beyond `MAX_BYTES` no more than that is read.

    Raises:
        UnreadableError: it is missing, not a regular file, or not to be opened.
    """
    if path == STDIN:
        if sys.stdin is None:
            raise UnreadableError("cannot read the standard input: it is closed")
        return load(sys.stdin.buffer.read(MAX_BYTES + 1), "<stdin>")
    try:
        with open_regular(Path(path)) as file:
            return load(file.read(MAX_BYTES + 1), path)
    except OSError as error:
        raise UnreadableError(f"cannot read {path}: {_reason(error)}") from error


def _reason(error: OSError) -> str:
    reason = error.strerror or str(error)
    return reason[0].lower() + reason[1:]
