"""A recipe and the files that were made from it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from vacc_gen.schema.checkpoint import read_json, read_regular
from vacc_gen.schema.lint.diagnostics import Finding, dotted, listed
from vacc_gen.schema.lint.files import CheckedFile, ConfigFile, RecipeFile, last_part
from vacc_gen.schema.lint.tree import Steps

FileFinding = tuple[CheckedFile, Finding]
"""A finding, and the file that it is in."""

MANIFEST = ".vacc-gen/manifest.json"
PLACEHOLDER = "/path/to"
"""How a path begins that `new` leaves to be filled in."""

_MAX_SCRIPT_BYTES = 1 << 20


class Made(NamedTuple):
    """Hashes (sha256) of the last generation: of the recipe, and of each file that was made."""

    recipe: str | None
    files: dict[str, str]


class Lack(NamedTuple):
    """Something that a workspace needs, which vacc-gen does not make; `steps` name it."""

    steps: Steps
    message: str
    hint: str | None


@dataclass
class Workspace:
    """A recipe, and the compile configs in the folder `build` beside it."""

    recipe: RecipeFile
    configs: list[ConfigFile]

    @property
    def root(self) -> Path:
        """The workspace's folder."""
        return self.recipe.folder

    @property
    def own_configs(self) -> list[ConfigFile]:
        """The configs of a language model that are for the recipe's checkpoint."""
        name = last_part(self.recipe.recipe.model.checkpoint)
        return [
            config
            for config in self.configs
            if config.checkpoint_name == name and config.lengths is not None
        ]

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

    def script(self, name: str) -> str | None:
        """Return the text of one of `scripts/`, or None where there is none to read."""
        try:
            source = read_regular(self.root / "scripts" / name, _MAX_SCRIPT_BYTES)
        except OSError:
            return None
        return None if source is None else source.decode("utf-8", errors="replace")

    def lacks(self) -> list[Lack]:
        """Return what has to be brought before the workspace can run, in the recipe's order."""
        paths = [_lack(self.root, *named) for named in self.recipe.paths.items()]
        found = [lack for lack in (self._vendor_files(), *paths) if lack is not None]
        return sorted(found, key=lambda lack: self.recipe.at(*lack.steps).start)

    def _vendor_files(self) -> Lack | None:
        model, known = self.recipe.recipe.model, self.recipe.known
        names = known.vendor_files(model.preset) if known else ()
        folders = (self.root / "source_code", self.root / model.checkpoint)
        absent = [name for name in names if not any(_exists(folder / name) for folder in folders)]
        if not absent:
            return None
        message = f"the vendor's {listed(absent)} {'is' if len(absent) == 1 else 'are'} missing"
        hint = "copy what is missing from the vendor's model zoo into source_code/"
        return Lack(("model", "preset"), message, hint)


def _lack(root: Path, steps: Steps, path: str) -> Lack | None:
    """Return what is missing where a path of the recipe is unfilled or leads nowhere."""
    is_fetched = steps[0] != "verification"
    if path.startswith(PLACEHOLDER):
        fetch = ", or where `vacc-gen fetch` is to put it" if is_fetched else ""
        hint = f"write the path where it is{fetch}"
        return Lack(steps, f"`{dotted(steps)}` is still to be filled in", hint)
    if _exists(root / path):
        return None
    message = f"`{dotted(steps)}` names {path}, which is not there"
    hint = "`vacc-gen fetch` downloads published weights and texts"
    return Lack(steps, message, hint if is_fetched else None)


def _exists(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110  # never raises


def text_hash(text: str) -> str:
    """Return the sha256 of a text in UTF-8, whatever ends its lines."""
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    return hashlib.sha256(plain.encode("utf-8", errors="surrogateescape")).hexdigest()


def workspaces(recipes: list[RecipeFile], configs: list[ConfigFile]) -> Iterator[Workspace]:
    """Yield the recipes with the configs beside them, which learn of their recipe."""
    for recipe in recipes:
        folder = recipe.folder / "build"
        members = [config for config in configs if config.path.parent == folder]
        for config in members:
            config.recipe = recipe
        yield Workspace(recipe, members)
