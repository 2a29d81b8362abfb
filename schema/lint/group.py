"""Files that are checked together: what one says of another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from vacc_gen.schema.checkpoint_facts import read_json, read_regular
from vacc_gen.schema.lint.subject import Finding, Subject

GroupFinding = tuple[Subject, Finding]
"""A finding, and the file that it is in."""


@dataclass
class Group:
    """The compile configs of one check."""

    configs: list[Subject] = field(default_factory=list)

    def by_folder(self) -> Iterator[list[Subject]]:
        """Yield the configs that stand in one folder together."""
        folders: dict[Path, list[Subject]] = {}
        for subject in self.configs:
            folders.setdefault(Path(subject.document.path).parent, []).append(subject)
        yield from folders.values()


@dataclass
class Workspace:
    """A recipe, and the compile configs in the folder `build` beside it."""

    recipe: Subject
    configs: list[Subject]

    @property
    def root(self) -> Path:
        """The workspace's folder."""
        return Path(self.recipe.document.path).parent

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
        made = self.made
        return (
            [path for path in made.files if not os.path.lexists(self.root / path)] if made else []
        )

    def edited(self) -> list[str]:
        """Return the generated files that are there, and not as they were made."""
        found = []
        for path, digest in self.made.files.items() if self.made else ():
            try:
                source = read_regular(self.root / path, MAX_MADE_BYTES)
            except OSError:
                continue
            if source is not None and text_hash(source.decode("utf-8", "replace")) != digest:
                found.append(path)
        return found


class Made(NamedTuple):
    """Hashes (sha256) of the last generation: of the recipe, and of each file that was made."""

    recipe: str | None
    files: dict[str, str]


MAX_MADE_BYTES = 16 << 20
"""Largest generated file that is held against its hash; a lock has some 100 kB."""

MANIFEST = ".vacc-gen/manifest.json"


def text_hash(text: str) -> str:
    """Return the sha256 of a text in UTF-8, whatever ends its lines."""
    import hashlib

    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    return hashlib.sha256(plain.encode("utf-8", errors="surrogateescape")).hexdigest()


def workspaces(recipes: list[Subject], configs: list[Subject]) -> Iterator[Workspace]:
    """Yield the recipes with the configs beside them."""
    for recipe in recipes:
        folder = Path(recipe.document.path).parent / "build"
        yield Workspace(
            recipe, [one for one in configs if Path(one.document.path).parent == folder]
        )
