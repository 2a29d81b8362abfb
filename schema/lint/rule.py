"""What a rule is. A function in one of the files of `rules/` is registered by its decorator.

A rule's docstring is its page: what it says and why that matters, then an example after `Bad:` and
one after `Good:`, each a part of a config or recipe; of several files, the good one shows those
that differ. The tests run the examples, `vacc-gen explain` and docs/reference/rules.md print them.
Codes go by topic: VG0 text, VG1 structure and recipes, VG2 names, VG3 frontend, VG4 backend, VG5
dataset, VG6 language models, VG7 vision, VG9 workspaces and weight folders.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from inspect import getdoc
from pathlib import Path
from typing import Any, Literal, NamedTuple

from vacc_gen.schema.errors import UsageError
from vacc_gen.schema.lint.diagnostics import Severity

Scope = Literal[
    "document", "foreign", "form", "config", "recipe", "configs", "workspace", "weights", "compiled"
]
"""What a rule reads: a `Document` of ours, or of another format; the `Form` of one; a typed
`ConfigFile` or `RecipeFile`; all `ConfigFile`s of a check; a `Workspace`; the `WeightFiles` of a
weight folder, or of a compiled one."""

Safety = Literal["none", "safe", "unsafe"]
Check = Callable[[Any], Iterable[Any]]
"""Yields a `Finding`; where several files are read, with the file that it is in."""


@dataclass(frozen=True)
class Rule:
    """One rule: a function with its code; `scope` is what the function is called with."""

    code: str
    severity: Severity  # unless a finding says otherwise
    summary: str
    check: Check
    scope: Scope
    fix: Safety

    @property
    def name(self) -> str:
        return self.check.__name__.replace("_", "-")


_RULES: list[Rule] = []


def rule(
    code: str, severity: Severity, summary: str, *, scope: Scope = "config", fix: Safety = "none"
) -> Callable[[Check], Check]:
    """Register a function as a rule."""

    def register(check: Check) -> Check:
        _RULES.append(Rule(code, severity, summary, check, scope, fix))
        return check

    return register


@cache
def all_rules() -> tuple[Rule, ...]:
    """Return every rule, by code."""
    for file in (Path(__file__).parent / "rules").glob("[a-z]*.py"):
        import_module(f"vacc_gen.schema.lint.rules.{file.stem}")
    return tuple(sorted(_RULES, key=lambda rule: rule.code))


def codes_in(options: str | Iterable[str], where: str = "") -> tuple[str, ...]:
    """Return codes, given one by one or with commas, or ALL; `where` is for messages.

    Raises:
        UsageError: no rule has such a code, or one that begins so.
    """
    options = [options] if isinstance(options, str) else options
    codes = [code.strip().upper() for option in options for code in option.split(",")]
    codes = ["VG" if code == "ALL" else code for code in codes if code]
    for code in codes:
        if not any(rule.code.startswith(code) for rule in all_rules()):
            raise unknown_code(code, where)
    return tuple(codes)


def unknown_code(code: str, where: str = "") -> UsageError:
    from vacc_gen.schema.lint.suggestions import nearest

    names = [name for rule in all_rules() for name in (rule.code, rule.name)]
    near = nearest(code.upper() if code[-1:].isdigit() else code.lower(), names)
    hint = f"did you mean {near}?" if near else "`vacc-gen explain` lists them all"
    return UsageError(f"no rule is called {code}{where}", hint)


_FIXES = {
    "none": "Findings are not fixed by `--fix`.",
    "safe": "`--fix` puts findings right where it can be known how.",
    "unsafe": "`--fix --unsafe-fixes` puts findings right; that changes what is compiled.",
}


class Page(NamedTuple):
    """A rule's docstring by parts, the examples with their escapes."""

    why: str
    bad: str
    good: str


def page_of(rule: Rule) -> Page:
    why, _, examples = (getdoc(rule.check) or "").partition("\nBad:\n")
    bad, _, good = examples.partition("\nGood:\n")
    return Page(why.strip(), textwrap.dedent(bad).strip("\n"), textwrap.dedent(good).strip("\n"))


def as_page(rule: Rule, level: int = 1) -> str:
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
    row = "{0.code}  {0.name:25}  {0.severity.value:7}  {0.summary}\n".format
    return "".join(map(row, rules))
