"""What was meant: near misses of words, and which keys the typed models have where."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from vacc_gen.schema.lint.diagnostics import Steps
from vacc_gen.schema.lint.document import Document
from vacc_gen.schema.strict import OTHER_NAMES

LONG_WORD = 5
"""Words from this length on may be two edits away from what was meant, shorter ones one."""


def nearest_of_all(word: str, candidates: Iterable[str]) -> list[str]:
    """Return the candidates that are nearest to `word`: several where they are equally near."""
    by_edits: dict[int, list[str]] = {}
    for candidate in candidates:
        limit = 2 if min(len(word), len(candidate)) >= LONG_WORD else 1
        edits = distance(_letters(word), _letters(candidate), limit)
        if edits <= limit:
            by_edits.setdefault(edits, []).append(candidate)
    return by_edits[min(by_edits)] if by_edits else []


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate nearest to `word`, the first of several, or None where none is near."""
    return next(iter(nearest_of_all(word, candidates)), None)


def _letters(word: str) -> str:
    return re.sub("[-_ ]", "", word.casefold())


def distance(a: str, b: str, limit: int = 2) -> int:
    """Return the number of edits between two words, or more than `limit`.

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
    return last[-1]


Model = type[BaseModel]


def _parts(annotation: Any, in_items: bool = False) -> Iterator[tuple[Any, bool]]:
    """Yield what an annotation is made of, and whether it is of a list's or mapping's items."""
    origin = get_origin(annotation)
    if origin in (None, Literal):
        yield annotation, in_items
    else:
        for part in get_args(annotation):
            yield from _parts(part, in_items or origin in (list, tuple, dict))


def literals(field: FieldInfo) -> list[Any]:
    """Return the values that a field, or its items, are limited to; none where they are not."""
    found: list[Any] = []
    for part, _ in _parts(field.annotation):
        found += get_args(part)
        found += [member.value for member in getattr(part, "__members__", {}).values()]
    return found


@cache
def sections(root: Model) -> dict[Steps, list[Model]]:
    """Return the models of each section: several where `type` chooses; items are called `*`."""
    found: dict[Steps, list[Model]] = {}

    def visit(model: Model, steps: Steps) -> None:
        found.setdefault(steps, []).append(model)
        for key, field in model.model_fields.items():
            for part, in_items in _parts(field.annotation):
                if isinstance(part, type) and issubclass(part, BaseModel):
                    visit(part, (*steps, key, "*") if in_items else (*steps, key))

    visit(root, ())
    return found


def models_at(root: Model, steps: Steps) -> list[Model]:
    path = tuple("*" if isinstance(step, int) else step for step in steps)
    return sections(root).get(path) or sections(root).get((*path[:-1], "*"), [])


def model_at(root: Model, document: Document, steps: Steps) -> Model | None:
    """Return the model of the section at a path, the one that its `type` chooses, or None."""
    models, kind = models_at(root, steps), document.node(*steps, "type")
    if len(models) > 1 and kind is not None:
        models = [one for one in models if kind.value in literals(one.model_fields["type"])]
    return models[0] if models else None


def field_at(root: Model, document: Document, steps: Steps) -> FieldInfo | None:
    """Return the field at a path, or the one whose list or mapping holds the value there."""
    for depth in range(len(steps), 0, -1):
        model = model_at(root, document, steps[: depth - 1])
        if model is not None and steps[depth - 1] in model.model_fields:
            return model.model_fields[str(steps[depth - 1])]
    return None


def key_called(model: Model, word: str) -> str | None:
    """Return the key of a section that other tools call `word`, or None."""
    return next((key for key in model.model_fields if word in OTHER_NAMES.get(key, ())), None)


def sections_with(root: Model, key: str) -> list[Steps]:
    """Return the sections that have a key of this name; items of lists are left out."""
    return [
        steps
        for steps, models in sections(root).items()
        if "*" not in steps
        and any(key in one.model_fields and not one.model_fields[key].deprecated for one in models)
    ]
