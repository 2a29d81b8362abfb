"""How the files of a workspace stand to what its recipe asks for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from vacc_gen.generator.emit.emitted import EmittedFile
from vacc_gen.generator.workspace.manifest import Manifest, text_hash
from vacc_gen.schema.errors import UnreadableError


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
        for path in manifest.files
        if path not in by_path and (root / path).is_file()
    )
    return states


def _state(root: Path, path: str, wanted: EmittedFile | None, manifest: Manifest) -> FileState:
    found = _read(root / path)
    if found is None:
        state = State.MISSING
    elif wanted is not None and found == wanted.text:
        state = State.CURRENT
    elif manifest.files.get(path) != text_hash(found):
        state = State.EDITED
    else:
        state = State.OUTDATED if wanted is not None else State.LEFTOVER
    return FileState(path, state, wanted, found)


def _read(path: Path) -> str | None:
    try:
        # Bytes that are no UTF-8 are an edit like any other.
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
