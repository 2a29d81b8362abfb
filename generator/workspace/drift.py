"""How the files of a workspace stand to what its recipe asks for.

`.vacc-gen/manifest.json` has the hashes of what was generated, by which hand edits are seen.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path, PurePosixPath

from vacc_gen.generator.emit.template import EmittedFile
from vacc_gen.schema.errors import UnreadableError
from vacc_gen.schema.lint.workspace import text_hash

MANIFEST_PATH = PurePosixPath(".vacc-gen", "manifest.json")
MANIFEST_VERSION = 1


@dataclass(frozen=True)
class Manifest:
    """Hashes (sha256, hexadecimal) of the last generation."""

    made_from: Mapping[str, str] = field(default_factory=dict)
    """What went in: `vacc.yaml`, the checkpoint's `config.json` where it was there, `vacc-gen`."""
    files: Mapping[str, str] = field(default_factory=dict)
    """What came out: path in the workspace -> hash of the text as generated."""
    pending: Mapping[str, str] = field(default_factory=dict)
    """As `files`, for what is being written: left over by a `generate` that was killed."""

    def is_generated(self, path: str, text: str) -> bool:
        """Whether `text` at `path` is what we wrote there, rather than an edit by hand."""
        return text_hash(text) in (self.files.get(path), self.pending.get(path))

    def text(self) -> str:
        """Return the file's content."""
        values: dict[str, object] = {
            "version": MANIFEST_VERSION,
            "made_from": dict(sorted(self.made_from.items())),
            "files": dict(sorted(self.files.items())),
        }
        if self.pending:
            values["pending"] = dict(sorted(self.pending.items()))
        return json.dumps(values, indent=2) + "\n"


def read_manifest(root: Path) -> Manifest:
    """Read a workspace's manifest; an empty one where there is none.

    Raises:
        UnreadableError: the file is there and is not a manifest.
    """
    path = root / MANIFEST_PATH
    try:
        values = json.loads(path.read_bytes())
        if values["version"] != MANIFEST_VERSION:
            raise ValueError
        return Manifest(
            _hashes(values["made_from"]),
            _hashes(values["files"]),
            _hashes(values.get("pending", {})),
        )
    except FileNotFoundError:
        return Manifest()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableError(
            f"{path} is not a manifest of version {MANIFEST_VERSION}",
            hint="remove it: every file that differs then counts as edited by hand",
        ) from error


def _hashes(values: Mapping[str, object]) -> dict[str, str]:
    hashes = {name: hash_ for name, hash_ in values.items() if isinstance(hash_, str)}
    if len(hashes) < len(values):
        raise ValueError
    if any(Path(name).is_absolute() or ".." in Path(name).parts for name in hashes):
        raise ValueError
    return hashes


class State(Enum):
    """How one file stands; the value is how it is called in messages."""

    CURRENT = "current"
    MISSING = "missing"
    OUTDATED = "outdated"
    EDITED = "edited by hand"
    LEFTOVER = "no longer wanted"


@dataclass(frozen=True)
class FileState:
    """One path: what should stand there, what does, and what to call the difference."""

    path: str
    state: State
    wanted: EmittedFile | None
    found: str | None


def compare(root: Path, wanted: Iterable[EmittedFile], manifest: Manifest) -> list[FileState]:
    """Compare a workspace's files with `wanted`, in that order, leftovers last.

    A file counts as edited where it is neither what we want nor what we wrote.
    """
    by_path = {str(file.path): file for file in wanted}
    states = [_state(root, path, file, manifest) for path, file in by_path.items()]
    states.extend(
        _state(root, path, None, manifest)
        for path in dict.fromkeys((*manifest.files, *manifest.pending))
        if path not in by_path and (root / path).is_file()
    )
    return states


def _state(root: Path, path: str, wanted: EmittedFile | None, manifest: Manifest) -> FileState:
    found = _read(root / path)
    if found is None:
        state = State.MISSING
    elif wanted is not None and found == wanted.text:
        state = State.CURRENT
    elif not manifest.is_generated(path, found):
        state = State.EDITED
    else:
        state = State.OUTDATED if wanted is not None else State.LEFTOVER
    return FileState(path, state, wanted, found)


def _read(path: Path) -> str | None:
    try:
        # Bytes that are not UTF-8 are an edit like any other.
        return path.read_bytes().decode("utf-8", errors="surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UnreadableError(f"cannot read {path}: {error.strerror}") from error


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
