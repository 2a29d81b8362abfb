"""pydantic's errors -> faults of form, each at its place in the text.

The typed models decide what is wrong. Here each error is placed at the token that it is about, and
gets the nearest legal name beside it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from vacc_gen.schema.lint.document import Document
from vacc_gen.schema.lint.suggestions import (
    Model,
    field_at,
    key_called,
    literals,
    model_at,
    models_at,
    nearest,
    nearest_of_all,
    sections_with,
)
from vacc_gen.schema.lint.tree import Span, Steps

TYPES = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}
"""What a value was expected to be, by the type of pydantic's error."""

_MOST_PLACES = 3
_PLAIN = re.compile(r"(0|[1-9][0-9]*)(\.[0-9]+)?|true|false")


@dataclass(eq=False)
class FormFault:
    """Something that the typed model refuses; `steps` is the path of the value."""

    span: Span
    steps: Steps

    @property
    def section(self) -> Steps:
        return self.steps[:-1]


@dataclass(eq=False)
class UnknownKey(FormFault):
    """A key that its section does not have.

    `meant` is the nearest key of the section; `fits` says that nothing else can be meant: one or
    two edits away, not there yet, and legal with this value. `belongs` are the sections elsewhere
    that have a key of exactly this name.
    """

    meant: str | None
    fits: bool
    taken_line: int | None
    belongs: tuple[Steps, ...]
    known: tuple[str, ...]

    @property
    def key(self) -> str:
        return str(self.steps[-1])


@dataclass(eq=False)
class MissingKey(FormFault):
    """A section lacks a key; `steps` ends in the key that is missing."""

    allowed: tuple[Any, ...]


@dataclass(eq=False)
class WrongType(FormFault):
    """A value of another kind; `unquoted` is it without its quotes, where that is legal."""

    value: Any
    expected: str
    unquoted: str | None


@dataclass(eq=False)
class NotAllowed(FormFault):
    """A value that is none of those allowed; `fits` as for an unknown key."""

    value: Any
    allowed: tuple[Any, ...]
    meant: Any
    fits: bool


@dataclass(eq=False)
class OutOfBounds(FormFault):
    """A value of the right kind outside of its bounds: `must` says what it has to be."""

    value: Any
    must: str
    hint: str | None


@dataclass(eq=False)
class Refused(FormFault):
    """A value that a validator refuses: `reason` says why, `hint` what to do about it."""

    reason: str
    hint: str | None


@dataclass(eq=False)
class NullValue(FormFault):
    """Null where a value is needed."""

    expected: str


@dataclass
class Form:
    """A document against its typed model: the typed values, or what keeps it from being them."""

    document: Document
    typed: Any
    faults: list[FormFault]

    def of(self, kind: type[Any]) -> list[Any]:
        return [fault for fault in self.faults if isinstance(fault, kind)]


def check(document: Document, model: Model) -> Form:
    """Return a document as its typed model, or the faults in the order of the text."""
    values = document.values
    if isinstance(values, dict):  # a place for anchors: `x-...` at the top level is nobody's key
        values = {key: value for key, value in values.items() if not key.startswith("x-")}
    try:
        return Form(document, _typed(model, values), [])
    except ValidationError as error:
        placed = _Placing(document, model)
        kept = _without_cascades([placed.fault(one) for one in error.errors(include_url=False)])
        return Form(document, None, sorted(kept, key=lambda fault: fault.span.start))


def _typed(model: Model, values: Any) -> Any:
    """Validate as JSON, which has lists for tuples and words for enums; a date is no text there."""
    return model.model_validate_json(json.dumps(values, default=lambda date: {"date": str(date)}))


def _without_cascades(faults: list[FormFault]) -> list[FormFault]:
    """Drop what follows from another fault.

    What is missing may be an unknown key elsewhere; a list is not too short for a bad item.
    """
    unknown = [fault for fault in faults if isinstance(fault, UnknownKey)]
    strayed = {(*section, fault.key) for fault in unknown for section in fault.belongs}
    strayed |= {section for fault in unknown for section in fault.belongs if section}
    strayed |= {(*fault.section, fault.meant) for fault in unknown if fault.meant is not None}
    parents = {one.steps[:depth] for one in faults for depth in range(len(one.steps))}
    return [
        one
        for one in faults
        if not (isinstance(one, MissingKey) and one.steps in strayed)
        and not (isinstance(one, OutOfBounds) and one.steps in parents)
    ]


class _Placing:
    """Turns the errors of one document into faults."""

    def __init__(self, document: Document, model: Model) -> None:
        self.document = document
        self.model = model

    def fault(self, error: ErrorDetails) -> FormFault:
        kind, context = error["type"], error.get("ctx", {})
        steps = self._steps(error["loc"])
        if kind == "extra_forbidden":
            return self._unknown(steps)
        if kind in ("missing", "missing_key"):
            key = error["loc"][-1] if kind == "missing" else context["key"]
            return self._missing((*steps, key), self._allowed((*steps, key)))
        value = self._value(steps)
        if kind in ("union_tag_not_found", "union_tag_invalid"):
            return self._untyped(steps, value)
        expected = TYPES.get(kind)
        if kind in ("literal_error", "enum"):
            return self._not_allowed(steps, value, self._allowed(steps))
        if value is None:
            return NullValue(self.document.key_span(*steps), steps, expected or "a value")
        span = self.document.value_span(*steps)
        if expected is not None:
            return WrongType(span, steps, value, expected, self._unquoted(steps, value))
        if kind == "value_error":
            reason, _, advice = str(context["error"]).partition("\n")
            place = self.document.key_span(*steps) if isinstance(value, dict) else span
            return Refused(place, steps, reason, advice or None)
        return OutOfBounds(span, steps, value, *_bounds(error, value))

    def _steps(self, location: tuple[str | int, ...]) -> Steps:
        """Return the path of an error in the document: pydantic also names alternatives."""
        steps: Steps = ()
        for step in location:
            if self.document.node(*steps, step) is not None:
                steps = (*steps, step)
        return steps

    def _start(self, steps: Steps) -> int:
        node = self.document.node(*steps)
        return 0 if node is None else node.span.start

    def _value(self, steps: Steps) -> Any:
        node = self.document.node(*steps)
        return None if node is None else node.plain()

    def _allowed(self, steps: Steps) -> tuple[Any, ...]:
        field = field_at(self.model, self.document, steps)
        return tuple(literals(field)) if field else ()

    def _missing(self, steps: Steps, allowed: tuple[Any, ...]) -> MissingKey:
        return MissingKey(self.document.key_span(*steps[:-1]), steps, allowed)

    def _unknown(self, steps: Steps) -> UnknownKey:
        section, key = steps[:-1], str(steps[-1])
        model = model_at(self.model, self.document, section) or self.model
        other = key_called(model, key)
        places = sections_with(self.model, key)
        belongs = tuple(place for place in places if place != section)
        meant, sure = other, False
        if other is None and not belongs:
            near = nearest_of_all(key, model.model_fields)
            near = [name for name in near if self.document.node(*section, name) is None] or near
            meant, sure = (near[0] if near else None), _is_sure(key, near)
        line, fits = None, False
        if meant is not None and self.document.node(*section, meant) is not None:
            line = self.document.key_span(*section, meant).line
        elif meant is not None and sure:
            merged = self.document.key_span(*steps).start < self._start(section)  # by `<<`
            fits = not merged and not _errors_at(model, {meant: self._value(steps)}, meant)
        known = (name for name, field in model.model_fields.items() if field.deprecated is None)
        shown = belongs[:_MOST_PLACES] if other is None else ()
        span = self.document.key_span(*steps)
        return UnknownKey(span, steps, meant, fits, line, shown, tuple(known))

    def _untyped(self, steps: Steps, value: Any) -> FormFault:
        """Return what is wrong with a mapping whose `type` chooses none of its forms."""
        if not isinstance(value, dict):
            return WrongType(self.document.value_span(*steps), steps, value, "a mapping", None)
        types = [model.model_fields["type"] for model in models_at(self.model, steps)]
        kinds = tuple(kind for field in types for kind in literals(field))
        if "type" in value:
            return self._not_allowed((*steps, "type"), value["type"], kinds)
        near = next((key for key in value if nearest(key, ("type",))), None)
        if near is None:
            return self._missing((*steps, "type"), kinds)
        span, sure = self.document.key_span(*steps, near), value[near] in kinds
        return UnknownKey(span, (*steps, near), "type", sure, None, (), ("type",))

    def _not_allowed(self, steps: Steps, value: Any, allowed: tuple[Any, ...]) -> FormFault:
        if value is None:
            expected = f"one of {', '.join(map(str, allowed))}" if allowed else "a value"
            return NullValue(self.document.key_span(*steps), steps, expected)
        by_text = {str(one): one for one in allowed}
        near = nearest_of_all(value, by_text) if isinstance(value, str) else []
        meant = by_text[near[0]] if near else None
        span = self.document.value_span(*steps)
        alone = self.document.written(span).strip("'\"") == value  # no anchor or tag before it
        return NotAllowed(span, steps, value, allowed, meant, alone and _is_sure(value, near))

    def _unquoted(self, steps: Steps, value: Any) -> str | None:
        """Return a quoted text without its quotes, where it is a legal number or truth value."""
        model, key = model_at(self.model, self.document, steps[:-1]), str(steps[-1])
        written = self.document.written(self.document.value_span(*steps))
        if model is None or not _PLAIN.fullmatch(str(value)) or written[1:-1] != value:
            return None  # not only quotes around it, but an anchor or a tag before it
        return None if _errors_at(model, {key: json.loads(value)}, key) else value


def _errors_at(model: Model, values: dict[str, Any], key: str) -> bool:
    """Whether a section with only these values has an error at or below a key."""
    try:
        _typed(model, values)
    except ValidationError as error:
        return any(key in one["loc"][:2] for one in error.errors() if one["type"] != "missing")
    return False


def _is_sure(word: str, near: list[str]) -> bool:
    """Whether only one name can be meant: `int4` is near to `int8`, and means something else."""
    digits = [sorted(filter(str.isdigit, text)) for text in (word, *near)]
    return len(near) == 1 and digits[0] == digits[1]


def _bounds(error: ErrorDetails, value: Any) -> tuple[str, str | None]:
    """Return what a value has to be, in pydantic's words, and what may help."""
    must = error["msg"].partition(" should ")[2].partition(" after validation")[0]
    if error["type"] != "multiple_of":
        return must or error["msg"], None
    step = error["ctx"]["multiple_of"]
    below = value - value % step
    near = [str(size) for size in (below, below + step) if size > 0]
    return must, f"the nearest: {' and '.join(near)}"
