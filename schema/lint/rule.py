"""What a rule is. A function in one of the files of `rules/` is registered by its decorator.

A rule's docstring is its page: what it says and why that matters, then an example after `Bad:` and
one after `Good:`. The tests run the examples, `vacc-gen explain` and docs/rules.md print them.
Codes go by topic: VG0 text, VG1 structure and recipes, VG2 names, VG3 frontend, VG4 backend, VG5
dataset, VG6 language models, VG7 vision, VG9 workspaces and weight folders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from inspect import getdoc
from pathlib import Path
from typing import Any, Literal

from vacc_gen.schema.lint.diagnostics import Severity

Scope = Literal[
    "document", "foreign", "form", "config", "recipe", "configs", "workspace", "weights"
]
"""What a rule reads: a `Document` of ours, or of another format; the `Form` of one; a typed
`ConfigFile` or `RecipeFile`; all `ConfigFile`s of a check; a `Workspace`; the `WeightFiles` of a
folder."""

Safety = Literal["none", "safe", "unsafe"]
Check = Callable[[Any], Iterator[Any]]
"""Yields a `Finding`; where several files are read, with the file that it is in."""


@dataclass(frozen=True)
class Rule:
    """One rule."""

    code: str
    severity: Severity
    summary: str
    check: Check
    scope: Scope
    fix: Safety

    @property
    def topic(self) -> str:
        """The file that the rule stands in."""
        return self.check.__module__.rsplit(".", 1)[1]

    @property
    def name(self) -> str:
        """The function's name in words."""
        return self.check.__name__.replace("_", "-")

    @property
    def page(self) -> str:
        """The docstring, without indentation."""
        return getdoc(self.check) or ""


def rule(
    code: str, severity: Severity, summary: str, *, scope: Scope = "config", fix: Safety = "none"
) -> Callable[[Check], Check]:
    """Register a function as a rule.

    Args:
        code: VG and three digits; the first one is the topic.
        severity: unless a finding says otherwise.
        summary: one line, for lists.
        scope: what the function is called with.
        fix: whether findings may come with a fix, and whether it is safe.
    """

    def register(check: Check) -> Check:
        check.rule = Rule(code, severity, summary, check, scope, fix)  # type: ignore[attr-defined]
        return check

    return register


@cache
def all_rules() -> tuple[Rule, ...]:
    """Return every rule, by code."""
    found: list[Rule] = []
    for file in sorted((Path(__file__).parent / "rules").glob("[a-z]*.py")):
        module = import_module(f"vacc_gen.schema.lint.rules.{file.stem}")
        members = (getattr(member, "rule", None) for member in vars(module).values())
        found += [member for member in members if isinstance(member, Rule)]
    return tuple(sorted(found, key=lambda rule: rule.code))


@cache
def rules_of(scope: Scope) -> tuple[Rule, ...]:
    """Return the rules of a scope, by code."""
    return tuple(rule for rule in all_rules() if rule.scope == scope)
