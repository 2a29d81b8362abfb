"""The pages about our two file formats and about the rules, as `make docs` writes them."""

from __future__ import annotations

from collections.abc import Iterable
from inspect import getdoc
from itertools import groupby
from pathlib import Path
from typing import Any

from vacc_gen.schema.json_schema import FOLDER, MODELS, TITLES, as_text
from vacc_gen.schema.lint.completion import written
from vacc_gen.schema.lint.diagnostics import dotted
from vacc_gen.schema.lint.rule import Rule, all_rules
from vacc_gen.schema.lint.rule import as_page as page_of_rule
from vacc_gen.schema.lint.suggestions import sections

PAGES = {"recipe": Path("docs/reference/recipe.md"), "vamc": Path("docs/reference/compile-yaml.md")}
_HEAD = "| key | value | default | meaning |\n| --- | --- | --- | --- |\n"
_ESCAPED = str.maketrans({"|": "&#124;", "<": "&lt;", "\n": " "})
_LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "multipleOf": "a multiple of {}",
}
TOPICS = {
    "VG0": "Text",
    "VG1": "Structure",
    "VG2": "Names",
    "VG3": "Frontend",
    "VG4": "Backend",
    "VG5": "Dataset",
    "VG6": "Language models",
    "VG7": "Vision",
    "VG9": "Workspaces and weight folders",
}
_RULES = """\
# Rules

<!-- Made by `make docs`; a test says when to run it again. -->

What `vacc-gen validate` finds. `vacc-gen explain CODE` prints one of these pages. A finding is
silenced by a comment on its line, `# vacc-gen: ignore[CODE]`, by `--ignore CODE`, or in
pyproject.toml:

```toml
[tool.vacc-gen]
ignore = ["VG603"]
```
"""


def as_page(name: str) -> str:
    """Return the page about the format called `name`: recipe or vamc."""
    whole = MODELS[name].model_json_schema()
    schemas = whole.pop("$defs") | {MODELS[name].__name__: whole}
    parts = [f"# {TITLES[name]}\n", "<!-- Made by `make docs`; a test says when. -->\n"]
    for steps, models in sections(MODELS[name]).items():
        anchor = dotted(steps).replace(".", "").replace("*", "")
        parts += [f"## {dotted(steps)}\n"] if steps else []
        for model in models:
            parts += [f"### {model.__name__}\n"] if len(models) > 1 else []
            parts.append(f"{getdoc(model)}\n\n{_table(schemas[model.__name__], schemas, anchor)}")
    return "\n".join(parts)


def _table(schema: dict[str, Any], schemas: dict[str, Any], anchor: str) -> str:
    rows = _HEAD
    for key, field in schema["properties"].items():
        value = _value(field, schemas).replace("section", f"[section](#{anchor}{key})")
        default = "" if field.get("default") is None else f"`{written(field['default'])}`"
        default = "required" if key in schema.get("required", ()) else default
        meaning = "deprecated: " if field.get("deprecated") else ""
        meaning += field.get("description", "").translate(_ESCAPED)
        rows += f"| `{key}` | {value} | {default} | {meaning} |\n"
    return rows


def _value(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    """Return in words what may be written."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    if "properties" in schema:
        return "section"
    if options := schema.get("anyOf") or schema.get("oneOf"):
        written_as = dict.fromkeys(_value(option, schemas) for option in options)
        return " or ".join(written_as).removesuffix(" or null")
    if schema.get("type") == "array":
        return f"list of {_value(schema.get('items', {}), schemas)}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"mapping to {_value(schema['additionalProperties'], schemas)}"
    if values := [schema["const"]] if "const" in schema else schema.get("enum"):
        return ", ".join(f"`{written(value)}`" for value in values)
    limits = [limit.format(schema[key]) for key, limit in _LIMITS.items() if key in schema]
    words = [schema.get("type", "anything"), *limits]
    words += [f"such as {', '.join(map(str, schema['examples']))}"] if "examples" in schema else []
    return ", ".join(words)


def rules_page(rules: Iterable[Rule]) -> str:
    """Return the page about the rules, by their topics."""
    parts = [_RULES]
    for topic, group in groupby(rules, lambda rule: TOPICS[rule.code[:3]]):
        parts += [f"## {topic}\n", *(page_of_rule(rule, level=3) for rule in group)]
    return "\n".join(parts)


def main() -> None:
    """Write the pages and the packaged JSON Schemas of the checkout that this runs in."""
    for name, page in PAGES.items():
        page.write_text(as_page(name), encoding="utf-8")
        (FOLDER / f"{name}.schema.json").write_text(as_text(name), encoding="utf-8")
    Path("docs/reference/rules.md").write_text(rules_page(all_rules()), encoding="utf-8")


if __name__ == "__main__":
    main()
