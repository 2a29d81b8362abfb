"""What earlier builds finished, so that a later one need not do it again.

A step is reused when its key is the recorded one and its outputs are there, unharmed. The key is
a hash over everything that the step's result depends on; see `step_key`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from vacc_gen.generator.backends.base import STATE_FOLDER
from vacc_gen.generator.build.report import Output, StageRecord
from vacc_gen.generator.files import write_atomically
from vacc_gen.schema.json_files import sha256_of

LEDGER_FILE = "build.json"
_Finished = dict[str, tuple[str, StageRecord]]


class Ledger:
    """Key and record of the finished steps of a workspace, in a file that is replaced as a whole.

    An unusable file counts as empty, which costs time and nothing else.
    """

    def __init__(self, root: Path) -> None:
        self._root, self._file = root, root / STATE_FOLDER / LEDGER_FILE
        try:
            content = json.loads(self._file.read_bytes())
            self._finished = TypeAdapter(_Finished).validate_python(content)
        except (OSError, ValueError):
            self._finished = {}
        self._hashes: dict[tuple[int, ...], str] = {}
        """Of files that were read in this build, by what stays when their folder moves."""

    def reusable(self, step: str, key: str, moved_to: Path | None = None) -> StageRecord | None:
        """The record of a step that need not run again.

        Its outputs may lie in `moved_to` instead, if a later step took them there.
        """
        known_key, record = self._finished.get(step, (None, None))
        if record is None or known_key != key:
            return None
        for output in record.outputs:
            places = [self._root / output.path]
            if moved_to is not None:
                places.append(moved_to / places[0].name)
            if not any(self._is_unharmed(place, output) for place in places):
                return None
        return record

    def _is_unharmed(self, file: Path, output: Output) -> bool:
        """Whether the content is what was recorded: disks lose bits silently."""
        is_there = file.is_file() and file.stat().st_size == output.bytes
        return is_there and self.digest(file) == output.sha256

    def forget(self, step: str) -> None:
        """Drop a step that is about to run again."""
        if self._finished.pop(step, None) is not None:
            self._write()

    def keep(self, step: str, key: str, record: StageRecord) -> None:
        """Record a finished step; on return it is on disk."""
        self._finished[step] = key, record
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
        content = {step: (key, asdict(record)) for step, (key, record) in self._finished.items()}
        write_atomically(self._file, json.dumps(content))


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
