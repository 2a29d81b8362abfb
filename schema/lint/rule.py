"""The rules, one file a topic. A rule is a function; writing it in one of these files registers it.

A rule's docstring is its page: what it says and why that matters, then an example after `Bad:` and
one after `Good:`. The tests run the examples, `vacc-gen explain` and docs/rules.md print them.
Codes go by topic: VG0 text, VG1 structure, VG2 names, VG3 frontend, VG4 backend, VG5 dataset,
VG6 language models, VG7 vision, VG8 paths, VG9 workspaces and weight folders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from vacc_gen.schema.lint.diagnostics import Severity

Scope = Literal["text", "vamc", "recipe", "group", "weights", "workspace"]
Safety = Literal["none", "safe", "unsafe"]
Check = Callable[[Any], Iterator[Any]]
"""Yields a `Finding`; where several files are looked at, with the file that it is in."""


@dataclass(frozen=True)
class Rule:
    """One rule. `problems` are the kinds of problem that it puts into words, if it does that."""

    code: str
    severity: Severity
    summary: str
    check: Check
    scope: Scope
    problems: tuple[str, ...]
    default: bool
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
        from inspect import getdoc

        return getdoc(self.check) or ""


def rule(
    code: str,
    severity: Severity,
    summary: str,
    *,
    scope: Scope = "vamc",
    problems: tuple[str, ...] = (),
    default: bool = True,
    fix: Safety = "none",
) -> Callable[[Check], Check]:
    """Register a function as a rule.

    Args:
        code: VG and three digits; the first one is the topic.
        severity: unless a finding says otherwise.
        summary: one line, for lists.
        scope: what the function is called with: a `Subject` of a YAML of this kind (`text`: of any
            kind), a `Group` of files, a `WeightFolder`, or a `Workspace`.
        problems: kinds of problem; the function is called only where there is one.
        default: whether the rule runs without being selected.
        fix: whether findings come with a fix, and whether it is safe.
    """

    def register(check: Check) -> Check:
        check.rule = Rule(  # type: ignore[attr-defined]
            code, severity, summary, check, scope, problems, default, fix
        )
        return check

    return register


@lru_cache
def all_rules() -> tuple[Rule, ...]:
    """Return every rule, by code."""
    found: list[Rule] = []
    for file in sorted((Path(__file__).parent / "rules").glob("[a-z]*.py")):
        module = import_module(f"vacc_gen.schema.lint.rules.{file.stem}")
        for member in vars(module).values():
            registered = getattr(member, "rule", None)
            if isinstance(registered, Rule):
                found.append(registered)
    return tuple(sorted(found, key=lambda one: one.code))


@lru_cache
def rules_of(scope: Scope) -> tuple[Rule, ...]:
    """Return the rules of a scope, by code."""
    return tuple(one for one in all_rules() if one.scope == scope)
