"""A compiled folder against its manifest, which `build` writes last: what every file was then."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from vacc_gen.schema.json_files import MAX_JSON_BYTES, read_regular

MANIFEST_FILE = "manifest.json"


def changed_files(folder: Path, *, read_content: bool) -> Iterator[tuple[str, str]]:
    """Yield each file that is not what the manifest says, by name, and what it is instead.

    Content is read on demand only: that takes longer than loading a model.
    """
    try:
        manifest = json.loads(read_regular(folder / MANIFEST_FILE, MAX_JSON_BYTES) or b"")
        listed = [(Path(a["path"]).name, a["bytes"], a["sha256"]) for a in manifest["artifacts"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        yield MANIFEST_FILE, f"is missing, or is not a manifest: {error}"
        return
    for name, size, digest in listed:
        file = folder / name
        if not file.is_file():
            yield name, "is missing"
        elif (found := file.stat().st_size) != size:
            yield name, f"is {found} bytes long, its manifest says {size} bytes"
        elif read_content and sha256_of(file) != digest:
            yield name, "was changed: its sha256 is not the one in its manifest"


def sha256_of(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb", buffering=0) as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
