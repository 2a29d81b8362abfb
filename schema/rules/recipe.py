"""VG18: recipes of another version."""

from __future__ import annotations

from collections.abc import Iterator

from vacc_gen.schema.diagnostics import Severity
from vacc_gen.schema.migration import RECIPE_VERSION, version_of
from vacc_gen.schema.rules import rule
from vacc_gen.schema.subject import Finding, Subject


@rule("VG180", Severity.ERROR, "recipe of a newer version", scope="recipe")
def newer_recipe(subject: Subject) -> Iterator[Finding]:
    """The recipe is of a version that this vacc-gen does not know.

    Reading what it happens to know and ignoring the rest would build something else than the
    recipe says, so such a recipe is refused.

    Bad:
        version: 99
        model:
          preset: falcon-7b
          checkpoint: /path/to/falcon-7b
    Good:
        version: 2
        model:
          preset: falcon-7b
          checkpoint: /path/to/falcon-7b
    """
    version = version_of(subject.document)
    if version is not None and version > RECIPE_VERSION:
        yield Finding(
            subject.span("version"),
            f"this recipe is of version {version}; this vacc-gen reads versions up to "
            f"{RECIPE_VERSION}",
            "upgrade vacc-gen: pip install --upgrade vacc-gen",
        )


@rule("VG181", Severity.INFO, "recipe of an older version", scope="recipe", fix="safe")
def older_recipe(subject: Subject) -> Iterator[Finding]:
    """The recipe is of an older version and is read as if it were of the newest.

    Nothing is lost if it stays as it is. The fix writes the newest version.

    Bad:
        version: 1
        model:
          preset: falcon-7b
          checkpoint: /path/to/falcon-7b
        target:
          throughput: false
    Good:
        version: 2
        model:
          preset: falcon-7b
          checkpoint: /path/to/falcon-7b
        target:
          optimize_for: latency
    """
    migration = subject.migration
    if migration is not None:
        yield Finding(
            subject.span("version"),
            f"this recipe is of version {migration.version} and is read as version "
            f"{RECIPE_VERSION}",
            "`vacc-gen validate --fix` writes it as one.",
            migration.fix,
        )
