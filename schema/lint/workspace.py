"""A recipe and the files that were made from it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from vacc_gen.schema.checkpoint import name_of
from vacc_gen.schema.json_files import read_json
from vacc_gen.schema.lint.diagnostics import Finding, dotted, listed
from vacc_gen.schema.lint.files import CheckedFile, ConfigFile, RecipeFile

FileFinding = tuple[CheckedFile, Finding]
"""A finding, and the file that it is in."""

MANIFEST = ".vacc-gen/manifest.json"


class Made(NamedTuple):
    """Hashes of the last generation, see `text_hash`."""

    recipe: str | None
    files: dict[str, str]
    """Of what was made, by path in the workspace."""
    pending: dict[str, str]
    """As `files`, of what a `generate` that was killed was about to write."""


@dataclass
class Workspace:
    """A recipe, and the compile configs in the folder `build` beside it."""

    recipe: RecipeFile
    configs: list[ConfigFile]

    @property
    def edited_configs(self) -> Iterator[ConfigFile]:
        """The language model's configs for the recipe's checkpoint that are not as made."""
        name = name_of(self.recipe.recipe.model.checkpoint)
        for config in self.configs:
            path, digest = f"build/{config.path.name}", text_hash(config.document.text)
            hashes = (self.made.files.get(path), self.made.pending.get(path)) if self.made else ()
            is_own = config.checkpoint_name == name and config.lengths is not None
            if is_own and digest not in hashes:
                yield config

    @cached_property
    def made(self) -> Made | None:
        """What the manifest says of the last generation; None without one that can be read."""
        manifest = read_json(self.recipe.folder / MANIFEST)
        if not isinstance(manifest, dict) or manifest.get("version") != 1:
            return None
        parts = [manifest.get(key, {}) for key in ("made_from", "files", "pending")]
        if not all(isinstance(part, dict) for part in parts):
            return None
        sources, files, pending = parts
        return Made(sources.get("vacc.yaml"), files, pending)

    def lacks(self) -> Iterator[Finding]:
        """Yield what vacc-gen does not make and the workspace cannot run without."""
        from vacc_gen.schema.recipe import PLACEHOLDER

        model, known = self.recipe.recipe.model, self.recipe.known
        names = known.vendor_files(model.preset) if known else ()
        folders = (self.recipe.folder / "source_code", self.recipe.folder / model.checkpoint)
        absent = [name for name in names if not any(os.path.exists(at / name) for at in folders)]  # noqa: PTH110
        if absent:
            message = f"the vendor's {listed(absent)} {'is' if len(absent) == 1 else 'are'} missing"
            hint = "copy what is missing from the vendor's model zoo into source_code/"
            yield Finding(self.recipe.at("model", "preset"), message, hint)
        for steps, path in self.recipe.paths.items():
            is_fetched, span = steps[0] != "verification", self.recipe.at(*steps)
            if path.startswith(PLACEHOLDER):
                fetch = ", or where `vacc-gen fetch` is to put it" if is_fetched else ""
                message = f"`{dotted(steps)}` is still to be filled in"
                yield Finding(span, message, f"write the path where it is{fetch}")
            elif not os.path.exists(self.recipe.folder / path):  # noqa: PTH110  # never raises
                message = f"`{dotted(steps)}` names {path}, which is not there yet"
                fetch = "`vacc-gen fetch` downloads published weights and texts"
                yield Finding(span, message, fetch if is_fetched else None)


def text_hash(text: str) -> str:
    """Return the sha256 of a text in UTF-8, whatever ends its lines."""
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    return hashlib.sha256(plain.encode("utf-8", errors="surrogateescape")).hexdigest()
