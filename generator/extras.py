"""Packages that come with an extra: loaded in one place, so that what is wrong is said once."""

from __future__ import annotations

import logging
import os
import warnings
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from types import ModuleType

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from vacc_gen.schema.errors import MissingExtraError

REASON_CHARACTERS = 200

QUIET_SETTINGS = {
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def load(purpose: str, *packages: str, extra: str = "export") -> list[ModuleType]:
    """Import packages of an extra for what `purpose` names.

    Raises:
        MissingExtraError: one is missing, older than the extra allows, or does not load.
    """
    modules, asked = [], _asked(extra)
    for package in packages:
        try:
            module = import_module(package)
        except (Exception, SystemExit) as error:  # a broken one may raise anything
            is_absent = isinstance(error, ModuleNotFoundError) and error.name == package
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:REASON_CHARACTERS]
            problem = "is not installed" if is_absent else f"does not load: {reason}"
            raise MissingExtraError(package, purpose, extra, problem) from error
        found, wanted = getattr(module, "__version__", "0"), asked.get(package, SpecifierSet())
        if not wanted.contains(found, prereleases=True):
            raise MissingExtraError(package, purpose, extra, f"is {found} here, not {wanted}")
        modules.append(module)
    return modules


def quiet_libraries() -> None:
    """Silence torch, transformers and the like, before they are loaded; errors are exceptions."""
    os.environ |= {**QUIET_SETTINGS, **os.environ}  # a setting that the user made stays
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")


def _asked(extra: str) -> dict[str, SpecifierSet]:
    """Return the versions that the extra asks for; none where we are run from our sources."""
    try:
        asked = [Requirement(text) for text in requires("vacc-gen") or ()]
    except PackageNotFoundError:
        return {}
    return {
        wanted.name.replace("-", "_"): wanted.specifier
        for wanted in asked
        if wanted.marker and wanted.marker.evaluate({"extra": extra})
    }


def package_version(package: str) -> str | None:
    """Return the installed version of a distribution, without importing it; None without one."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
