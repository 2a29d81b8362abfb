"""Rules as pages: for `vacc-gen explain` and docs/rules.md."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from typing import NamedTuple

from vacc_gen.schema.lint.rule import Rule

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
_FIXES = {
    "none": "Findings are not fixed by `--fix`.",
    "safe": "`--fix` puts findings right where it can be known how.",
    "unsafe": "`--fix --unsafe-fixes` puts findings right; that changes what is compiled.",
}


_HEAD = """\
# Rules

<!-- Made by `python -m vacc_gen.schema.lint.pages`; a test says when to run it again. -->

What `vacc-gen validate` finds. `vacc-gen explain CODE` prints one of these pages. A finding is
silenced by a comment on its line, `# vacc-gen: ignore[CODE]`, by `--ignore CODE`, or in
pyproject.toml:

```toml
[tool.vacc-gen]
ignore = ["VG602"]
```
"""


class Page(NamedTuple):
    """A rule's docstring by parts. The examples have their escapes resolved."""

    why: str
    bad: str
    good: str


def page_of(rule: Rule) -> Page:
    """Return a rule's docstring by parts."""
    why, _, examples = rule.page.partition("\nBad:\n")
    bad, _, good = examples.partition("\nGood:\n")
    return Page(why.strip(), textwrap.dedent(bad).strip("\n"), textwrap.dedent(good).strip("\n"))


def unescaped(example: str) -> str:
    r"""Return an example as a file: `\t`, `\r`, `\x20`, `\x00`, `\ufeff` stand for themselves.

    `\c` at the end stands for no final newline.
    """
    text = re.sub(
        r"\\(t|r|x[0-9a-f]{2}|u[0-9a-f]{4})",
        lambda found: found.group().encode("ascii").decode("unicode_escape"),
        example,
    )
    return text[:-2] if text.endswith("\\c") else text + "\n"


def as_page(rule: Rule, level: int = 1) -> str:
    """Return a rule's page as Markdown."""
    page = page_of(rule)
    return (
        f"{'#' * level} {rule.code} {rule.name}\n\n"
        f"{rule.summary[0].upper()}{rule.summary[1:]} ({rule.severity.value}).\n\n"
        f"{page.why}\n\n"
        f"```yaml\n# bad\n{page.bad}\n```\n\n"
        f"```yaml\n# good\n{page.good}\n```\n\n"
        f"{_FIXES[rule.fix]}\n"
    )


def as_table(rules: Iterable[Rule]) -> str:
    """Return one line for each rule."""
    return "".join(f"{rule.code}  {rule.severity.value:7}  {rule.summary}\n" for rule in rules)


def as_document(rules: Iterable[Rule]) -> str:
    """Return docs/rules.md."""
    parts = [_HEAD]
    topic = ""
    for rule in rules:
        if rule.code[:3] != topic:
            topic = rule.code[:3]
            parts.append(f"## {TOPICS[topic]}\n")
        parts.append(as_page(rule, level=3))
    return "\n".join(parts)


def main() -> None:
    """Write docs/rules.md of the checkout that this runs in."""
    from pathlib import Path

    from vacc_gen.schema.lint.rule import all_rules

    Path("docs/rules.md").write_text(as_document(all_rules()), encoding="utf-8")


if __name__ == "__main__":
    main()
