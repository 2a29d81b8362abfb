"""VG1: is a value of the kind, or one of the words, that its key takes?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from vacc_gen.schema.lint import fixes as edits
from vacc_gen.schema.lint.diagnostics import Severity
from vacc_gen.schema.lint.document import Problem, load
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.rules._facts import is_huggingface, is_vision
from vacc_gen.schema.lint.rules._wording import NAMES, as_written, dotted, kind_of, plain
from vacc_gen.schema.lint.subject import Finding, Subject
from vacc_gen.schema.lint.walk import is_type

if TYPE_CHECKING:
    from vacc_gen.schema.lint.conversion import Meant


@rule(
    "VG103",
    Severity.ERROR,
    "wrong type",
    scope="text",
    problems=("wrong-type",),
    fix="safe",
)
def wrong_type(subject: Subject) -> Iterator[Finding]:
    """A value is of another kind than its key takes: text for a number, one value for a list.

    Bad:
        backend:
          compile:
            cluster_mode: "0"
    Good:
        backend:
          compile:
            cluster_mode: 0
    """
    told: set[Any] = set()
    for problem in subject.problems["wrong-type"]:
        shape = _shape(problem.facts["steps"])
        if shape in told:
            continue  # one mistake in the brackets makes several values wrong
        finding = _shape_finding(subject, problem) if shape else None
        if finding is None:
            yield _type_finding(subject, problem)
        else:
            told.add(shape)
            yield finding


_IN_BRACKETS = 4
"""Steps to a value of `[[prefill], [total]]`'s outer list; further in, the brackets are right."""


def _shape(steps: Sequence[Any]) -> tuple[Any, ...] | None:
    """Return the path of the input shape that a path is in, or None."""
    return tuple(steps[:3]) if tuple(steps[:2]) == ("frontend", "shape") and steps[2:] else None


def _shape_finding(subject: Subject, problem: Problem) -> Finding | None:
    """Return what is wrong with the brackets of a shape, where that is what is wrong."""
    steps = problem.facts["steps"]
    node = subject.document.node(*steps[:3])
    if node is None:
        return None
    written, values = subject.document.text[node.span.start : node.span.end], node.plain()
    language = is_huggingface(subject) and not is_vision(subject) and steps[2] == "input_ids"
    from vacc_gen.schema.lint.conversion import of_shape

    meant = of_shape(written, values, language)
    if meant is None:
        if not language or isinstance(values, str) or len(steps) > _IN_BRACKETS:
            return None
        wanted = "write [[prefill], [total]], or [[length], []] for an encoder"
        return Finding(problem.span, _type_message(problem), wanted)
    fix = edits.replace(node.span, meant.text) if meant.safe else None
    return Finding(problem.span, _type_message(problem), _hint(meant), fix)


def _hint(meant: Meant) -> str:
    if not meant.safe:
        return f"did you mean `{meant.text}`?"
    return f"write {meant.text}" + (f": {meant.why}" if meant.why else "")


def _type_message(problem: Problem) -> str:
    expected, value = problem.facts["expected"], problem.facts["value"]
    wanted = " or ".join(NAMES[name] for name in expected)
    where = f"`{dotted(problem.facts['steps'])}`" if problem.facts["steps"] else "the file"
    if isinstance(value, (bool, list, dict)):
        is_what = f"is {plain(value) if isinstance(value, bool) else kind_of(value)}"
    else:
        is_what = f"is the {kind_of(value).removeprefix('a ')} {as_written(value)}"
    return f"{where} {is_what}, not {wanted}"


def _type_finding(subject: Subject, problem: Problem) -> Finding:
    expected, value = problem.facts["expected"], problem.facts["value"]
    span, message = problem.span, _type_message(problem)
    if isinstance(value, list):
        if "object" in expected:
            from vacc_gen.schema.lint.rules._conversions import without_dashes

            return Finding(span, message, *without_dashes(subject, value))
        value = [item.plain() for item in value]
    written = subject.document.text[span.start : span.end]
    quoted = load(value) if isinstance(value, str) and written[:1] in "\"'" else None
    if quoted is not None and quoted.root is not None and not quoted.problems:
        for name in expected:
            if name != "string" and is_type(quoted.root.value, name):
                return Finding(
                    span, message, f"write {value} without quotes", edits.replace(span, value)
                )
    from vacc_gen.schema.lint.conversion import of_value

    schema = problem.facts.get("schema") or {}
    steps = problem.facts["steps"]
    meant = of_value(value, expected, schema, bool(steps) and isinstance(steps[-1], int))
    if meant is not None and written in schema.get("enum", ()):
        meant = None  # 3.10, which is 3.1 to YAML
    if meant is not None and "\n" not in written:
        fix = edits.replace(span, meant.text, safe=meant.safe) if meant.safe else None
        return Finding(span, message, _hint(meant), fix)
    allowed = schema.get("enum")
    if allowed and written not in allowed:
        return Finding(span, message, f"one of {', '.join(map(plain, allowed))}")
    if "string" in expected and not isinstance(value, (dict, list)) and "\n" not in written:
        fix = edits.replace(span, f'"{written}"')
        return Finding(span, message, f'in quotes it is text: "{written}"', fix)
    return Finding(span, message)


@rule(
    "VG104",
    Severity.ERROR,
    "value that is not known",
    scope="text",
    problems=("not-allowed",),
    fix="safe",
)
def unknown_value(subject: Subject) -> Iterator[Finding]:
    """A key takes one of a few values, and this is none of them.

    Bad:
        backend:
          dtype: fp61
    Good:
        backend:
          dtype: fp16
    """
    from vacc_gen.schema.lint.conversion import of_word

    for problem in subject.problems["not-allowed"]:
        value, allowed = problem.facts["value"], problem.facts["allowed"]
        where = dotted(problem.facts["steps"])
        words = [option for option in allowed if isinstance(option, str)]
        meant = of_word(value, words) if isinstance(value, str) else None
        one_of = ", ".join(plain(option) for option in allowed)
        listed = f"one of {one_of}" if len(allowed) > 1 else f"it is always {one_of}"
        hint, fix = listed, None
        if meant:
            hint = f"did you mean `{meant.text}`? ({listed})"
            fix = edits.replace(problem.span, meant.text, safe=meant.safe)
        yield Finding(problem.span, f"unknown value {as_written(value)} for `{where}`", hint, fix)
