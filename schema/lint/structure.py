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

from vacc_gen.schema.lint.diagnostics import (
    Finding,
    Fix,
    Span,
    Steps,
    as_written,
    dotted,
    in_section,
    kind_of_value,
)
from vacc_gen.schema.lint.document import Document, Kind, kind_of
from vacc_gen.schema.lint.suggestions import (
    Model,
    field_at,
    key_called,
    literals,
    model_at,
    models_at,
    nearest_of_all,
    sections_with,
)

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
    "union_tag_not_found": "a mapping",
    "union_tag_invalid": "a mapping",
}
"""What a value was expected to be, by the type of pydantic's error."""

_MOST_PLACES = 3
_PLAIN = re.compile(r"(0|[1-9][0-9]*)(\.[0-9]+)?|true|false")
_PAIR = re.compile(r"([A-Za-z_]\w*):(.+)")


@dataclass(eq=False)
class FormFault:
    """What the typed model refuses, and the code of the rule that reports it.

    `steps` is the path of the value, or of a missing key. Of an unknown key, `meant` is the nearest
    key of its section, and `belongs` are the sections that have a key of exactly this name.
    """

    code: str
    steps: Steps
    finding: Finding
    meant: str | None = None
    belongs: tuple[Steps, ...] = ()

    @property
    def section(self) -> Steps:
        return self.steps[:-1]


class Form:
    """A document against its typed model: the typed values, or what keeps it from being them.

    `faults` are in the order of the text.
    """

    def __init__(self, document: Document, model: Model) -> None:
        self.document = document
        self.model = model
        self.typed: Any = None
        self.faults: list[FormFault] = []
        values = document.values
        if isinstance(values, dict):  # `x-...` at the top level is a place for anchors
            values = {key: value for key, value in values.items() if not key.startswith("x-")}
        try:
            self.typed = _typed(model, values)
        except ValidationError as error:
            faults = [self._fault(one) for one in error.errors(include_url=False)]
            self.faults = _without_cascades(faults)
            self.faults.sort(key=lambda fault: fault.finding.span.start)

    def of(self, code: str) -> list[FormFault]:
        return [fault for fault in self.faults if fault.code == code]

    def found(self, code: str) -> list[Finding]:
        return [fault.finding for fault in self.of(code)]

    def _fault(self, error: ErrorDetails) -> FormFault:
        kind, context = error["type"], error.get("ctx", {})
        steps = self._steps(error["loc"])
        if kind == "extra_forbidden":
            return self._unknown(steps, self._model_at(steps[:-1]) or self.model)
        if kind in ("missing", "missing_key"):
            key = error["loc"][-1] if kind == "missing" else context["key"]
            return self._missing((*steps, key), self._allowed((*steps, key)))
        node, expected = self.document.node(*steps), TYPES.get(kind)
        value = None if node is None else node.plain()
        if kind.startswith("union_tag") and isinstance(value, dict):
            return self._untyped(steps, value)
        if kind in ("literal_error", "enum"):
            return self._not_allowed(steps, value, self._allowed(steps))
        if value is None:
            return self._null(steps, expected)
        if expected is not None:
            return self._wrong_type(steps, value, expected)
        span = self.document.value_span(*steps)
        if kind == "value_error":
            reason, _, advice = str(context["error"]).partition("\n")
            place = self.document.key_span(*steps) if isinstance(value, dict) else span
            found = Finding(place, f"{_named(steps)}: {reason}", advice or None)
        else:
            must, hint = bounds(error, value)
            got = f"{len(value)}" if isinstance(value, list) else as_written(value)
            found = Finding(span, f"`{dotted(steps)}` must {must}, got {got}", hint)
        return FormFault("VG105", steps, found)

    def _steps(self, location: tuple[str | int, ...]) -> Steps:
        """Return the path of an error in the document: pydantic also names alternatives."""
        steps: Steps = ()
        for step in location:
            if self.document.node(*steps, step) is not None:
                steps = (*steps, step)
        return steps

    def _model_at(self, steps: Steps) -> Model | None:
        return model_at(self.model, self.document, steps)

    def _allowed(self, steps: Steps) -> tuple[Any, ...]:
        field = field_at(self.model, self.document, steps)
        return tuple(literals(field)) if field else ()

    def _fix(self, span: Span, text: str) -> Fix | None:
        """Return a fix; None where an alias says the same elsewhere, or for more than a word."""
        is_shared = any(one.start <= span.start < one.end for one in self.document.aliased)
        is_simple = self.document.written(span)[:1] not in ("&", "!") and not is_shared
        return Fix(span, text) if is_simple and span.line == span.end_line else None

    def _missing(self, steps: Steps, allowed: tuple[Any, ...]) -> FormFault:
        span, section = self.document.key_span(*steps[:-1]), in_section(steps[:-1])
        message = f"`{steps[-1]}` is missing {section}"
        return FormFault("VG102", steps, Finding(span, message, _one_of(allowed)))

    def _null(self, steps: Steps, expected: str | None) -> FormFault:
        message, hint = f"{_named(steps)} is null", f"it takes {expected or 'a value'}"
        return FormFault("VG106", steps, Finding(self.document.key_span(*steps), message, hint))

    def _unknown(self, steps: Steps, model: Model) -> FormFault:
        """Return what is wrong with a key that its section, of this model, does not have."""
        section, key = steps[:-1], str(steps[-1])
        span, value = self.document.key_span(*steps), self.document.node(*steps)
        other = key_called(model, key)
        places = [place for place in sections_with(self.model, key) if place != section]
        if places and other is None:
            found = Finding(span, f"`{key}` does not belong {in_section(section)}")
            return FormFault("VG107", steps, found, None, tuple(places[:_MOST_PLACES]))
        near = [other] if other else nearest_of_all(key, model.model_fields)
        near = [name for name in near if self.document.node(*section, name) is None] or near
        meant, hint, fix = (near[0] if near else None), "", None
        if meant is not None:
            hint = f"did you mean `{meant}`?"
            is_free = other is None and self.document.node(*section, meant) is None
            if value and is_free and _is_sure(key, near) and not key.startswith("x-"):
                is_legal = not _errors_at(model, {meant: value.plain()}, meant)
                fix = self._fix(span, meant) if is_legal else None
        hint = f"{hint} {what_becomes_of_unknown_keys(self.document)}".strip()
        message = f"unknown key `{key}` {in_section(section)}"
        return FormFault("VG101", steps, Finding(span, message, hint, fix), meant)

    def _untyped(self, steps: Steps, value: dict[str, Any]) -> FormFault:
        """Return what is wrong with a mapping whose `type` chooses none of its forms."""
        place, models = (*steps, "type"), models_at(self.model, steps)
        by_kind = {kind: one for one in models for kind in literals(one.model_fields["type"])}
        if "type" in value:
            return self._not_allowed(place, value["type"], tuple(by_kind))
        near = next((key for key in value if nearest_of_all(key, ("type",))), None)
        if near is None:
            return self._missing(place, tuple(by_kind))
        return self._unknown((*steps, near), by_kind.get(str(value[near]), models[0]))

    def _not_allowed(self, steps: Steps, value: Any, allowed: tuple[Any, ...]) -> FormFault:
        if value is None:
            return self._null(steps, _one_of(allowed))
        near = nearest_of_all(value, map(str, allowed)) if isinstance(value, str) else []
        span, hint, fix = self.document.value_span(*steps), _one_of(allowed), None
        if near:
            hint = f"did you mean `{near[0]}`?"
            fix = self._fix(span, near[0]) if _is_sure(value, near) else None
        message = f"{as_written(value)} is not a value of `{dotted(steps)}`"
        return FormFault("VG104", steps, Finding(span, message, hint, fix))

    def _wrong_type(self, steps: Steps, value: Any, expected: str) -> FormFault:
        span, kind, fix = self.document.value_span(*steps), kind_of_value(value), None
        if isinstance(value, (str, int, float)) and not isinstance(value, bool):
            kind = f"the {kind.removeprefix('a ')} {as_written(value)}"
        hint = None
        if isinstance(value, str) and self._is_legal_unquoted(steps, value):
            hint, fix = f"write {value} without quotes", self._fix(span, value)
        elif expected == "text" and isinstance(value, (int, float)):
            hint = f'in quotes it is text: "{self.document.written(span)}"'
        elif expected == "a mapping" and (pair := _PAIR.match(str(value))):
            hint = f"a space is missing after the colon: write `{pair[1]}: {pair[2]}`"
        message = f"{_named(steps)} is {kind}, not {expected}"
        return FormFault("VG103", steps, Finding(span, message, hint, fix))

    def _is_legal_unquoted(self, steps: Steps, value: str) -> bool:
        """Whether a text is a legal number or truth value without its quotes."""
        model = self._model_at(steps[:-1]) if steps else None
        if model is None or not _PLAIN.fullmatch(value):
            return False
        key = str(steps[-1])
        return not _errors_at(model, {key: json.loads(value)}, key)


def _typed(model: Model, values: Any) -> Any:
    """Validate as JSON, which has lists for tuples and words for enums; a date is no text there."""
    return model.model_validate_json(json.dumps(values, default=lambda date: {"date": str(date)}))


def _without_cascades(faults: list[FormFault]) -> list[FormFault]:
    """Drop what follows from another fault.

    What is missing may be an unknown key elsewhere; a list is not too short for a bad item.
    """
    unknown = [fault for fault in faults if fault.code in ("VG101", "VG107")]
    strayed = {(*section, fault.steps[-1]) for fault in unknown for section in fault.belongs}
    strayed |= {section for fault in unknown for section in fault.belongs if section}
    strayed |= {(*fault.section, fault.meant) for fault in unknown if fault.meant is not None}
    parents = {one.steps[:depth] for one in faults for depth in range(len(one.steps))}
    return [
        one
        for one in faults
        if not (one.code == "VG102" and one.steps in strayed)
        and not (one.code == "VG105" and one.steps in parents)
    ]


def what_becomes_of_unknown_keys(document: Document) -> str:
    """Return it as a sentence for hints; a recipe with such a key is refused as a whole."""
    is_recipe = kind_of(document) is Kind.RECIPE
    return "" if is_recipe else "The compiler ignores keys that it does not know."


def _errors_at(model: Model, values: dict[str, Any], key: str) -> bool:
    """Whether a section with only these values has an error at or below a key."""
    try:
        _typed(model, values)
    except ValidationError as error:
        return any(key in one["loc"][:2] for one in error.errors() if one["type"] != "missing")
    return False


def _named(steps: Steps) -> str:
    return f"`{dotted(steps)}`" if steps else "the file"


def _one_of(allowed: tuple[Any, ...]) -> str | None:
    return f"one of {', '.join(map(str, allowed))}" if allowed else None


def _is_sure(word: str, near: list[str]) -> bool:
    """Whether only one name can be meant: `int4` is near to `int8`, and means something else."""
    digits = [sorted(filter(str.isdigit, text)) for text in (word, *near)]
    return len(near) == 1 and digits[0] == digits[1]


def bounds(error: ErrorDetails, value: Any) -> tuple[str, str | None]:
    """Return what a value has to be, in pydantic's words, and what may help."""
    must = error["msg"].partition(" should ")[2].partition(" after validation")[0]
    if error["type"] != "multiple_of":
        return must or error["msg"], None
    step = error["ctx"]["multiple_of"]
    below = value - value % step
    near = [str(size) for size in (below, below + step) if size > 0]
    return must, f"nearest: {' and '.join(near)}"
