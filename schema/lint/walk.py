"""A value against the part of JSON Schema that pydantic writes: what is wrong, and where.

The schemas are those made from the pydantic models (see `json_schema`). They are plain data, so
that checking a file needs no pydantic, whose import costs more than all the rest.
"""

from __future__ import annotations

import json
import math
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from vacc_gen.schema.lint.tree import START, Entry, Node, Span

Schema = dict[str, Any]
Steps = tuple[str | int, ...]
"""A path through a document: keys, and positions in lists."""


def schema_text(name: str) -> str:
    """Return the text of the packaged JSON Schema called `name`: vamc or recipe."""
    return (Path(__file__).parents[1] / f"{name}.schema.json").read_text(encoding="utf-8")


@lru_cache
def packaged_schema(name: str) -> Schema:
    """Return the packaged JSON Schema called `name`: vamc or recipe."""
    schema: Schema = json.loads(schema_text(name))
    return schema


class Issue(NamedTuple):
    """A mistake on its way to becoming a problem."""

    kind: str
    steps: Steps
    node: Node | None
    span: Span
    facts: dict[str, Any]


class UnknownKey(NamedTuple):
    """A key that its mapping does not know."""

    key: str
    entry: Entry
    mapping: Node
    steps: Steps
    schema: Schema


_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


def fits(node: Node, schema: Schema, root: Schema) -> bool:
    """Whether a value is valid under a part of the schema `root`."""
    trial = Walk(root)
    trial.walk(node, schema, ())
    return not trial.issues and not trial.unknown


class Walk:
    """A walk that only looks."""

    def __init__(self, root: Schema) -> None:
        self.root = root
        self.issues: list[Issue] = []
        self.unknown: list[UnknownKey] = []

    def resolve(self, schema: Schema) -> Schema:
        """Follow references."""
        while "$ref" in schema:
            schema = self.root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
        return schema

    def issue(
        self, kind: str, steps: Steps, node: Node | None, span: Span | None = None, **facts: Any
    ) -> None:
        """Put a mistake on record."""
        where = span or (node.span if node else START)
        self.issues.append(Issue(kind, steps, node, where, facts))

    def walk(self, node: Node, schema: Schema, steps: Steps) -> None:
        """Check a node and what is below it."""
        if node.rejected:
            return
        schema = self.resolve(schema)
        if "oneOf" in schema:
            self._variant(node, schema, steps)
        elif "anyOf" in schema and "type" not in schema:
            self._any_of(node, schema, steps)
        elif self._typed(node, schema, steps):
            self._valued(node, schema, steps)

    def _typed(self, node: Node, schema: Schema, steps: Steps) -> bool:
        expected = schema.get("type")
        if expected is None or is_type(node.value, expected):
            return True
        if node.value is None:
            self.issue("null", steps, node, expected=[expected], section=expected == "object")
        else:
            self.issue(
                "wrong-type", steps, node, expected=[expected], value=node.value, schema=schema
            )
        return False

    def _valued(self, node: Node, schema: Schema, steps: Steps) -> None:
        value = node.value
        allowed = schema.get("enum") or ([schema["const"]] if "const" in schema else None)
        if allowed is not None:
            if value not in allowed:
                self.issue("not-allowed", steps, node, value=value, allowed=allowed)
        elif isinstance(value, dict):
            self._mapping(node, schema, steps)
        elif isinstance(value, list):
            self._sequence(node, schema, steps)
        elif isinstance(value, str):
            self._text(node, schema, steps)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            self._number(node, schema, steps)

    def _text(self, node: Node, schema: Schema, steps: Steps) -> None:
        most = schema.get("maxLength", len(node.value))
        if len(node.value) < schema.get("minLength", 0):
            self.issue("empty", steps, node)
        elif len(node.value) > most:
            must = f"have at most {most} characters"
            self.issue("bounds", steps, node, value=len(node.value), must=must)
        elif "pattern" in schema and not _compiled(schema["pattern"]).search(node.value):
            self.issue(
                "pattern",
                steps,
                node,
                value=node.value,
                pattern=schema["pattern"],
                examples=schema.get("examples", []),
                description=schema.get("description", ""),
            )

    def _number(self, node: Node, schema: Schema, steps: Steps) -> None:
        value = node.value
        if not math.isfinite(value):
            self.issue("bounds", steps, node, value=value, must="be a finite number")
        elif value < schema.get("minimum", value):
            self.issue("bounds", steps, node, value=value, must=f"be {schema['minimum']} or more")
        elif value > schema.get("maximum", value):
            self.issue("bounds", steps, node, value=value, must=f"be {schema['maximum']} or less")
        elif "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
            must = f"be greater than {schema['exclusiveMinimum']}"
            self.issue("bounds", steps, node, value=value, must=must)
        elif "exclusiveMaximum" in schema and value >= schema["exclusiveMaximum"]:
            must = f"be less than {schema['exclusiveMaximum']}"
            self.issue("bounds", steps, node, value=value, must=must)
        elif "multipleOf" in schema and value % schema["multipleOf"]:
            step = schema["multipleOf"]
            must = f"be a multiple of {step}"
            below = value - value % step
            self.issue("bounds", steps, node, value=value, must=must, near=[below, below + step])

    def _sequence(self, node: Node, schema: Schema, steps: Steps) -> None:
        length = len(node.value)
        least, most = schema.get("minItems", 0), schema.get("maxItems", length)
        if not least <= length <= most:
            self.issue(
                "length", steps, node, length=length, least=least, most=schema.get("maxItems")
            )
            return
        prefix = schema.get("prefixItems", [])
        for index, item in enumerate(node.value):
            item_schema = prefix[index] if index < len(prefix) else schema.get("items")
            if item_schema is not None:
                self.walk(item, item_schema, (*steps, index))

    def _mapping(self, node: Node, schema: Schema, steps: Steps) -> None:
        if not node.value and steps and not node.partial and self._required(node, schema):
            self.issue("null", steps, node, expected=["object"], section=True)
            return
        properties: Schema = schema.get("properties", {})
        additional = schema.get("additionalProperties")
        for key, entry in node.value.items():
            if key in properties:
                self.walk(entry.node, properties[key], (*steps, key))
            elif isinstance(additional, dict):
                self._free_key(key, entry, node, schema, steps)
            elif additional is False and not entry.refused:
                self.unknown.append(UnknownKey(key, entry, node, steps, schema))
        for key in self._required(node, schema) if not node.partial else ():
            self.issue("missing-key", (*steps, key), None, node.span, key=key, parent=steps)
        if len(node.value) < schema.get("minProperties", 0) and not node.partial:
            self.issue("empty", steps, node)

    def _free_key(
        self, key: str, entry: Entry, mapping: Node, schema: Schema, steps: Steps
    ) -> None:
        self.walk(entry.node, schema["additionalProperties"], (*steps, key))

    @staticmethod
    def _required(node: Node, schema: Schema) -> list[str]:
        missing = [key for key in schema.get("required", ()) if key not in node.value]
        choices = [choice["required"] for choice in schema.get("anyOf", ()) if "required" in choice]
        if choices and not any(all(key in node.value for key in choice) for choice in choices):
            missing.append(choices[0][0])
        return missing

    def _variant(self, node: Node, schema: Schema, steps: Steps) -> None:
        """Check a mapping whose `type` says which schema is meant."""
        if not isinstance(node.value, dict):
            kind = "null" if node.value is None else "wrong-type"
            self.issue(kind, steps, node, expected=["object"], value=node.value, section=True)
            return
        discriminator = schema["discriminator"]
        name, variants = discriminator["propertyName"], discriminator["mapping"]
        if name not in node.value and node.partial:
            return  # it may be what could not be read
        if name not in node.value and "x-default" in schema:
            self.walk(node, {"$ref": schema["x-default"]}, steps)
            return
        if name not in node.value:
            keys = set(node.value)
            likely = [
                variant
                for variant, ref in variants.items()
                if keys and keys <= set(self.resolve({"$ref": ref})["properties"])
            ]
            self.issue(
                "missing-key",
                (*steps, name),
                None,
                node.span,
                key=name,
                parent=steps,
                likely=likely,
            )
            return
        chosen = node.value[name].node
        variant = chosen.value if isinstance(chosen.value, str) else None
        if variant in variants:
            self.walk(node, {"$ref": variants[variant]}, steps)
        elif not chosen.rejected:
            self._unknown_variant(node, chosen, list(variants), variants, (*steps, name))

    def _unknown_variant(
        self, node: Node, chosen: Node, allowed: list[str], refs: dict[str, str], steps: Steps
    ) -> None:
        if chosen.value is None:
            self.issue("null", steps, chosen, expected=["string"], section=False)
        elif isinstance(chosen.value, str):
            self.issue("not-allowed", steps, chosen, value=chosen.value, allowed=allowed)
        else:
            self.issue("wrong-type", steps, chosen, expected=["string"], value=chosen.value)

    def _any_of(self, node: Node, schema: Schema, steps: Steps) -> None:
        """Report the mistakes under the alternative that the value comes closest to."""
        best: Walk | None = None
        best_score = (0, 0)
        expected: list[str] = []
        for option in schema["anyOf"]:
            trial = Walk(self.root)
            trial.walk(node, option, steps)
            if not trial.issues and not trial.unknown:
                return
            count = len(trial.issues) + len(trial.unknown)
            depth = min(
                [len(issue.steps) for issue in trial.issues]
                + [len(unknown.steps) + 1 for unknown in trial.unknown]
            )
            for issue in trial.issues:
                if issue.kind in ("wrong-type", "null") and issue.steps == steps:
                    expected += [t for t in issue.facts["expected"] if t not in expected]
            if best is None or (depth, -count) > best_score:
                best, best_score = trial, (depth, -count)
        assert best is not None  # a schema has at least one alternative
        for issue in best.issues:
            if issue.kind in ("wrong-type", "null") and issue.steps == steps:
                issue.facts["expected"] = expected
        self.issues += best.issues
        self.unknown += best.unknown


@lru_cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Return a pattern of JSON Schema, where `$` is the very end; Python's allows a newline."""
    return re.compile(pattern.removesuffix("$") + r"\Z" if pattern.endswith("$") else pattern)


def is_type(value: Any, expected: str) -> bool:
    """Whether a value is of a type of JSON Schema; 1.0 is no integer, and true is no number."""
    if isinstance(value, bool):
        return expected == "boolean"
    return isinstance(value, _TYPES[expected])
