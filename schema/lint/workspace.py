"""A recipe and the files that were made from it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from vacc_gen.schema.checkpoint_facts import read_json, read_regular
from vacc_gen.schema.lint.diagnostics import Finding
from vacc_gen.schema.lint.files import CheckedFile, ConfigFile, RecipeFile

FileFinding = tuple[CheckedFile, Finding]
"""A finding, and the file that it is in."""

MAX_MADE_BYTES = 16 << 20
"""Largest generated file that is held against its hash; a lock has some 100 kB."""

MANIFEST = ".vacc-gen/manifest.json"


class Made(NamedTuple):
    """Hashes (sha256) of the last generation: of the recipe, and of each file that was made."""

    recipe: str | None
    files: dict[str, str]


@dataclass
class Workspace:
    """A recipe, and the compile configs in the folder `build` beside it."""

    recipe: RecipeFile
    configs: list[ConfigFile]

    @property
    def root(self) -> Path:
        """The workspace's folder."""
        return self.recipe.folder

    @cached_property
    def made(self) -> Made | None:
        """What the manifest says of the last generation; None without one that can be read."""
        manifest = read_json(self.root / MANIFEST)
        if not isinstance(manifest, dict) or manifest.get("version") != 1:
            return None
        sources, files = manifest.get("made_from"), manifest.get("files")
        if not isinstance(sources, dict) or not isinstance(files, dict):
            return None
        inside = {
            path: digest
            for path, digest in files.items()
            if not path.startswith("/") and ".." not in Path(path).parts
        }
        return Made(sources.get("vacc.yaml"), inside)

    def missing(self) -> list[str]:
        """Return the generated files that are no longer there."""
        files = self.made.files if self.made else {}
        return [path for path in files if not os.path.lexists(self.root / path)]

    def is_edited(self, path: str) -> bool:
        """Whether a generated file is there, and not as it was made."""
        digest = self.made.files.get(path) if self.made else None
        try:
            source = read_regular(self.root / path, MAX_MADE_BYTES) if digest else None
        except OSError:
            return False
        return source is not None and text_hash(source.decode("utf-8", "replace")) != digest


def text_hash(text: str) -> str:
    """Return the sha256 of a text in UTF-8, whatever ends its lines."""
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    return hashlib.sha256(plain.encode("utf-8", errors="surrogateescape")).hexdigest()


def workspaces(recipes: list[RecipeFile], configs: list[ConfigFile]) -> Iterator[Workspace]:
    """Yield the recipes with the configs beside them."""
    for recipe in recipes:
        folder = recipe.folder / "build"
        yield Workspace(recipe, [one for one in configs if one.path.parent == folder])
