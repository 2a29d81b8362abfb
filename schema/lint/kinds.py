"""What a YAML file is: a recipe, a compile config, an older one, or another tool's."""

from __future__ import annotations

import re
from enum import Enum

from vacc_gen.schema.lint.document import Document

RECIPE_NAME = "vacc.yaml"

_SECTIONS = frozenset(("frontend", "backend", "graph", "dataset", "workspace"))
_LEAST = 2
"""Fewer sections than these make no compile config."""

_OLDER = re.compile(r"^[\"']?(model|engine|workspace)[\"']?\s*[:：]", re.MULTILINE)
_SECTION = re.compile(r"^[\"']?(frontend|backend|workspace)[\"']?\s*[:：]", re.MULTILINE)


class Kind(str, Enum):
    """What a file is."""

    RECIPE = "recipe"
    CONFIG = "compile config"
    OLDER = "config of the older vamc build"
    OTHER = "other"


def kind_of(document: Document) -> Kind:
    """Return what a document is; what cannot be read is judged by how its lines begin."""
    name = re.split(r"[\\/]", document.path)[-1]
    root = document.root
    if root is None or not isinstance(root.value, dict):
        return _kind_of_text(document.text, name)
    keys = root.value.keys()
    if name == RECIPE_NAME and not _SECTIONS & keys:
        return Kind.RECIPE
    if _SECTIONS & keys >= {"frontend"} or _SECTIONS & keys >= {"backend"}:
        return Kind.CONFIG
    if "engine" in keys and "model" in keys:
        return Kind.OLDER
    if "version" in keys and "model" in keys:
        return Kind.RECIPE
    known = len(_SECTIONS & keys) + ("name" in keys)
    return Kind.CONFIG if known >= _LEAST else Kind.OTHER


def _kind_of_text(text: str, name: str) -> Kind:
    if name == RECIPE_NAME:
        return Kind.RECIPE
    if _SECTION.search(text):
        return Kind.CONFIG
    return Kind.OLDER if len(set(_OLDER.findall(text))) > _LEAST else Kind.OTHER


def is_ours(document: Document) -> bool:
    """Whether a YAML that was found in a folder is a recipe or a compile config.

    Stricter than for a file that is named: other tools have a `frontend` or a `version`, too.
    """
    kind = kind_of(document)
    if kind is Kind.RECIPE:
        return re.split(r"[\\/]", document.path)[-1] == RECIPE_NAME
    if kind is not Kind.CONFIG:
        return kind is Kind.OLDER
    root = document.root
    keys = root.value if root is not None and isinstance(root.value, dict) else None
    found = set(_SECTION.findall(document.text)) if keys is None else keys
    return len({"frontend", "backend", "workspace"} & set(found)) >= _LEAST


def newer_version(document: Document) -> int | None:
    """Return the version of a recipe where it is newer than what can be read, else None."""
    node = document.node("version")
    version = node.value if node is not None else None
    if type(version) is not int or kind_of(document) is not Kind.RECIPE:
        return None
    from vacc_gen.schema.recipe import RECIPE_VERSION

    return version if version > RECIPE_VERSION else None
