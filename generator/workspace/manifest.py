"""What was generated from what: `.vacc-gen/manifest.json`, by which hand edits are told."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from vacc_gen.schema.errors import UnreadableError

MANIFEST_PATH = PurePosixPath(".vacc-gen", "manifest.json")
MANIFEST_VERSION = 1


@dataclass(frozen=True)
class Manifest:
    """Hashes (sha256, hexadecimal) of the last generation."""

    made_from: Mapping[str, str] = field(default_factory=dict)
    """What went in: `vacc.yaml`, the checkpoint's `config.json` where it was there, `vacc-gen`."""
    files: Mapping[str, str] = field(default_factory=dict)
    """What came out: path in the workspace -> hash of the text as generated."""

    def text(self) -> str:
        """Return the file's content."""
        values = {
            "version": MANIFEST_VERSION,
            "made_from": dict(sorted(self.made_from.items())),
            "files": dict(sorted(self.files.items())),
        }
        return json.dumps(values, indent=2) + "\n"


def read_manifest(root: Path) -> Manifest:
    """Read a workspace's manifest; an empty one where there is none.

    Raises:
        UnreadableError: the file is there and is no manifest.
    """
    path = root / MANIFEST_PATH
    try:
        values = json.loads(path.read_bytes())
        if values["version"] != MANIFEST_VERSION:
            raise ValueError
        made_from, files = _strings(values["made_from"]), _strings(values["files"])
        if any(Path(file).is_absolute() or ".." in Path(file).parts for file in files):
            raise ValueError
        return Manifest(made_from, files)
    except FileNotFoundError:
        return Manifest()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnreadableError(
            f"{path} is not a manifest of version {MANIFEST_VERSION}",
            hint="remove it: every file that differs then counts as edited by hand",
        ) from error


def text_hash(text: str) -> str:
    """Return the sha256 of a text in UTF-8."""
    return hashlib.sha256(text.encode("utf-8", errors="surrogateescape")).hexdigest()


def _strings(values: object) -> dict[str, str]:
    if not isinstance(values, dict) or not all(
        isinstance(key, str) and isinstance(value, str) for key, value in values.items()
    ):
        raise TypeError
    return values
