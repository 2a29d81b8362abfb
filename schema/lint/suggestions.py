"""What was meant: near misses of words, and which keys the typed models have where."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from vacc_gen.schema.lint.document import Document
from vacc_gen.schema.lint.tree import Node, Steps

LONG_WORD = 5
"""Words from this length on may be two edits away from what was meant, shorter ones one."""


@lru_cache(4096)
def distance(a: str, b: str, limit: int = 2) -> int:
    """Return the number of edits between two words, at most `limit` + 1.

    An edit inserts, deletes or replaces a character, or swaps two neighbours (optimal string
    alignment).
    """
    if abs(len(a) - len(b)) > limit:
        return limit + 1
    before_last: list[int] = []
    last = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        row = [i]
        for j, right in enumerate(b, 1):
            best = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (left != right))
            if i > 1 and j > 1 and left == b[j - 2] and a[i - 2] == right:
                best = min(best, before_last[j - 2] + 1)
            row.append(best)
        before_last, last = last, row
    return min(last[-1], limit + 1)


def _letters(word: str) -> str:
    return word.casefold().replace("-", "").replace("_", "").replace(" ", "")


def nearest_of_all(word: str, candidates: Iterable[str]) -> list[str]:
    """Return the candidates that are nearest to `word`: several where they are equally near."""
    by_edits: dict[int, list[str]] = {}
    for candidate in candidates:
        limit = 2 if min(len(word), len(candidate)) >= LONG_WORD else 1
        same = _letters(word) == _letters(candidate)
        edits = 0 if same else distance(word.casefold(), candidate.casefold(), limit)
        if edits <= limit:
            by_edits.setdefault(edits, []).append(candidate)
    return by_edits[min(by_edits)] if by_edits else []


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate nearest to `word`, the first of several, or None where none is near."""
    return next(iter(nearest_of_all(word, candidates)), None)


Model = type[BaseModel]


def _unwrapped(annotation: Any) -> Iterator[Any]:
    """Yield the alternatives of an annotation, without None and metadata."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _unwrapped(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for option in get_args(annotation):
            yield from _unwrapped(option)
    elif annotation is not type(None):
        yield annotation


def models_of(annotation: Any) -> list[Model]:
    """Return the models that a value of this annotation may be."""
    options = _unwrapped(annotation)
    return [one for one in options if isinstance(one, type) and issubclass(one, BaseModel)]


def literals(field: FieldInfo) -> list[Any]:
    """Return the values that a field is limited to; none where it is not."""
    found: list[Any] = []
    for option in _unwrapped(field.annotation):
        if get_origin(option) is Literal:
            found += get_args(option)
        for enum in (option, *get_args(option)):  # also of a list of such values
            found += [member.value for member in getattr(enum, "__members__", {}).values()]
    return found


def model_at(root: Model, document: Document, steps: Steps) -> Model | None:
    """Return the model of the section at a path, or None where no section belongs there."""
    model: Model | None = root
    annotation: Any = root
    for depth, step in enumerate(steps, 1):
        if model is not None and step in model.model_fields:
            annotation = model.model_fields[str(step)].annotation
        else:
            annotation = _annotation_of_items(annotation)
        model = _variant(models_of(annotation), document.node(*steps[:depth]))
    return model


def _annotation_of_items(annotation: Any) -> Any:
    """Return the annotation of what a list or a mapping holds, or None."""
    for option in _unwrapped(annotation):
        if get_origin(option) in (list, tuple, dict):
            return get_args(option)[1 if get_origin(option) is dict else 0]
    return None


def _variant(models: list[Model], node: Node | None) -> Model | None:
    """Return the model that a mapping's `type` chooses; the first one where it says none."""
    value = node.value if node is not None else None
    said = value["type"].node.value if isinstance(value, dict) and "type" in value else None
    for model in models:
        field = model.model_fields.get("type")
        if len(models) == 1 or (field is not None and said in literals(field)):
            return model
    return models[0] if models and said is None else None


def field_at(root: Model, document: Document, steps: Steps) -> FieldInfo | None:
    """Return the field at a path, or the one whose list or mapping holds the value there."""
    while steps:
        parent = model_at(root, document, steps[:-1])
        if parent is not None and steps[-1] in parent.model_fields:
            return parent.model_fields[str(steps[-1])]
        steps = steps[:-1]
    return None


def key_called(model: Model, word: str) -> str | None:
    """Return the key of a section that other tools call `word`, or None."""
    for key, field in model.model_fields.items():
        extra: Any = field.json_schema_extra or {}
        if word in extra.get("x-aliases", ()):
            return key
    return None


@cache
def sections_by_key(root: Model) -> dict[str, tuple[Steps, ...]]:
    """Return the sections that have a key of a name, by name; lists and their items left out."""
    found: dict[str, tuple[Steps, ...]] = {}

    def visit(model: Model, steps: Steps) -> None:
        for key, field in model.model_fields.items():
            if field.deprecated is None and steps not in found.get(key, ()):
                found[key] = (*found.get(key, ()), steps)
            for below in models_of(field.annotation):
                visit(below, (*steps, key))

    visit(root, ())
    return found
