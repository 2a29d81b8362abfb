"""Files that are checked together: what one says of another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from vacc_gen.schema.subject import Finding, Subject

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


def workspaces(recipes: list[Subject], configs: list[Subject]) -> Iterator[Workspace]:
    """Yield the recipes that have configs beside them."""
    for recipe in recipes:
        folder = Path(recipe.document.path).parent / "build"
        beside = [one for one in configs if Path(one.document.path).parent == folder]
        if beside:
            yield Workspace(recipe, beside)
