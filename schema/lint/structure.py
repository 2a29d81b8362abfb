"""A document against its format: each mistake once, at its very token, with what was meant.

Beyond a yes or no this finds out what was meant: a key that is misspelled, at the wrong level or in
the neighbouring section; two values that are swapped. It puts such values where they belong in the
tree, and marks those that are wrong as rejected, so that the rules that run afterwards see what the
author meant, and a mistake is told once.
"""

from __future__ import annotations

from itertools import pairwise

from vacc_gen.schema.lint.document import Document, Entry, Node, Problem, Span
from vacc_gen.schema.lint.placement import Places, Suggestion, suggest
from vacc_gen.schema.lint.suggestions import nearest
from vacc_gen.schema.lint.walk import Issue, Schema, Steps, UnknownKey, Walk, fits


def check(document: Document, schema: Schema) -> list[Problem]:
    """Return what is structurally wrong with a document, and repair its tree for the rules."""
    if document.root is None:
        return []
    return _Walker(document, schema).run()


class _Walker(Walk):
    """A walk that works out what was meant, and repairs the tree accordingly."""

    def __init__(self, document: Document, schema: Schema) -> None:
        super().__init__(schema)
        self.document = document
        self.places: Places | None = None
        self.problems: list[Problem] = []
        self.twice: dict[int, list[Node]] = {}  # what stood under the same key, by the last one
        for problem in document.problems:
            if problem.kind == "duplicate-key":
                first, last = problem.facts["nodes"]
                self.twice[id(last)] = [*self.twice.get(id(first), ()), first]

    def run(self) -> list[Problem]:
        root = self.document.root
        assert root is not None
        self.walk(root, self.root, ())
        self._settle_unknown()
        self._settle_swapped()
        self._forget_inside()
        for issue in self.issues:
            self._reject(issue)
            self._report(issue)
        return sorted(self.problems, key=lambda problem: problem.span)

    def _forget_inside(self) -> None:
        """Drop what reading said of the keys in a collection that has no place here at all."""
        wrong = [one.span for one in self.issues if one.kind == "wrong-type"]
        self.document.problems = [
            one
            for one in self.document.problems
            if one.kind not in ("collection-key", "key-not-text", "duplicate-key")
            or not any(span.start <= one.span.start < span.end for span in wrong)
        ]

    def walk(self, node: Node, schema: Schema, steps: Steps) -> None:
        """Of a key that is there twice, look into both sections; what they lack, nobody knows."""
        others = self.twice.get(id(node))
        if others is None:
            super().walk(node, schema, steps)
            return
        for copy in (*others, node):
            if isinstance(copy.value, dict):
                before = len(self.issues)
                super().walk(copy, schema, steps)
                kept = [one for one in self.issues[before:] if one.kind != "missing-key"]
                self.issues[before:] = kept
            copy.rejected = True

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
        if isinstance(steps[-1], int):
            return True
        schema = self._places().schema_at(steps[:-1]) or {}
        choices = [key for choice in schema.get("anyOf", ()) for key in choice.get("required", ())]
        return steps[-1] in (*schema.get("required", ()), *choices)

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
                if key not in variant["properties"] and not entry.refused:
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
        meant = nearest(chosen.value, allowed) if isinstance(chosen.value, str) else None
        if meant is None:
            node.rejected = True  # nobody has looked inside
        else:
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
            else:
                unknown.mapping.partial = True  # who knows what it was meant to be

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
        """Tell two neighbours that would be right in each other's place as one mistake."""
        wrong = [
            issue
            for issue in self.issues
            if issue.kind in ("wrong-type", "not-allowed", "pattern", "bounds")
            and issue.node is not None
            and issue.steps
            and isinstance(issue.steps[-1], str)
        ]
        for first, second in pairwise(wrong):
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
