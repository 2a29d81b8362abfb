"""A compiled folder and its manifest, which `build` writes last: what every file was then."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

from vacc_gen.schema.checkpoint import MAX_JSON_BYTES, read_regular
from vacc_gen.schema.errors import UnreadableError

MANIFEST_FILE = "manifest.json"


class Artifact(NamedTuple):
    """A file of the folder, by name."""

    path: str
    bytes: int
    sha256: str


def read_artifacts(folder: Path) -> list[Artifact] | None:
    """Return what the manifest of a folder lists; None where it has no manifest.

    Raises:
        UnreadableError: the manifest is not one.
    """
    file = folder / MANIFEST_FILE
    try:
        content = read_regular(file, MAX_JSON_BYTES)
        if content is None:
            return None
        listed = json.loads(content)["artifacts"]
        artifacts = [Artifact(one["path"], one["bytes"], one["sha256"]) for one in listed]
        if any(Path(artifact.path).name != artifact.path for artifact in artifacts):
            raise ValueError("a path leads out of the folder")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        problem = f"{file} is not the manifest of a compiled model: {error}"
        raise UnreadableError(problem, "build again") from error
    return artifacts


def difference_of(folder: Path, artifact: Artifact, *, read_content: bool) -> str | None:
    """Return how a file differs from what the manifest says of it, or None.

    The content is read on demand only: that takes longer than loading a model.
    """
    file = folder / artifact.path
    if not file.is_file():
        return "is missing"
    size = file.stat().st_size
    if size != artifact.bytes:
        return f"is {size} bytes long, its manifest says {artifact.bytes} bytes"
    if read_content and sha256_of(file) != artifact.sha256:
        return "was changed: its sha256 is not the one in its manifest"
    return None


def sha256_of(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb", buffering=0) as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
