"""Which files of a published calibration set a recipe needs, and where they go. Pure."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import PurePosixPath

from vacc_gen.generator.calibration.texts import OWN, PUBLISHED
from vacc_gen.schema.preset import CalibrationSet
from vacc_gen.schema.recipe import TextSource

FILE_SUFFIXES = (".gz", ".json", ".jsonl", ".zip")
"""A path that ends so names a file; any other, a folder."""


def calibration_targets(
    preset: CalibrationSet, source: TextSource
) -> dict[PurePosixPath, PurePosixPath]:
    """Map files of the set's repository to where the recipe looks for them.

    A path that names a file takes the published file of that name where the set has many, such as
    c4-train.00007-of-01024.json.gz, and else the one of the preset.
    """
    published = PUBLISHED.get(preset.name, OWN)
    path = PurePosixPath(source.path)
    files = [PurePosixPath(name) for name in preset.files]
    wanted = [file for file in files if fnmatch(file.name, published.pattern(source.split))]
    if path.suffix not in FILE_SUFFIXES:
        return {file: path / file.name for file in wanted}
    if published.split_of(path.name):
        return {files[0].with_name(path.name): path}
    return {wanted[0]: path}
