"""Packages that come with an extra: loaded in one place, so that what is wrong is said once."""

from __future__ import annotations

import re
from importlib import import_module
from types import ModuleType

from packaging.requirements import Requirement

from vacc_gen.schema.errors import MissingExtraError

REASON_CHARACTERS = 200


def load(purpose: str, *packages: str, extra: str = "export") -> list[ModuleType]:
    """Import packages for what `purpose` names.

    Raises:
        MissingExtraError: one is missing, older than the extra allows, or does not load.
    """
    modules = []
    for package in packages:
        try:
            module = import_module(package)
        except (Exception, SystemExit) as error:  # a broken one may raise anything
            is_absent = isinstance(error, ModuleNotFoundError) and error.name == package
            problem = "is not installed" if is_absent else f"does not load: {_reason(error)}"
            raise MissingExtraError(package, purpose, extra, problem) from error
        version = getattr(module, "__version__", None)
        if version is None:
            raise MissingExtraError(package, purpose, extra, "is broken: it has no version")
        for wanted in _asked(extra):
            if wanted.name == package and not wanted.specifier.contains(version, prereleases=True):
                problem = f"is {version} here, not {wanted.specifier}"
                raise MissingExtraError(package, purpose, extra, problem)
        modules.append(module)
    return modules


def _reason(error: BaseException) -> str:
    words = " ".join(re.split(r"\s+", str(error).strip()))
    return f"{type(error).__name__}: {words}"[:REASON_CHARACTERS]


def _asked(extra: str) -> list[Requirement]:
    """Return what an extra asks for, by what is installed of us."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        asked = [Requirement(text) for text in requires("vacc-gen") or ()]
    except PackageNotFoundError:  # run from its sources
        return []
    return [one for one in asked if one.marker and one.marker.evaluate({"extra": extra})]
