"""VG1: are the keys and values those of the format?"""

from __future__ import annotations

from collections.abc import Iterator

from vacc_gen.schema.lint import fixes as edits
from vacc_gen.schema.lint.diagnostics import Edit, Fix, Severity
from vacc_gen.schema.lint.document import Problem
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.rules._wording import NAMES, as_written, dotted, in_section
from vacc_gen.schema.lint.subject import Finding, Subject
from vacc_gen.schema.lint.suggestions import nearest


def _consequence(subject: Subject) -> str:
    """What comes of a key that nobody reads; a recipe with such a key is refused as a whole."""
    if subject.kind == "recipe":
        return ""
    return "The compiler ignores keys that it does not know."


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
        yield Finding(problem.span, message, f"{hint} {_consequence(subject)}".strip(), fix)


@rule(
    "VG102",
    Severity.ERROR,
    "missing key",
    scope="text",
    problems=("missing-key", "layout"),
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
    for problem in subject.problems.get("layout", ()):
        cause, right = problem.facts["cause"], problem.facts["right"]
        if cause == "commented":
            yield Finding(
                problem.span,
                f"`{right.split(':')[0].removeprefix('- ')}` is missing: it is commented out",
                f"write `{right}` without the `#`, or comment out what belongs to it, too",
            )
        elif cause == "header":
            yield Finding(
                problem.span,
                f"`{right[:-1]}` is missing, to which this belongs",
                f"write `{right}` above this line",
            )
    for problem in subject.problems.get("missing-key", ()):
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
    problems=("unknown-key", "misplaced-section", "layout"),
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
    for problem in subject.problems.get("layout", ()):
        if problem.facts["cause"] in ("indentation", "body"):
            yield _misindented(problem)
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
            f"it belongs {in_section(suggestion.section)}. {_consequence(subject)}".strip(),
            fix,
        )
    for problem in subject.problems.get("misplaced-section", ()):
        steps, belongs = problem.facts["steps"], problem.facts["belongs"]
        yield Finding(
            problem.span,
            f"this `{problem.facts['key']}` does not belong {in_section(steps[:-1])}",
            f"by its keys it belongs in `{belongs}`. {_consequence(subject)}".strip(),
        )


def _misindented(problem: Problem) -> Finding:
    facts = problem.facts
    fix = Fix(tuple(Edit(*edit) for edit in facts["edits"])) if facts["edits"] else None
    key = facts["right"].split(":")[0].removeprefix("- ")
    if facts["cause"] == "body":
        last = facts["end_line"]
        return Finding(
            problem.span,
            f"what belongs in this section is not indented further, up to line {last}",
            f"indent it by {facts['indent']} blanks",
            fix,
        )
    blanks = "blank" if facts["indent"] == 1 else "blanks"
    return Finding(
        problem.span,
        f"`{key}` is indented wrongly, and so in the wrong section",
        f"indent it by {facts['indent']} {blanks}",
        fix,
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
