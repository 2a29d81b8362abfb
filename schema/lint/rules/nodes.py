"""VG0: do all readers of YAML make the same keys and values of this?"""

from __future__ import annotations

from collections.abc import Iterator

from vacc_gen.schema.lint.diagnostics import Severity
from vacc_gen.schema.lint.fixes import replace
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.subject import Finding, Subject

_TWO_FILES = 3
"""So many sections of one file that stand twice were not copied one by one."""


@rule("VG006", Severity.ERROR, "duplicate key", scope="text", problems=("duplicate-key",))
def duplicate_key(subject: Subject) -> Iterator[Finding]:
    """A key stands twice in one mapping; the last value wins in silence.

    Bad:
        backend:
          dtype: fp16
          dtype: int8
    Good:
        backend:
          dtype: int8
    """
    sections = [one for one in subject.problems["duplicate-key"] if one.span.column == 1]
    twice = len(sections) >= _TWO_FILES
    if twice:
        first, line = sections[0], sections[0].facts["first_line"]
        yield Finding(
            first.span,
            f"`{first.facts['key']}` and {len(sections) - 1} other sections stand twice",
            f"first from line {line} on; are these two files in one?",
        )
    for problem in subject.problems["duplicate-key"]:
        if twice and problem in sections:
            continue
        key, line = problem.facts["key"], problem.facts["first_line"]
        yield Finding(
            problem.span, f"duplicate key `{key}`", f"first on line {line}; delete one of the two"
        )


@rule("VG007", Severity.ERROR, "tag", scope="text", problems=("tag",))
def tag(subject: Subject) -> Iterator[Finding]:
    """A tag asks the reader to build an object; with an unsafe reader that runs code.

    No config needs one.

    Bad:
        name: !!python/object/apply:os.system [ls]
    Good:
        name: x
    """
    for problem in subject.problems["tag"]:
        yield Finding(
            problem.span, f"the tag `{problem.facts['tag']}` is refused", "write a plain value"
        )


@rule(
    "VG008",
    Severity.ERROR,
    "key that is not text",
    scope="text",
    problems=("key-not-text", "collection-key"),
    fix="safe",
)
def key_not_text(subject: Subject) -> Iterator[Finding]:
    """A key is a number, a date or a truth value to YAML, or a list: nobody looks for such a one.

    YAML 1.1 reads a plain `no`, `yes`, `on` and `off` as true or false.

    Bad:
        no: 1
    Good:
        "no": 1
    """
    for problem in subject.problems.get("key-not-text", ()):
        written, value = problem.facts["written"], problem.facts["value"]
        yield Finding(
            problem.span,
            f"YAML reads the key `{written}` as {_kind(value)}, not as text",
            f'write "{written}"',
            replace(problem.span, f'"{written}"'),
        )
    for problem in subject.problems.get("collection-key", ()):
        yield Finding(problem.span, "a list or a mapping as a key", "a key is a word")


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    return "a number" if isinstance(value, (int, float)) else "a date"


@rule(
    "VG009",
    Severity.ERROR,
    "alias or merge that leads nowhere",
    scope="text",
    problems=("recursive-alias", "undefined-alias", "bad-merge"),
)
def bad_alias(subject: Subject) -> Iterator[Finding]:
    """An alias names no anchor, or one that it is itself part of; or `<<` merges no mapping.

    Bad:
        name: *missing
    Good:
        name: x
    """
    for problem in subject.problems.get("undefined-alias", ()):
        yield Finding(
            problem.span, f"the alias `*{problem.facts['anchor']}` has no anchor above it"
        )
    for problem in subject.problems.get("recursive-alias", ()):
        yield Finding(problem.span, f"the alias `*{problem.facts['anchor']}` contains itself")
    for problem in subject.problems.get("bad-merge", ()):
        yield Finding(problem.span, "`<<` merges a mapping or a list of mappings, nothing else")


@rule("VG010", Severity.ERROR, "impossible value", scope="text", problems=("bad-scalar",))
def impossible_value(subject: Subject) -> Iterator[Finding]:
    """A plain value looks like a number or a date, and is none: readers of YAML fail on it.

    Bad:
        name: 2024-13-45
    Good:
        name: "2024-13-45"
    """
    for problem in subject.problems["bad-scalar"]:
        text, kind = problem.facts["text"], problem.facts["tag"].strip("!")
        shown = text if len(text) <= 40 else text[:37] + "..."
        article = "an" if kind == "int" else "a"
        why = f"looks like {article} {kind} and is none"
        if problem.facts["too_large"]:
            why = "is a number too large for any config"
        yield Finding(problem.span, f"`{shown}` {why}", "put it in quotes if it is text")
