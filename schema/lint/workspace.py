"""A recipe and the files that were made from it, by the hashes in its workspace's manifest."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from vacc_gen.schema.checkpoint import name_of
from vacc_gen.schema.errors import UnreadableError
from vacc_gen.schema.json_files import MAX_JSON_BYTES, read_regular
from vacc_gen.schema.lint.diagnostics import Finding, dotted, listed
from vacc_gen.schema.lint.files import CheckedFile, ConfigFile, RecipeFile
from vacc_gen.schema.strict import Strict

FileFinding = tuple[CheckedFile, Finding]
"""A finding, and the file that it is in."""

MANIFEST_PATH = PurePosixPath(".vacc-gen", "manifest.json")


def _checked(path: str) -> str:
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise ValueError("leads out of the workspace")
    return path


Hashes = dict[Annotated[str, AfterValidator(_checked)], str]
"""Of texts, by path in the workspace; see `text_hash`."""


class Manifest(Strict):
    """Hashes of the last generation."""

    version: Literal[1]
    made_from: Hashes
    """What went in: `vacc.yaml`."""
    files: Hashes
    """What came out: texts as generated."""
    pending: Hashes = Field(default_factory=dict)
    """As `files`, for what is being written: left over by a `generate` that was killed."""

    def is_generated(self, path: str, text: str) -> bool:
        """Whether `text` at `path` is what we wrote there, rather than an edit by hand."""
        return text_hash(text) in (self.files.get(path), self.pending.get(path))

    def text(self) -> str:
        return self.model_dump_json(indent=2, exclude_defaults=True) + "\n"


def read_manifest(root: Path) -> Manifest | None:
    """Read a workspace's manifest; None where there is none.

    Raises:
        UnreadableError: the file is there and is not a manifest.
    """
    path = root / MANIFEST_PATH
    try:
        content = read_regular(path, MAX_JSON_BYTES)
        return None if content is None else Manifest.model_validate_json(content)
    except OSError as error:
        raise UnreadableError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UnreadableError(
            f"{path} is not a manifest of version 1",
            hint="remove it: every file that differs then counts as edited by hand",
        ) from error


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
            path, text = f"build/{config.path.name}", config.document.text
            is_own = config.checkpoint_name == name and config.lengths is not None
            if is_own and not (self.made and self.made.is_generated(path, text)):
                yield config

    @cached_property
    def made(self) -> Manifest | None:
        """What the manifest says of the last generation; None without one that can be read."""
        try:
            return read_manifest(self.recipe.folder)
        except UnreadableError:
            return None

    def lacks(self) -> Iterator[Finding]:
        """Yield what vacc-gen does not make and the workspace cannot run without."""
        from vacc_gen.schema.recipe import PLACEHOLDER

        model, known = self.recipe.recipe.model, self.recipe.known
        preset = known.model(model.preset) if known else None
        names = [one.name for one in preset.sources if not one.generated] if preset else []
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
