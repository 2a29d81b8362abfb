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

from vacc_gen.generator.backends.base import Stage
from vacc_gen.generator.files import sha256_of, write_atomically

LEDGER_FILE = "build.json"
LEDGER_VERSION = 1


@dataclass(frozen=True)
class Output:
    """A file that a step made; `path` is relative to the workspace where it lies inside."""

    path: str
    bytes: int
    sha256: str
    mtime_ns: int


@dataclass(frozen=True)
class Entry:
    """A finished step."""

    key: str
    seconds: float
    peak_rss_bytes: int
    outputs: tuple[Output, ...] = ()
    details: Mapping[str, object] = field(default_factory=dict)


class Ledger:
    """The finished steps of one workspace, kept in one JSON file that is replaced as a whole."""

    def __init__(self, root: Path, file: Path) -> None:
        self._root = root
        self._file = file
        self._entries = _read(file)

    def reusable(
        self, stage: Stage, job: str, key: str, moved_to: Path | None = None
    ) -> Entry | None:
        """The record of a step that need not run again.

        Its outputs may lie in `moved_to` instead, if a later step took them there.
        """
        entry = self._entries.get(_slot(stage, job))
        if entry is None or entry.key != key:
            return None
        for output in entry.outputs:
            places = [self._root / output.path]
            if moved_to is not None:
                places.append(moved_to / places[0].name)
            if not any(_is_unharmed(place, output) for place in places):
                return None
        return entry

    def forget(self, stage: Stage, job: str) -> None:
        """Drop a step that is about to run again."""
        if self._entries.pop(_slot(stage, job), None) is not None:
            self._write()

    def record(self, stage: Stage, job: str, entry: Entry) -> None:
        """Keep a finished step; on return it is on disk."""
        self._entries[_slot(stage, job)] = entry
        self._write()

    def outputs(self, files: Iterable[Path]) -> tuple[Output, ...]:
        """Describe `files`."""
        return tuple(self._describe(file) for file in files)

    def digest(self, file: Path) -> str:
        """Hash a file, unless it was hashed before and has not changed, but for its folder."""
        status = file.stat()
        seen = (file.name, status.st_size, status.st_mtime_ns)
        for entry in self._entries.values():
            for output in entry.outputs:
                if (Path(output.path).name, output.bytes, output.mtime_ns) == seen:
                    return output.sha256
        return sha256_of(file)

    def _describe(self, file: Path) -> Output:
        status = file.stat()
        inside = file.is_relative_to(self._root)
        path = (file.relative_to(self._root) if inside else file).as_posix()
        return Output(path, status.st_size, self.digest(file), status.st_mtime_ns)

    def _write(self) -> None:
        steps = {slot: asdict(entry) for slot, entry in sorted(self._entries.items())}
        write_atomically(self._file, json.dumps({"version": LEDGER_VERSION, "steps": steps}))


def step_key(stage: Stage, job: str, inputs: Mapping[str, object], upstream: Iterable[str]) -> str:
    """Hash what a step's result depends on: its inputs, what it builds on, and this program."""
    material = [stage.value, job, dict(inputs), list(upstream), _program()]
    return hashlib.sha256(json.dumps(material, sort_keys=True).encode()).hexdigest()


@cache
def _program() -> str:
    """This program's identity: a digest of its sources, since versions change less often."""
    digest = hashlib.sha256()
    generator = Path(__file__).parent.parent
    for room in ("backends", "build", "calibration", "templates"):
        for source in sorted((generator / room).rglob("*.py")):
            digest.update(source.read_bytes())
    return digest.hexdigest()


def _is_unharmed(file: Path, output: Output) -> bool:
    """Size and time first; the content is read only where the time has changed."""
    try:
        status = file.stat()
        if status.st_size != output.bytes:
            return False
        return status.st_mtime_ns == output.mtime_ns or sha256_of(file) == output.sha256
    except OSError:
        return False


def _slot(stage: Stage, job: str) -> str:
    return f"{stage.value} {job}"


def _read(file: Path) -> dict[str, Entry]:
    """Read the ledger; an unusable one counts as empty, which costs time and nothing else."""
    try:
        content = json.loads(file.read_bytes())
        if content["version"] != LEDGER_VERSION:
            return {}
        return {slot: _entry(value) for slot, value in content["steps"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _entry(value: dict[str, object]) -> Entry:
    outputs = value.pop("outputs")
    if not isinstance(outputs, list):
        raise TypeError("outputs")
    return Entry(outputs=tuple(Output(**output) for output in outputs), **value)  # type: ignore[arg-type]
