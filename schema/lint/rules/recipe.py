"""VG18: recipes of another version."""

from __future__ import annotations

import re
from collections.abc import Iterator

from vacc_gen.schema.lint.diagnostics import Severity
from vacc_gen.schema.lint.migration import RECIPE_VERSION, version_of
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.rules._facts import IN_FOLDERS, MODEL_FILES, is_unwritten
from vacc_gen.schema.lint.subject import Finding, Subject


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


MAX_PATH_BYTES = 4095
"""PATH_MAX of Linux, without the NUL at its end."""

_PATHS = (
    ("model", "checkpoint"),
    ("calibration", "path"),
    ("verification", "text"),
)


@rule("VG197", Severity.WARNING, "path that only a shell understands", scope="recipe")
def shell_path(subject: Subject) -> Iterator[Finding]:
    """`~` and `$HOME` mean something to a shell; a path in a recipe is taken as it is written.

    A path that is longer than any can be is an error.

    Bad:
        version: 2
        model: {preset: falcon-7b, checkpoint: ~/weights/falcon-7b}
    Good:
        version: 2
        model: {preset: falcon-7b, checkpoint: ../weights/falcon-7b}
    """
    mixed = [("calibration", "mix", i, "path") for i, _ in subject.items("calibration", "mix")]
    for steps in (*_PATHS, *mixed):
        path = subject.get(*steps)
        if not isinstance(path, str):
            continue
        if re.match(r"~(\w*)(/|$)|.*\$(\{\w+\}|\w+)", path):
            yield Finding(
                subject.span(*steps),
                f"`{path}` is taken as it is written, `~` and `$` included",
                "write the path out, or relative to vacc.yaml",
            )
        elif len(path.encode("utf-8", "replace")) > MAX_PATH_BYTES:
            message = f"a path of {len(path)} characters; no path is longer than {MAX_PATH_BYTES}"
            yield Finding(subject.span(*steps), message, severity=Severity.ERROR)


@rule("VG199", Severity.ERROR, "path that cannot be one", scope="recipe")
def no_path(subject: Subject) -> Iterator[Finding]:
    """A word stands for a path that is still to be written, or a file for a weight folder.

    Bad:
        version: 2
        model: {preset: falcon-7b, checkpoint: TODO}
    Good:
        version: 2
        model: {preset: falcon-7b, checkpoint: ../weights/falcon-7b}
    """
    for steps in _PATHS:
        path = subject.get(*steps)
        if isinstance(path, str) and is_unwritten(path):
            yield Finding(
                subject.span(*steps), f"`{'.'.join(steps)}` is still to be written: {path}"
            )
    checkpoint = subject.get("model", "checkpoint")
    if isinstance(checkpoint, str) and checkpoint.endswith((*IN_FOLDERS, *MODEL_FILES)):
        yield Finding(
            subject.span("model", "checkpoint"),
            "the checkpoint is a file; a recipe names the folder that it is in",
            "write the weight folder, where config.json and the safetensors files are",
        )


@rule("VG198", Severity.WARNING, "precision named twice", scope="recipe")
def precision_twice(subject: Subject) -> Iterator[Finding]:
    """One compile config is made for each precision, so naming one again makes none.

    Bad:
        version: 2
        model: {preset: falcon-7b, checkpoint: /path/to/falcon-7b}
        precisions: [fp16, fp16]
    Good:
        version: 2
        model: {preset: falcon-7b, checkpoint: /path/to/falcon-7b}
        precisions: [fp16, int8]
    """
    precisions = subject.get("precisions") or []
    for index, precision in enumerate(precisions):
        if precision in precisions[:index]:
            yield Finding(
                subject.span("precisions", index), f"{precision} is named twice", "delete one"
            )
