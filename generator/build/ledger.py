"""What earlier builds finished, so that a later one need not do it again.

A step is reused when its key is the recorded one and its outputs are there, unharmed. The key is
a hash over everything that the step's result depends on; see `step_key`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from vacc_gen.generator.files import write_atomically
from vacc_gen.schema.json_files import sha256_of

LEDGER_FILE = "build.json"


@dataclass(frozen=True)
class Output:
    """A file that a step made; `path` is relative to the workspace where it lies inside."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Entry:
    key: str
    seconds: float
    outputs: tuple[Output, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


class Ledger:
    """The finished steps of one workspace by name, in one JSON file that is replaced as a whole."""

    def __init__(self, root: Path, file: Path) -> None:
        self._root = root
        self._file = file
        self._entries = _read(file)
        self._hashes: dict[tuple[int, ...], str] = {}
        """Of files that were read in this build, by what stays when their folder moves."""

    def reusable(self, step: str, key: str, moved_to: Path | None = None) -> Entry | None:
        """The record of a step that need not run again.

        Its outputs may lie in `moved_to` instead, if a later step took them there.
        """
        entry = self._entries.get(step)
        if entry is None or entry.key != key:
            return None
        for output in entry.outputs:
            places = [self._root / output.path]
            if moved_to is not None:
                places.append(moved_to / places[0].name)
            if not any(self._is_unharmed(place, output) for place in places):
                return None
        return entry

    def _is_unharmed(self, file: Path, output: Output) -> bool:
        """Whether the content is what was recorded: disks lose bits silently."""
        is_there = file.is_file() and file.stat().st_size == output.bytes
        return is_there and self.digest(file) == output.sha256

    def forget(self, step: str) -> None:
        """Drop a step that is about to run again."""
        if self._entries.pop(step, None) is not None:
            self._write()

    def record(self, step: str, entry: Entry) -> None:
        """Keep a finished step; on return it is on disk."""
        self._entries[step] = entry
        self._write()

    def output(self, file: Path) -> Output:
        path = file.relative_to(self._root) if file.is_relative_to(self._root) else file
        return Output(path.as_posix(), file.stat().st_size, self.digest(file))

    def digest(self, file: Path) -> str:
        """Hash a file, which is read once a build."""
        status = file.stat()
        state = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        if state not in self._hashes:
            self._hashes[state] = sha256_of(file)
        return self._hashes[state]

    def _write(self) -> None:
        write_atomically(self._file, json.dumps({k: asdict(e) for k, e in self._entries.items()}))


def step_key(step: str, inputs: Mapping[str, object], upstream: Iterable[str]) -> str:
    """Hash what a step's result depends on: its inputs, what it builds on, and this program."""
    parts = [step, dict(inputs), list(upstream), program_digest()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@cache
def program_digest() -> str:
    """This program's identity: a digest of its sources, since versions change less often."""
    digest = hashlib.sha256()
    generator = Path(__file__).parent.parent
    for room in ("backends", "build", "calibration", "templates"):
        for source in sorted((generator / room).rglob("*.py")):
            digest.update(source.read_bytes())
    return digest.hexdigest()


def _read(file: Path) -> dict[str, Entry]:
    """Read the ledger; an unusable one counts as empty, which costs time and nothing else."""
    try:
        return TypeAdapter(dict[str, Entry]).validate_python(json.loads(file.read_bytes()))
    except (OSError, ValueError):
        return {}
