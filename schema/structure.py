"""A marked document against a JSON Schema: what is wrong, each mistake once, at its very token.

The schemas are those made from the pydantic models (see `json_schema`), so this walker knows the part
of JSON Schema that pydantic writes. Beyond a yes or no it finds out what was meant: a key that is
misspelled, at the wrong level or in the neighbouring section; two values that are swapped. It puts
such values where they belong in the tree, and marks those that are wrong as rejected, so that the
rules that run afterwards see what the author meant, and a mistake is told once.
"""

from __future__ import annotations

import json
import math
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from vacc_gen.schema.document import Document, Entry, Node, Problem, Span
from vacc_gen.schema.placement import Places, Suggestion, suggest

Schema = dict[str, Any]
Steps = tuple[str | int, ...]


def schema_text(name: str) -> str:
    """Return the text of the packaged JSON Schema called `name`: vamc or recipe."""
    return (Path(__file__).parent / f"{name}.schema.json").read_text(encoding="utf-8")


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


def check(document: Document, schema: Schema) -> list[Problem]:
    """Return what is structurally wrong with a document, and repair its tree for the rules."""
    if document.root is None:
        return []
    return _Walker(document, schema).run()


def fits(node: Node, schema: Schema, root: Schema) -> bool:
    """Whether a value is valid under a part of the schema `root`."""
    trial = _Trial(root)
    trial.walk(node, schema, ())
    return not trial.issues and not trial.unknown


class _Trial:
    """A walk that only looks."""

    def __init__(self, root: Schema) -> None:
        self.root = root
        self.issues: list[Issue] = []
        self.unknown: list[UnknownKey] = []

    def resolve(self, schema: Schema) -> Schema:
        while "$ref" in schema:
            schema = self.root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
        return schema

    def issue(
        self, kind: str, steps: Steps, node: Node | None, span: Span | None = None, **facts: Any
    ) -> None:
        where = span or (node.span if node else Span(1, 1, 1, 1, 0, 0))
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
        if expected is None or _is_type(node.value, expected):
            return True
        if node.value is None:
            self.issue("null", steps, node, expected=[expected], section=expected == "object")
        else:
            self.issue("wrong-type", steps, node, expected=[expected], value=node.value)
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
        if len(node.value) < schema.get("minLength", 0):
            self.issue("empty", steps, node)
        elif "pattern" in schema and not re.search(schema["pattern"], node.value):
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
        properties: Schema = schema.get("properties", {})
        additional = schema.get("additionalProperties")
        for key, entry in node.value.items():
            if key in properties:
                self.walk(entry.node, properties[key], (*steps, key))
            elif isinstance(additional, dict):
                self._free_key(key, entry, node, schema, steps)
            elif additional is False:
                self.unknown.append(UnknownKey(key, entry, node, steps, schema))
        for key in self._required(node, schema):
            self.issue("missing-key", (*steps, key), None, node.span, key=key, parent=steps)
        if len(node.value) < schema.get("minProperties", 0):
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
        best: _Trial | None = None
        best_score = (0, 0)
        expected: list[str] = []
        for option in schema["anyOf"]:
            trial = _Trial(self.root)
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


class _Walker(_Trial):
    """A walk that works out what was meant, and repairs the tree accordingly."""

    def __init__(self, document: Document, schema: Schema) -> None:
        super().__init__(schema)
        self.document = document
        self.places: Places | None = None
        self.problems: list[Problem] = []

    def run(self) -> list[Problem]:
        root = self.document.root
        assert root is not None
        self.walk(root, self.root, ())
        self._settle_unknown()
        self._settle_swapped()
        for issue in self.issues:
            if issue.kind == "missing-key" and not self.document.complete:
                continue
            self._reject(issue)
            self._report(issue)
        return sorted(self.problems, key=lambda problem: problem.span)

    def _reject(self, issue: Issue) -> None:
        """Hide a wrong value from the rules, and the list that it is in."""
        if issue.node is not None:
            issue.node.rejected = True
        steps = issue.steps
        while steps and isinstance(steps[-1], int):
            steps = steps[:-1]
        if steps != issue.steps:
            around = self.document.node(*steps)
            if around is not None:
                around.rejected = True

    def _report(self, issue: Issue) -> None:
        span = issue.span
        if issue.kind == "missing-key":
            span = self._section_span(issue.facts["parent"], span)
        facts = {**issue.facts, "steps": issue.steps}
        if issue.kind == "null" and issue.steps:
            facts["required"] = self._is_required(issue.steps)
            span = self._entry_span(issue)
        self.problems.append(Problem(issue.kind, span, facts))

    def _entry_span(self, issue: Issue) -> Span:
        """Return where a null stands; an empty value has no width, so its key is shown."""
        if issue.span.start < issue.span.end or not isinstance(issue.steps[-1], str):
            return issue.span
        return self._section_span(issue.steps, issue.span)

    def _section_span(self, steps: Steps, otherwise: Span) -> Span:
        """Return where a section's key stands; for a list item or the root, where it starts."""
        if steps and isinstance(steps[-1], str):
            parent = self.document.node(*steps[:-1])
            if parent is not None and isinstance(parent.value, dict) and steps[-1] in parent.value:
                span: Span = parent.value[steps[-1]].key_span
                return span
        line = self.document.lines[otherwise.line - 1]
        end_column = max(len(line.rstrip()) + 1, otherwise.column)
        return otherwise._replace(
            end_line=otherwise.line,
            end_column=end_column,
            end=otherwise.start + end_column - otherwise.column,
        )

    def _is_required(self, steps: Steps) -> bool:
        parent, schema = self.document.root, self.root
        for step in steps[:-1]:
            schema = self.resolve(schema)
            if isinstance(step, int):
                return True
            schema = schema.get("properties", {}).get(step, {})
        del parent
        return steps[-1] in self.resolve(schema).get("required", ())

    def _free_key(
        self, key: str, entry: Entry, mapping: Node, schema: Schema, steps: Steps
    ) -> None:
        """A key of a free mapping is misplaced where only its name is known elsewhere."""
        if self._places().knows(key) and not fits(
            entry.node, schema["additionalProperties"], self.root
        ):
            self.unknown.append(UnknownKey(key, entry, mapping, steps, {"properties": {}}))
        else:
            super()._free_key(key, entry, mapping, schema, steps)

    def _mapping(self, node: Node, schema: Schema, steps: Steps) -> None:
        """A section none of whose keys is known here may be one of that name from elsewhere."""
        properties = schema.get("properties", {})
        if steps and node.value and properties and not any(key in properties for key in node.value):
            elsewhere = self._places().section_like(str(steps[-1]), node, steps)
            if elsewhere is not None:
                self.issue(
                    "misplaced-section",
                    steps,
                    node,
                    self._section_span(steps, node.span),
                    key=steps[-1],
                    belongs=elsewhere,
                )
                return
        super()._mapping(node, schema, steps)

    def _variant(self, node: Node, schema: Schema, steps: Steps) -> None:
        """A mapping without `type` may have it under another name: a misspelled one."""
        name, refs = schema["discriminator"]["propertyName"], schema["discriminator"]["mapping"]
        if isinstance(node.value, dict) and name not in node.value:
            for key, entry in node.value.items():
                ref = refs.get(entry.node.value) if isinstance(entry.node.value, str) else None
                variant = self.resolve({"$ref": ref}) if ref else {"properties": {key: {}}}
                if key not in variant["properties"]:
                    self.unknown.append(UnknownKey(key, entry, node, steps, variant))
                    others = {k: e for k, e in node.value.items() if k != key}
                    others[name] = entry
                    self.walk(Node(others, node.span), {"$ref": ref}, steps)
                    return
        super()._variant(node, schema, steps)

    def _unknown_variant(
        self, node: Node, chosen: Node, allowed: list[str], refs: dict[str, str], steps: Steps
    ) -> None:
        super()._unknown_variant(node, chosen, allowed, refs, steps)
        from vacc_gen.schema.suggestions import nearest

        meant = nearest(chosen.value, allowed) if isinstance(chosen.value, str) else None
        if meant is not None:
            chosen.rejected = True
            schema = dict(self.resolve({"$ref": refs[meant]}))
            schema["properties"] = {**schema["properties"], steps[-1]: {}}
            self.walk(node, schema, steps[:-1])

    def _places(self) -> Places:
        if self.places is None:
            self.places = Places(self.document, self.root)
        return self.places

    def _settle_unknown(self) -> None:
        """Find what each unknown key was meant to be, and check its value there."""
        while self.unknown:
            unknown = self.unknown.pop(0)
            unknown.mapping.value.pop(unknown.key, None)
            missing = {issue.steps for issue in self.issues if issue.kind == "missing-key"}
            suggestion = suggest(unknown, self._places(), missing)
            self.problems.append(
                Problem(
                    "unknown-key",
                    unknown.entry.key_span,
                    {
                        "key": unknown.key,
                        "steps": unknown.steps,
                        "suggestion": suggestion,
                        "known": list(unknown.schema["properties"]),
                        "entry": unknown.entry,
                    },
                )
            )
            if suggestion is not None:
                self._graft(unknown, suggestion)

    def _graft(self, unknown: UnknownKey, suggestion: Suggestion) -> None:
        """Hang the value where it was meant to be; that something is missing there is told."""
        section = suggestion.section
        target = (*section, suggestion.key)
        self.issues = [
            issue
            for issue in self.issues
            if not (issue.kind == "missing-key" and issue.steps == target)
            and not (issue.kind in ("null", "empty") and issue.steps == section)
        ]
        parent = self.document.node(*section)
        if parent is None:
            return
        if parent.value is None:
            parent.value = {}
        if isinstance(parent.value, dict) and suggestion.key not in parent.value:
            parent.value[suggestion.key] = unknown.entry
            if suggestion.schema is not None:
                self.walk(unknown.entry.node, suggestion.schema, target)

    def _settle_swapped(self) -> None:
        """Tell two neighbours that are wrong here and right in each other's place as one mistake."""
        wrong = [
            issue
            for issue in self.issues
            if issue.kind in ("wrong-type", "not-allowed", "pattern", "bounds")
            and issue.node is not None
            and issue.steps
            and isinstance(issue.steps[-1], str)
        ]
        for first, second in zip(wrong, wrong[1:], strict=False):
            if first.steps[:-1] != second.steps[:-1]:
                continue
            parent = self._places().schema_at(first.steps[:-1])
            properties = parent.get("properties", {}) if parent else {}
            one, other = properties.get(first.steps[-1]), properties.get(second.steps[-1])
            if one is None or other is None or first.node is None or second.node is None:
                continue
            if fits(first.node, other, self.root) and fits(second.node, one, self.root):
                self.issues = [i for i in self.issues if i is not first and i is not second]
                first.node.rejected = second.node.rejected = True
                self.issue(
                    "swapped",
                    first.steps,
                    first.node,
                    keys=[first.steps[-1], second.steps[-1]],
                    spans=[first.node.span, second.node.span],
                )


def _is_type(value: Any, expected: str) -> bool:
    if isinstance(value, bool):
        return expected == "boolean"
    return isinstance(value, _TYPES[expected])
