"""Where a key belongs: all places that a schema knows, and which of them was meant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from vacc_gen.schema.document import Document, Node

if TYPE_CHECKING:
    from vacc_gen.schema.structure import Schema, Steps, UnknownKey


class Place(NamedTuple):
    """A key that the schema knows. `steps` leads to its section; a variant stands as (name,)."""

    steps: tuple[str | tuple[str, str], ...]
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


class Places:
    """Every key of a schema, by name."""

    def __init__(self, document: Document, root: Schema) -> None:
        self.document = document
        self.root = root
        self.by_key: dict[str, list[Place]] = {}
        self.free: list[tuple[tuple[str | tuple[str, str], ...], Schema]] = []
        for place in self._collect(root, ()):
            self.by_key.setdefault(place.key, []).append(place)

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
            for variant, ref in schema["discriminator"]["mapping"].items():
                yield from self._collect({"$ref": ref}, (*steps, (name, variant)))
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
                if isinstance(step, tuple):
                    items = node.value if isinstance(node.value, list) else []
                    following += [
                        ((*path, index), item)
                        for index, item in enumerate(items)
                        if isinstance(item.value, dict)
                        and step[0] in item.value
                        and item.value[step[0]].node.value == step[1]
                    ]
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
                schema = self._item_schema(schema, node)
            else:
                child = schema.get("properties", {}).get(step) or schema.get("additionalProperties")
                if not isinstance(child, dict) or not isinstance(node.value, dict):
                    return None
                schema = self._whole(child)
                entry = node.value.get(step)
                node = entry.node if entry else None
        return schema

    def _whole(self, schema: Schema) -> Schema:
        schema = self.resolve(schema)
        for option in schema.get("anyOf", ()):
            if self.resolve(option).get("type") == "object":
                return self.resolve(option)
        return schema

    def _item_schema(self, schema: Schema, node: Node) -> Schema:
        items = self.resolve(schema.get("items", {}))
        if "discriminator" in items and isinstance(node.value, dict):
            chosen = node.value.get(items["discriminator"]["propertyName"])
            ref = items["discriminator"]["mapping"].get(chosen.node.value if chosen else None)
            return self.resolve({"$ref": ref}) if ref else {}
        return items

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


def suggest(unknown: UnknownKey, places: Places, missing: set[Steps]) -> Suggestion | None:
    """Return what an unknown key was most likely meant to be."""
    options = [
        *_renamings(unknown, places),
        *_movings(unknown, places, missing),
        *_free_movings(unknown, places),
    ]
    return min(options, key=lambda option: option[0])[1] if options else None


def _renamings(unknown: UnknownKey, places: Places) -> Iterator[tuple[tuple[int, ...], Suggestion]]:
    """Yield known keys of the same section, with how unlikely each is."""
    from vacc_gen.schema.structure import fits
    from vacc_gen.schema.suggestions import ranked

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
        aliases = places.resolve(schema).get("x-aliases", []) + schema.get("x-aliases", [])
        if unknown.key.lower() in aliases and key not in present:
            ill = not fits(unknown.entry.node, schema, places.root)
            yield (4 if ill else 1, 0), Suggestion(key, unknown.steps, schema, False)


def _movings(
    unknown: UnknownKey, places: Places, missing: set[Steps]
) -> Iterator[tuple[tuple[int, ...], Suggestion]]:
    """Yield sections elsewhere that have a key of this name."""
    from vacc_gen.schema.structure import fits

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
            steps = tuple(step if isinstance(step, str) else step[1] for step in place.steps)
            if steps != unknown.steps:
                yield (2 + 2 * ill, 2, len(steps)), Suggestion(unknown.key, steps, None, True)


def _free_movings(
    unknown: UnknownKey, places: Places
) -> Iterator[tuple[tuple[int, ...], Suggestion]]:
    """Yield mappings with free keys, such as `shape`, below the same section or above it."""
    from vacc_gen.schema.structure import fits

    for steps, schema in places.free:
        if not fits(unknown.entry.node, schema, places.root):
            continue
        for section, _ in places.sections(steps):
            if section != unknown.steps and section[:-1] == unknown.steps[: len(section) - 1]:
                yield (5, 0), Suggestion(unknown.key, section, schema, True)
