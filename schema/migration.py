"""Older recipes, brought step by step to the version that we read."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

KeyPath = tuple[str | int, ...]


@dataclass
class Migrated:
    """A recipe in the newest version, and where its moved values stood in the old one."""

    values: dict[str, Any]
    moved: dict[KeyPath, KeyPath] = field(default_factory=dict)
    """New place -> old place, so that a finding still points at the line in the user's file."""

    def move(self, old: KeyPath, new: KeyPath, convert: Callable[[Any], Any]) -> None:
        """Move the value at `old`, where there is one, to `new`; `convert` changes its form."""
        source = _mapping_at(self.values, old[:-1])
        if source is None or old[-1] not in source:
            return
        target = _mapping_at(self.values, new[:-1])
        if target is None:
            return
        target[new[-1]] = convert(source.pop(old[-1]))
        self.moved[new] = old


def migrate(values: Mapping[str, Any]) -> Migrated:
    """Return `values`, a recipe of any version that we know, in the newest one.

    A recipe without a whole-number version, or of a version that we do not know, comes back as it
    is: saying so is the validator's business.
    """
    migrated = Migrated(copy.deepcopy(dict(values)))
    version = migrated.values.get("version")
    while type(version) is int and version in _STEPS:
        _STEPS[version](migrated)
        version += 1
        migrated.values["version"] = version
    return migrated


def _from_1_to_2(recipe: Migrated) -> None:
    """`target.throughput: true|false` became `target.optimize_for: throughput|latency`."""
    words = {True: "throughput", False: "latency"}
    recipe.move(
        ("target", "throughput"),
        ("target", "optimize_for"),
        lambda value: words[value] if isinstance(value, bool) else value,
    )


_STEPS: Mapping[int, Callable[[Migrated], None]] = {1: _from_1_to_2}


def _mapping_at(values: Any, path: KeyPath) -> Any:
    for key in path:
        if not isinstance(values, dict) or key not in values:
            return None
        values = values[key]
    return values if isinstance(values, dict) else None
