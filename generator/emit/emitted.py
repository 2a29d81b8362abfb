"""A file of the workspace before it is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True)
class EmittedFile:
    """Text that is to stand at `path`, relative to the workspace."""

    path: PurePosixPath
    text: str
    executable: bool = False
