"""pydantic's errors -> faults of form, each at its place in the text.

The typed models decide what is wrong. Here each error is placed at the token that it is about, and
gets the nearest legal name beside it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from vacc_gen.schema.lint.document import Document
from vacc_gen.schema.lint.suggestions import (
    Model,
    field_at,
    literals,
    model_at,
    models_of,
    nearest,
    nearest_of_all,
    other_words,
    sections_by_key,
)
from vacc_gen.schema.lint.tree import Entry, Span, Steps

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
    "model_attributes_type": "a mapping",
}
"""What a value was expected to be, by the type of pydantic's error."""

_MOST_PLACES = 3


@dataclass(eq=False)
class FormFault:
    """Something that the typed model refuses; `steps` is the path of the value."""

    span: Span
    steps: Steps

    @property
    def section(self) -> Steps:
        """The path of the mapping that the value stands in."""
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
        """The key as written."""
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
    hint: str | None = None


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
    typed: BaseModel | None
    faults: list[FormFault]

    def of(self, kind: type[Any]) -> list[Any]:
        """Return the faults of one kind."""
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
        faults = [placed.fault(one) for one in error.errors(include_url=False)]
        kept = _without_cascades([fault for fault in faults if fault is not None])
        return Form(document, None, sorted(kept, key=lambda fault: fault.span.start))


def _typed(model: Model, values: Any) -> BaseModel:
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

    def fault(self, error: ErrorDetails) -> FormFault | None:
        kind, context = error["type"], error.get("ctx", {})
        steps = self._steps(error["loc"])
        if kind == "extra_forbidden":
            return self._unknown(steps)
        if kind in ("missing", "missing_key"):
            key = error["loc"][-1] if kind == "missing" else context["key"]
            return self._missing((*steps, str(key)))
        if kind in ("union_tag_not_found", "union_tag_invalid"):
            return self._untyped(steps)
        node = self.document.node(*steps)
        value = None if node is None else node.plain()
        expected = TYPES.get(kind)
        if kind in ("literal_error", "enum"):
            return self._not_allowed(steps, value)
        if value is None:
            return NullValue(self.document.key_span(*steps), steps, expected or "a value")
        span = self.document.value_span(*steps)
        if expected is not None:
            return WrongType(span, steps, value, expected, self._unquoted(steps, value))
        if kind == "value_error":
            reason, _, advice = str(context["error"]).partition("\n")
            place = self.document.key_span(*steps) if isinstance(value, dict) else span
            return Refused(place, steps, reason, advice or None)
        must, hint = _bounds(error, value)
        return OutOfBounds(span, steps, value, must, hint)

    def _steps(self, location: tuple[str | int, ...]) -> Steps:
        """Return the path of an error in the document: pydantic also names alternatives."""
        steps: Steps = ()
        for step in location:
            if self.document.node(*steps, step) is not None:
                steps = (*steps, step)
        return steps

    def _section(self, steps: Steps) -> Model | None:
        return model_at(self.model, self.document.root, steps)

    def _entries(self, section: Steps) -> dict[str, Entry]:
        node = self.document.node(*section)
        return node.value if node is not None and isinstance(node.value, dict) else {}

    def _unknown(self, steps: Steps) -> UnknownKey:
        section, key = steps[:-1], str(steps[-1])
        model, present = self._section(section), self._entries(section)
        names = tuple(model.model_fields) if model else ()
        listed = tuple(
            name for name in names if model and model.model_fields[name].deprecated is None
        )
        other = other_words(model).get(key) if model else None
        places = sections_by_key(self.model).get(key, ())
        belongs = tuple(place for place in places if place != section)
        meant, sure = other, False
        if other is None and not belongs:
            near = nearest_of_all(key, names)
            meant, sure = (near[0] if near else None), _is_sure(key, near)
        taken = present[meant].key_span.line if meant in present else None
        fits = sure and taken is None and meant is not None and self._accepts(section, key, meant)
        span = self.document.key_span(*steps)
        shown = belongs[:_MOST_PLACES] if other is None else ()
        return UnknownKey(span, steps, meant, fits, taken, shown, listed)

    def _accepts(self, section: Steps, key: str, meant: str) -> bool:
        """Whether the value of `key` is legal under the name `meant`."""
        model, node = self._section(section), self.document.node(*section, key)
        if model is None or node is None:
            return False
        return not _errors_at(model, {meant: node.plain()}, meant)

    def _missing(self, steps: Steps) -> MissingKey:
        field = field_at(self.model, self.document.root, steps)
        allowed = tuple(literals(field)) if field else ()
        return MissingKey(self.document.key_span(*steps[:-1]), steps, allowed)

    def _untyped(self, steps: Steps) -> FormFault | None:
        """Return what is wrong with a mapping whose `type` chooses none of its forms."""
        node = self.document.node(*steps)
        if node is None or not isinstance(node.value, dict):
            value = None if node is None else node.plain()
            return WrongType(self.document.value_span(*steps), steps, value, "a mapping", None)
        kinds = self._kinds(steps)
        if "type" in node.value:
            return self._not_allowed((*steps, "type"), node.value["type"].node.plain(), kinds)
        near = next((key for key in node.value if nearest(key, ("type",))), None)
        if near is not None:
            span = node.value[near].key_span
            sure = node.value[near].node.plain() in kinds
            return UnknownKey(span, (*steps, near), "type", sure, None, (), ("type",))
        return MissingKey(self.document.key_span(*steps), (*steps, "type"), kinds)

    def _kinds(self, steps: Steps) -> tuple[Any, ...]:
        field = field_at(self.model, self.document.root, steps)
        models = models_of(field.annotation) if field else []
        return tuple(
            kind
            for model in models
            if "type" in model.model_fields
            for kind in literals(model.model_fields["type"])
        )

    def _not_allowed(
        self, steps: Steps, value: Any, allowed: tuple[Any, ...] | None = None
    ) -> FormFault:
        if allowed is None:
            field = field_at(self.model, self.document.root, steps)
            allowed = tuple(literals(field)) if field else ()
        span = self.document.value_span(*steps)
        if value is None:
            return NullValue(self.document.key_span(*steps), steps, _alternatives(allowed))
        texts = [str(one) for one in allowed]
        near = nearest_of_all(value, texts) if isinstance(value, str) else []
        by_text = dict(zip(texts, allowed, strict=True))
        meant = by_text[near[0]] if near else None
        return NotAllowed(span, steps, value, allowed, meant, _is_sure(str(value), near))

    def _unquoted(self, steps: Steps, value: Any) -> str | None:
        """Return a quoted text without its quotes, where it is a legal number or truth value."""
        written = self.document.written(self.document.value_span(*steps))
        if not isinstance(value, str) or written[:1] not in ("'", '"'):
            return None
        import yaml

        if not value.isascii() or not value.replace(".", "").isalnum():
            return None
        plain = yaml.safe_load(value)
        model = self._section(steps[:-1])
        if model is None or isinstance(plain, str) or not isinstance(steps[-1], str):
            return None
        return None if _errors_at(model, {steps[-1]: plain}, steps[-1]) else value


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


def _alternatives(allowed: tuple[Any, ...]) -> str:
    return f"one of {', '.join(map(str, allowed))}" if allowed else "a value"


def _bounds(error: ErrorDetails, value: Any) -> tuple[str, str | None]:
    """Return what a value has to be, in words, and what may help."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "multiple_of":
        step = context["multiple_of"]
        below = value - value % step
        near = [str(size) for size in (below, below + step) if size > 0]
        return f"be a multiple of {step}", f"the nearest: {' and '.join(near)}"
    words = {
        "greater_than_equal": "be {ge} or more",
        "greater_than": "be greater than {gt}",
        "less_than_equal": "be {le} or less",
        "less_than": "be less than {lt}",
        "finite_number": "be a finite number",
        "string_too_short": "not be empty",
        "string_too_long": "have at most {max_length} characters",
        "too_short": "have at least {min_length}",
        "too_long": "have at most {max_length}",
    }
    if kind in ("too_short", "too_long"):
        number = context["min_length" if kind == "too_short" else "max_length"]
        return f"{words[kind].format(**context)} {'value' if number == 1 else 'values'}", None
    if kind in words:
        return words[kind].format(**context), None
    if kind == "string_pattern_mismatch":
        return "be of another form", None
    return error["msg"], None
