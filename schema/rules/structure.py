"""VG1: are the keys and values those of the format?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from vacc_gen.schema import edits
from vacc_gen.schema.diagnostics import Severity
from vacc_gen.schema.document import Problem, load
from vacc_gen.schema.recovery import MISSING_BLANK
from vacc_gen.schema.rules import rule
from vacc_gen.schema.rules._wording import NAMES, as_written, dotted, in_section, kind_of, plain
from vacc_gen.schema.subject import Finding, Subject
from vacc_gen.schema.suggestions import nearest
from vacc_gen.schema.walk import is_type

_IGNORES = "The compiler ignores keys that it does not know."


@rule(
    "VG101",
    Severity.ERROR,
    "unknown key",
    scope="text",
    problems=("unknown-key",),
    fix="safe",
)
def unknown_key(subject: Subject) -> Iterator[Finding]:
    """A key that the format does not have: misspelled, or from another version or tool.

    The compiler ignores it in silence and runs for hours with the default in its place.

    Bad:
        backend:
          quantize:
            alibrate_mode: percentile
    Good:
        backend:
          quantize:
            calibrate_mode: percentile
    """
    for problem in subject.problems["unknown-key"]:
        suggestion = problem.facts["suggestion"]
        if suggestion is not None and suggestion.moved and suggestion.taken_line is None:
            continue  # VG107
        key, steps = problem.facts["key"], problem.facts["steps"]
        message = f"unknown key `{key}` {in_section(steps)}"
        fix = None
        if suggestion is None:
            known = problem.facts["known"]
            hint = f"known here: {', '.join(known)}." if known else ""
        elif suggestion.taken_line is None:
            hint = f"did you mean `{suggestion.key}`?"
            fix = edits.replace(problem.span, suggestion.key)
        elif suggestion.moved:
            where = in_section(suggestion.section)
            hint = f"`{key}` belongs {where}, where line {suggestion.taken_line} has one already."
        else:
            hint = f"did you mean `{suggestion.key}`? Line {suggestion.taken_line} has one already."
        yield Finding(problem.span, message, f"{hint} {_IGNORES}".strip(), fix)


@rule(
    "VG102",
    Severity.ERROR,
    "missing key",
    scope="text",
    problems=("missing-key",),
    fix="safe",
)
def missing_key(subject: Subject) -> Iterator[Finding]:
    """A key without which there is nothing to compile, or nowhere to put it.

    Bad:
        dataset:
          path: ./images
          sampler:
            suffix: jpg
    Good:
        dataset:
          path: ./images
          sampler:
            suffix: jpg
            get_data_num: 50
    """
    for problem in subject.problems["missing-key"]:
        key, parent = problem.facts["key"], problem.facts["parent"]
        hint, fix = None, None
        if parent == ("backend",) and key == "type":
            hint = "there is only one: `type: tvm_vacc`"
            section = subject.document.node("backend")
            if section is not None:
                fix = edits.insert(subject.document, section, "type: tvm_vacc")
        elif problem.facts.get("likely"):
            hint = f"by its keys it is {' or '.join(problem.facts['likely'])}"
        yield Finding(problem.span, f"`{key}` is missing {in_section(parent)}", hint, fix)


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
    for problem in subject.problems["wrong-type"]:
        expected, value = problem.facts["expected"], problem.facts["value"]
        wanted = " or ".join(NAMES[name] for name in expected)
        hint, fix = _conversion(subject, problem, expected, value)
        got = kind_of(value)
        shown = "" if isinstance(value, (list, dict)) else f" {as_written(value)}"
        where = f"`{dotted(problem.facts['steps'])}`" if problem.facts["steps"] else "the file"
        article = "is" if shown == "" else "is the"
        if isinstance(value, bool):
            got, article = "", "is"
        elif shown:
            got = got.removeprefix("a ")
        yield Finding(
            problem.span,
            f"{where} {article} {got}{shown}".replace("  ", " ") + f", not {wanted}",
            hint,
            fix,
        )


def _conversion(
    subject: Subject, problem: Problem, expected: list[str], value: Any
) -> tuple[str | None, Any]:
    """Return how to write a value of the wrong type rightly, where that can be known."""
    written = subject.document.text[problem.span.start : problem.span.end]
    if isinstance(value, str):
        key = MISSING_BLANK.match(written) if "object" in expected else None
        if key and "\n" not in written:
            text = MISSING_BLANK.sub(r"\1: ", written)
            return "a blank is missing after `:`", edits.replace(problem.span, text)
        meant = load(value)
        if meant.problems or meant.root is None:
            return None, None
        for name in expected:
            if name != "string" and is_type(meant.root.value, name):
                return f"write {value} without quotes", edits.replace(problem.span, value)
        return None, None
    if "string" in expected and not isinstance(value, (dict, list)) and "\n" not in written:
        return f'in quotes it is text: "{written}"', edits.replace(problem.span, f'"{written}"')
    return None, None


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
    for problem in subject.problems["not-allowed"]:
        value, allowed = problem.facts["value"], problem.facts["allowed"]
        where = dotted(problem.facts["steps"])
        words = [option for option in allowed if isinstance(option, str)]
        meant = nearest(value, words) if isinstance(value, str) else None
        one_of = ", ".join(plain(option) for option in allowed)
        listed = f"one of {one_of}" if len(allowed) > 1 else f"it is always {one_of}"
        hint = f"did you mean `{meant}`? ({listed})" if meant else listed
        fix = None
        if meant:
            fix = edits.replace(problem.span, meant, safe=not _another_number(value, meant))
        yield Finding(problem.span, f"unknown value {as_written(value)} for `{where}`", hint, fix)


def _another_number(value: str, meant: str) -> bool:
    """Whether values differ in their digits alone: int4 is a wish, and no slip for int8."""
    (letters, digits), (meant_letters, meant_digits) = (
        (re.sub(r"[\W\d_]", "", text.lower()), sorted(re.findall(r"\d", text)))
        for text in (value, meant)
    )
    return letters == meant_letters and digits != meant_digits


@rule(
    "VG105",
    Severity.ERROR,
    "value out of bounds",
    scope="text",
    problems=("bounds", "length", "empty", "pattern"),
)
def out_of_bounds(subject: Subject) -> Iterator[Finding]:
    """A number is outside its range, a list has the wrong length, a text the wrong form.

    Bad:
        frontend:
          shape:
            input: [1, 3, 0, 224]
    Good:
        frontend:
          shape:
            input: [1, 3, 224, 224]
    """
    for problem in subject.problems.get("bounds", ()):
        facts = problem.facts
        hint = (
            f"the nearest are {' and '.join(map(str, facts['near']))}" if "near" in facts else None
        )
        where = dotted(facts["steps"])
        yield Finding(problem.span, f"`{where}` must {facts['must']}, got {facts['value']}", hint)
    for problem in subject.problems.get("length", ()):
        least, most, length = (problem.facts[name] for name in ("least", "most", "length"))
        wanted = (
            f"{least}"
            if least == most
            else f"at least {least}"
            if length < least
            else f"at most {most}"
        )
        where = dotted(problem.facts["steps"])
        noun = "value" if wanted.endswith(" 1") or wanted == "1" else "values"
        yield Finding(
            problem.span,
            f"`{where}` has {length} values, not {wanted}"
            if least == most
            else f"`{where}` must have {wanted} {noun}, got {length}",
        )
    for problem in subject.problems.get("empty", ()):
        yield Finding(problem.span, f"`{dotted(problem.facts['steps'])}` is empty")
    for problem in subject.problems.get("pattern", ()):
        yield _pattern_finding(problem)


def _pattern_finding(problem: Problem) -> Finding:
    value, examples = problem.facts["value"], problem.facts["examples"]
    meant = nearest(value, examples)
    hint, fix = problem.facts["description"] or None, None
    if meant:
        hint, fix = f"did you mean `{meant}`?", edits.replace(problem.span, meant)
    where = dotted(problem.facts["steps"])
    return Finding(
        problem.span, f"{as_written(value)} is not a form that `{where}` takes", hint, fix
    )


@rule("VG106", Severity.ERROR, "null where a value belongs", scope="text", problems=("null",))
def null_value(subject: Subject) -> Iterator[Finding]:
    """A key without a value, or with `null`: what the compiler makes of it is not known.

    An error where the key is needed; elsewhere a warning.

    Bad:
        dataset:
          sampler:
            suffix: null
    Good:
        dataset:
          sampler:
            suffix: jpg
    """
    for problem in subject.problems["null"]:
        steps = problem.facts["steps"]
        required = problem.facts.get("required", True)
        wanted = " or ".join(NAMES[name] for name in problem.facts["expected"])
        what = "an empty section" if problem.facts.get("section") else "null"
        hint = f"it takes {wanted}" + ("" if required else "; delete the key if it is not needed")
        severity = None if required else Severity.WARNING
        where = f"`{dotted(steps)}`" if steps else "the file"
        yield Finding(problem.span, f"{where} is {what}", hint, None, severity)


@rule(
    "VG107",
    Severity.ERROR,
    "key in the wrong section",
    scope="text",
    problems=("unknown-key", "misplaced-section"),
    fix="safe",
)
def misplaced_key(subject: Subject) -> Iterator[Finding]:
    """A key of the format in a section that does not have it, where the compiler ignores it.

    Bad:
        frontend:
          b2s: true
    Good:
        frontend:
          model_kwargs:
            b2s: true
    """
    for problem in subject.problems.get("unknown-key", ()):
        suggestion = problem.facts["suggestion"]
        if suggestion is None or not suggestion.moved or suggestion.taken_line is not None:
            continue
        key, steps = problem.facts["key"], problem.facts["steps"]
        section = subject.document.node(*suggestion.section)
        fix = edits.move(subject.document, problem.facts["entry"], section) if section else None
        yield Finding(
            problem.span,
            f"`{key}` does not belong {in_section(steps)}",
            f"it belongs {in_section(suggestion.section)}. {_IGNORES}",
            fix,
        )
    for problem in subject.problems.get("misplaced-section", ()):
        steps, belongs = problem.facts["steps"], problem.facts["belongs"]
        yield Finding(
            problem.span,
            f"this `{problem.facts['key']}` does not belong {in_section(steps[:-1])}",
            f"by its keys it belongs in `{belongs}`. {_IGNORES}",
        )


@rule(
    "VG108",
    Severity.ERROR,
    "two values swapped",
    scope="text",
    problems=("swapped",),
    fix="safe",
)
def swapped_values(subject: Subject) -> Iterator[Finding]:
    """Two neighbours are wrong where they stand and right in each other's place.

    Bad:
        dataset:
          sampler:
            suffix: 50
            get_data_num: jpg
    Good:
        dataset:
          sampler:
            suffix: jpg
            get_data_num: 50
    """
    for problem in subject.problems["swapped"]:
        (one, other), (first, second) = problem.facts["keys"], problem.facts["spans"]
        yield Finding(
            problem.span,
            f"the values of `{one}` and `{other}` are swapped",
            f"`{other}` is on line {second.line}",
            edits.swap(subject.document, first, second),
        )
