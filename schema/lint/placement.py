"""Where a key belongs: all places that a schema knows, and which of them was meant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from vacc_gen.schema.lint.document import Document, Node
from vacc_gen.schema.lint.suggestions import ranked
from vacc_gen.schema.lint.walk import Schema, Steps, UnknownKey, fits


class Variant(NamedTuple):
    """A step to the mappings whose `key` says `value`: ops of a list, or the mapping itself."""

    key: str
    value: str
    implied: bool  # where the key is absent


class Place(NamedTuple):
    """A key that the schema knows; `steps` leads to its section."""

    steps: tuple[str | Variant, ...]
    key: str
    schema: Schema
    required: bool


class Suggestion(NamedTuple):
    """What an unknown key was meant to be: `key` in the section at `section`."""

    key: str
    section: Steps
    schema: Schema | None
    moved: bool  # into another section; else renamed
    taken_line: int | None = None  # where that key already stands


class _Known(NamedTuple):
    """What was collected of a schema, and the schema itself, so that its identity stays its own."""

    root: Schema
    by_key: dict[str, list[Place]]
    free: list[tuple[tuple[str | Variant, ...], Schema]]


_KNOWN: dict[int, _Known] = {}
"""By the identity of the schema: collecting takes longer than checking a file."""


class Places:
    """Every key of a schema, by name."""

    def __init__(self, document: Document, root: Schema) -> None:
        self.document = document
        self.root = root
        known = _KNOWN.get(id(root))
        if known is None:
            self.by_key: dict[str, list[Place]] = {}
            self.free: list[tuple[tuple[str | Variant, ...], Schema]] = []
            for place in self._collect(root, ()):
                self.by_key.setdefault(place.key, []).append(place)
            known = _KNOWN[id(root)] = _Known(root, self.by_key, self.free)
        self.by_key, self.free = known.by_key, known.free

    def resolve(self, schema: Schema) -> Schema:
        """Follow references."""
        while "$ref" in schema:
            schema = self.root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
        return schema

    def knows(self, key: str) -> bool:
        """Whether any section has a key of this name."""
        return key in self.by_key

    def _collect(self, schema: Schema, steps: tuple[Any, ...]) -> Iterator[Place]:
        schema = self.resolve(schema)
        for option in schema.get("anyOf", ()):
            if "required" not in option:
                yield from self._collect(option, steps)
        if "discriminator" in schema:
            name = schema["discriminator"]["propertyName"]
            for value, ref in schema["discriminator"]["mapping"].items():
                variant = Variant(name, value, ref == schema.get("x-default"))
                yield from self._collect({"$ref": ref}, (*steps, variant))
        if isinstance(schema.get("items"), dict):
            yield from self._collect(schema["items"], steps)
        if isinstance(schema.get("additionalProperties"), dict):
            self.free.append((steps, schema["additionalProperties"]))
        required = list(schema.get("required", ()))
        required += [
            key for choice in schema.get("anyOf", ()) for key in choice.get("required", ())
        ]
        for key, child in schema.get("properties", {}).items():
            yield Place(steps, key, child, key in required)
            yield from self._collect(child, (*steps, key))

    def sections(self, steps: tuple[Any, ...]) -> Iterator[tuple[Steps, Node]]:
        """Yield the mappings of the document that a place's steps lead to."""
        reached: list[tuple[Steps, Node]] = []
        if self.document.root is not None:
            reached.append(((), self.document.root))
        for step in steps:
            following: list[tuple[Steps, Node]] = []
            for path, node in reached:
                if isinstance(step, Variant):
                    candidates = [(path, node)]
                    if isinstance(node.value, list):
                        candidates = [((*path, at), item) for at, item in enumerate(node.value)]
                    following += [one for one in candidates if _is_variant(one[1], step)]
                elif isinstance(node.value, dict) and step in node.value:
                    following.append(((*path, step), node.value[step].node))
            reached = following
        yield from reached

    def schema_at(self, steps: Steps) -> Schema | None:
        """Return the schema of the section at a path of the document."""
        schema, node = self.resolve(self.root), self.document.root
        for step in steps:
            if node is None:
                return None
            if isinstance(step, int):
                if not isinstance(node.value, list) or step >= len(node.value):
                    return None
                node = node.value[step]
                schema = self._chosen(self.resolve(schema.get("items", {})), node)
            else:
                child = schema.get("properties", {}).get(step) or schema.get("additionalProperties")
                if not isinstance(child, dict) or not isinstance(node.value, dict):
                    return None
                entry = node.value.get(step)
                node = entry.node if entry else None
                schema = self._chosen(self._whole(child), node)
        return schema

    def _whole(self, schema: Schema) -> Schema:
        schema = self.resolve(schema)
        for option in schema.get("anyOf", ()):
            if self.resolve(option).get("type") == "object":
                return self.resolve(option)
        return schema

    def _chosen(self, schema: Schema, node: Node | None) -> Schema:
        """Return the variant that a mapping says that it is; other schemas as they are."""
        if "discriminator" not in schema or node is None or not isinstance(node.value, dict):
            return schema
        chosen = node.value.get(schema["discriminator"]["propertyName"])
        said = chosen.node.value if chosen else None
        refs = schema["discriminator"]["mapping"]
        ref = refs.get(said) if isinstance(said, str) else schema.get("x-default")
        return self.resolve({"$ref": ref}) if ref else {}

    def section_like(self, name: str, node: Node, steps: Steps) -> str | None:
        """Return where a section of this name would fit with all its keys, if not at `steps`."""
        for place in self.by_key.get(name, ()):
            schema = self._whole(place.schema)
            properties = schema.get("properties")
            if properties and all(key in properties for key in node.value):
                where = tuple(step for step in (*place.steps, name) if isinstance(step, str))
                if where != steps:
                    return ".".join(where[:-1]) or "the top level"
        return None


def _is_variant(node: Node, variant: Variant) -> bool:
    if not isinstance(node.value, dict):
        return node.value is None and variant.implied
    chosen = node.value.get(variant.key)
    return chosen.node.value == variant.value if chosen else variant.implied


def suggest(unknown: UnknownKey, places: Places, missing: set[Steps]) -> Suggestion | None:
    """Return what an unknown key was most likely meant to be."""
    options = [
        *_renamings(unknown, places),
        *_movings(unknown, places, missing),
        *_free_movings(unknown, places),
    ] or [*_fillings(unknown, places, missing)]
    return min(options, key=lambda option: option[0])[1] if options else None


def _renamings(unknown: UnknownKey, places: Places) -> Iterator[tuple[tuple[int, ...], Suggestion]]:
    """Yield known keys of the same section, with how unlikely each is."""
    properties: dict[str, Schema] = unknown.schema["properties"]
    present = unknown.mapping.value
    for edits, key in ranked(unknown.key, properties):
        taken = present[key].key_span.line if key in present else None
        ill = not fits(unknown.entry.node, properties[key], places.root)
        likeliness = (0 if edits < 2 and not ill else 2 + edits) + (4 if taken else 0)
        yield (
            (likeliness, edits, ill, len(key)),
            Suggestion(key, unknown.steps, properties[key], False, taken),
        )
    for key, schema in properties.items():
        if schema.get("const", unknown) == unknown.entry.node.value and key not in present:
            yield (0, 0), Suggestion(key, unknown.steps, schema, False)
        aliases = places.resolve(schema).get("x-aliases", []) + schema.get("x-aliases", [])
        if unknown.key.lower() in aliases and key not in present:
            ill = not fits(unknown.entry.node, schema, places.root)
            yield (4 if ill else 1, 0), Suggestion(key, unknown.steps, schema, False)


def _fillings(
    unknown: UnknownKey, places: Places, missing: set[Steps]
) -> Iterator[tuple[tuple[int, ...], Suggestion]]:
    """Yield the keys that the section lacks and that take the value; the last resort."""
    for key, schema in unknown.schema["properties"].items():
        if (*unknown.steps, key) in missing and fits(unknown.entry.node, schema, places.root):
            yield (0,), Suggestion(key, unknown.steps, schema, False)


def _movings(
    unknown: UnknownKey, places: Places, missing: set[Steps]
) -> Iterator[tuple[tuple[int, ...], Suggestion]]:
    """Yield sections elsewhere that have a key of this name."""
    for place in places.by_key.get(unknown.key, ()):
        ill = not fits(unknown.entry.node, place.schema, places.root)
        found = False
        for section, node in places.sections(place.steps):
            if section == unknown.steps or not (node.value is None or isinstance(node.value, dict)):
                continue
            found = True
            entry = node.value.get(unknown.key) if node.value else None
            absent = 0 if (*section, unknown.key) in missing else 1
            common = sum(1 for a, b in zip(section, unknown.steps, strict=False) if a == b)
            apart = len(section) + len(unknown.steps) - 2 * common
            yield (
                (1 + 2 * ill + (4 if entry else 0), absent, apart),
                Suggestion(
                    unknown.key,
                    section,
                    place.schema,
                    True,
                    entry.key_span.line if entry else None,
                ),
            )
        if not found:
            steps = tuple(step for step in place.steps if isinstance(step, str))
            if steps != unknown.steps:
                yield (2 + 2 * ill, 2, len(steps)), Suggestion(unknown.key, steps, None, True)


def _free_movings(
    unknown: UnknownKey, places: Places
) -> Iterator[tuple[tuple[int, ...], Suggestion]]:
    """Yield mappings with free keys, such as `shape`, below the same section or above it."""
    for steps, schema in places.free:
        if not fits(unknown.entry.node, schema, places.root):
            continue
        for section, _ in places.sections(steps):
            if section != unknown.steps and section[:-1] == unknown.steps[: len(section) - 1]:
                yield (5, 0), Suggestion(unknown.key, section, schema, True)
