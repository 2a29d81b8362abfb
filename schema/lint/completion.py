"""What may be written at a cursor: the words of the typed models.

A text is seldom YAML while it is being typed. So the word at the cursor is replaced by a mark, with
what may be missing behind it, and lines are left out until the rest can be read.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple, get_args

import yaml
from pydantic.fields import FieldInfo

from vacc_gen.schema.lint.diagnostics import Steps, dotted, plain
from vacc_gen.schema.lint.document import Document, load
from vacc_gen.schema.lint.files import Known
from vacc_gen.schema.lint.suggestions import Model, field_at, literals, model_at, models_at

_MARK = "cursor-of-vacc-gen"
_MISSING = (": 0", "", "]", "}")
"""What may have to follow the word at a cursor, so that its line can be read."""
_PART = re.compile(r"[^\s\[\]{},:#'\"]*")
_SIMPLE = re.compile(r"(?m)^ *((- +)*[\w-]+: *([\w./-]+ *)?|- +[\w./-]+ *)(#.*)?$")
"""Lines such as `key:`, `- key: value` or `- value`, which spoil no text."""
_SHELVES = {"model.preset": "models", "target.card": "cards", "environment.preset": "environments"}
"""Where a recipe takes the name of a preset."""


class Cursor(NamedTuple):
    """The word at a cursor, between two offsets of a text, and its path in a readable document."""

    start: int
    end: int
    document: Document
    steps: Steps
    is_key: bool


class Choice(NamedTuple):
    """A key or a value that may be written; `after` stands between a key and its value."""

    text: str
    meaning: str
    after: str = ""


def find_cursor(text: str, offset: int) -> Cursor | None:
    """Return where a cursor is; None in a comment or a text of several words."""
    start = offset - len(_PART.findall(text[:offset].rpartition("\n")[2][::-1])[0])
    end = offset + len(_PART.findall(text[offset:].partition("\n")[0])[0])
    if start and text[start - 1] in "'\"" and text[start - 1] == text[end : end + 1]:
        start, end = start - 1, end + 1
    word = text[start:end].strip("'\"")
    above, newline, before = text[:start].rpartition("\n")
    after, _, below = text[end:].partition("\n")
    simple = "\n".join(line[0] for line in _SIMPLE.finditer(above))
    contexts = ((above, below), (above, ""), (simple, ""))
    may_be_key = not before.strip(" -")
    for (head, tail), missing in product(contexts, _MISSING if may_be_key else _MISSING[1:]):
        document = load(f"{head}{newline}{before}{_MARK}{missing}{after}\n{tail}")
        for steps, node in document.root.walk() if document.root else ():
            if steps[-1:] == (_MARK,):
                return Cursor(start, end, document, (*steps[:-1], word), is_key=True)
            if node.value == _MARK:
                return Cursor(start, end, document, steps, is_key=False)
    return None


def choices(root: Model, cursor: Cursor, known: Known) -> Iterator[Choice]:
    """Yield the keys that a section still lacks, or the values of a key, in the models' order."""
    document, section = cursor.document, cursor.steps[:-1]
    model = model_at(root, document, section) if cursor.is_key else None
    for key, field in model.model_fields.items() if model else ():
        if document.node(*section, key) is None and not field.deprecated:
            after = ":" if models_at(root, (*section, key)) else ": "
            yield Choice(key, _description(field), after)
    if model is None:
        shelf = _SHELVES.get(dotted(cursor.steps))
        names = known.names(shelf) if shelf else ()
        for field in _fields(root, cursor):
            for value in dict.fromkeys((*names, *_values(field))):
                yield Choice(value, _description(field))


def _fields(root: Model, cursor: Cursor) -> list[FieldInfo]:
    """Return the field at a cursor; of `type` those of each form of its section."""
    *section, key = cursor.steps or ("",)
    models = models_at(root, (*section,))
    if key == "type" and len(models) > 1:
        return [model.model_fields["type"] for model in models]
    field = field_at(root, cursor.document, cursor.steps)
    is_unknown = cursor.is_key and not any(key in model.model_fields for model in models)
    return [] if field is None or (is_unknown and models) else [field]


def _description(field: FieldInfo) -> str:
    """Return what a field means; a section without words of its own has those of its model."""
    models = [one for one in _alternatives(field) if hasattr(one, "model_fields")]
    return field.description or next((inspect.getdoc(model) or "" for model in models), "")


def _alternatives(field: FieldInfo) -> tuple[Any, ...]:
    return field.annotation, *get_args(field.annotation)


def _values(field: FieldInfo) -> Iterator[str]:
    """Yield the values that a field is limited to, those that are usual, and its default."""
    yield from map(written, literals(field))
    yield from ("true", "false") if bool in _alternatives(field) else ()
    yield from map(written, field.examples or ())
    if isinstance(field.default, str | int | float):
        yield written(field.default)


def written(value: Any) -> str:
    """Return a value as YAML has it: a text that is a number to YAML in quotes."""
    text = plain(value)
    return f'"{text}"' if isinstance(value, str) and yaml.safe_load(text) != text else text
