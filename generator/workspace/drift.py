"""How the files of a workspace stand to what its recipe asks for.

`.vacc-gen/manifest.json` has the hashes of what was generated, by which hand edits are seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from vacc_gen.generator.emit.template import EmittedFile
from vacc_gen.schema.errors import UnreadableError
from vacc_gen.schema.strict import Strict

MANIFEST_PATH = PurePosixPath(".vacc-gen", "manifest.json")


def _checked(path: str) -> str:
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise ValueError("leads out of the workspace")
    return path


Hashes = dict[Annotated[str, AfterValidator(_checked)], str]
"""sha256, hexadecimal, by path in the workspace."""


class Manifest(Strict):
    """Hashes of the last generation."""

    version: Literal[1]
    made_from: Hashes
    """What went in: `vacc.yaml`, the checkpoint's `config.json` where it was there, `vacc-gen`."""
    files: Hashes
    """What came out: texts as generated."""
    pending: Hashes = Field(default_factory=dict)
    """As `files`, for what is being written: left over by a `generate` that was killed."""

    def is_generated(self, path: str, text: str) -> bool:
        """Whether `text` at `path` is what we wrote there, rather than an edit by hand."""
        return text_hash(text) in (self.files.get(path), self.pending.get(path))

    def text(self) -> str:
        """Return the file's content."""
        return self.model_dump_json(indent=2, exclude_defaults=True) + "\n"


def read_manifest(root: Path) -> Manifest:
    """Read a workspace's manifest; an empty one where there is none.

    Raises:
        UnreadableError: the file is there and is not a manifest.
    """
    path = root / MANIFEST_PATH
    if not path.exists():
        return Manifest(version=1, made_from={}, files={})
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValueError as error:
        raise UnreadableError(
            f"{path} is not a manifest of version 1",
            hint="remove it: every file that differs then counts as edited by hand",
        ) from error


def text_hash(text: str) -> str:
    """Return the sha256 of a text in UTF-8."""
    return hashlib.sha256(text.encode("utf-8", errors="surrogateescape")).hexdigest()


class State(Enum):
    """How one file stands; the value is how it is called in messages."""

    CURRENT = "current"
    MISSING = "missing"
    OUTDATED = "outdated"
    EDITED = "edited by hand"
    LEFTOVER = "no longer wanted"


@dataclass(frozen=True)
class FileState:
    """One path: what should stand there, what does, and how they differ."""

    path: str
    state: State
    wanted: EmittedFile | None
    found: str | None


def compare(root: Path, wanted: Iterable[EmittedFile], manifest: Manifest) -> list[FileState]:
    """Compare a workspace's files with `wanted`, in that order, leftovers last.

    A file counts as edited where it is neither what we want nor what we wrote.
    """
    by_path = {str(file.path): file for file in wanted}
    paths = dict.fromkeys((*by_path, *manifest.files, *manifest.pending))
    states = [_state(root, path, by_path.get(path), manifest) for path in paths]
    return [state for state in states if state.wanted is not None or state.found is not None]


def _state(root: Path, path: str, wanted: EmittedFile | None, manifest: Manifest) -> FileState:
    try:
        # Bytes that are not UTF-8 are an edit like any other.
        found = (root / path).read_bytes().decode("utf-8", errors="surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return FileState(path, State.MISSING, wanted, None)
    if wanted is not None and found == wanted.text:
        state = State.CURRENT
    elif not manifest.is_generated(path, found):
        state = State.EDITED
    else:
        state = State.OUTDATED if wanted is not None else State.LEFTOVER
    return FileState(path, state, wanted, found)


def unified_diff(state: FileState) -> str:
    """Return the way from what stands there to what should, as `diff -u` shows it."""
    from difflib import unified_diff as lines_of_diff

    wanted = "" if state.wanted is None else state.wanted.text
    lines = lines_of_diff(
        (state.found or "").splitlines(keepends=True),
        wanted.splitlines(keepends=True),
        f"a/{state.path}" if state.found is not None else "/dev/null",
        f"b/{state.path}" if state.wanted is not None else "/dev/null",
    )
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )
