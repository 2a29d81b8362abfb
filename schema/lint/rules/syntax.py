"""VG0: is this YAML, and the YAML that was meant?"""

from __future__ import annotations

from collections.abc import Iterator

from vacc_gen.schema.lint.diagnostics import Edit, Fix, Severity
from vacc_gen.schema.lint.document import Problem
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.rules._wording import dotted
from vacc_gen.schema.lint.subject import Finding, Subject

_CAUSES = {
    "indentation": "the indentation does not match the lines around it",
    "colon": "a `:` is missing after the key",
    "closing": "a bracket or a quote is not closed",
    "quotes": "a value with such characters needs quotes",
    "two-keys": "a key begins on a line of its own",
    "blank-after-colon": "a blank is missing after `:`",
    "blank-after-dash": "a blank is missing after `-`",
    "dash": "a `-` is missing, or is another kind of dash",
    "sign": "a `{slip}` before the line, as in a patch",
    "semicolon": "a `;` in place of a `:`",
    "comma": "a `{slip}` behind the value, which is read as a part of it",
    "comment": "a comment needs a blank and a `#` before it",
    "quote": "a quote is closed that was not opened",
    "bracket": "a list stands in `[` and `]`",
    "equals": "a `{slip}` in place of a `:`",
    "conflict": "a merge has left a conflict here",
    "fence": "a fence of Markdown is no YAML",
    "numbered": "line numbers stand before the lines, as in a listing",
    "number": "a line number stands before the line, as in a listing",
    "prose": "this line is no YAML, and no comment without a `#`",
    "flat": "nothing is indented, so every section is empty",
    "quoted": "a `{slip}` stands before every line, as in a quotation",
    "patch": "this is a patch: `+`, `-` or a blank stands before every line",
}
_ADVICE = {
    "blank-after-dash": "; a negative number in a list is `- -1`",
    "full-width": "; the character is of a Chinese or Japanese keyboard: switch it to half width",
    "invisible": "; such blanks come with text that is copied from a web page or a chat",
}
_OTHER_ADVICE = {
    "conflict": "keep one of the two versions, and delete the lines of `<<<<<<<` and its like",
    "fence": "delete the line",
    "numbered": "copy the text without them",
    "flat": "indent what belongs to a section by 2 blanks, as in the original",
    "quoted": "copy the text without it",
    "patch": "apply it to the file, and check that",
}
_OF_OTHER_RULES = ("indentation", "body", "commented", "header")  # VG102, VG107
_PLAINER = (
    (
        "mapping values are not allowed",
        "a `:` that starts no mapping: the indentation is off, or a value needs quotes",
    ),
    ("did not find expected key", "the indentation does not match the lines above"),
    ("did not find expected '-' indicator", "the indentation does not match the list above"),
    ("could not find expected ':'", "a `:` is missing after the key"),
    ("did not find expected ',' or ']'", "a `]` or a `,` is missing"),
    ("did not find expected ',' or '}'", "a `}` or a `,` is missing"),
    ("found unexpected end of stream", "a quote or a bracket is opened here and not closed"),
    ("did not find expected node content", "a value is missing"),
    ("block sequence entries are not allowed", "a `-` that starts no list: check the indentation"),
    ("cannot start any token", "this character cannot start a value; put it in quotes"),
    ("alphabetic or numeric", "a value that begins with `*` or `&` needs quotes"),
    ("unknown escape", "a `\\` in double quotes begins an escape: use single quotes"),
    ("block mapping", "the indentation does not match the lines above"),
)


@rule("VG001", Severity.ERROR, "not valid YAML", scope="text", problems=("syntax",), fix="safe")
def invalid_yaml(subject: Subject) -> Iterator[Finding]:
    """The text is not YAML, so no reader gets beyond this place.

    Where a line put right makes it readable, that line is named, and the rest is checked.

    Bad:
        frontend:
          type: onnx
           dtype: fp32
    Good:
        frontend:
          type: onnx
          dtype: fp32
    """
    for problem in subject.problems["syntax"]:
        parser = problem.facts["problem"]
        span, plainer = problem.span, _what(problem)
        if plainer is None and "unexpected end of stream" in parser:
            opened = problem.facts.get("context_line")
            span = subject.document.line_span(opened) if opened else span
        plainer = plainer or next((text for mark, text in _PLAINER if mark in parser), parser)
        hint = _advice(problem) or (f"the parser says: {parser}" if parser else None)
        fix = _fix(problem) if "slip" in problem.facts else None
        yield Finding(span, f"not valid YAML: {plainer}", hint, fix)


@rule("VG013", Severity.ERROR, "file that breaks off", scope="text", problems=("cut-off",))
def cut_off(subject: Subject) -> Iterator[Finding]:
    """The file ends in the middle, as after a full disk or a copy that was interrupted.

    What would have followed is not told one by one.

    Bad:
        name: x
        frontend:
          type: on\\c
    Good:
        name: x
        frontend:
          checkpoint: /models/x.onnx
          shape:
            input: [1, 3, 224, 224]
        backend:
          type: tvm_vacc
          dtype: fp16
        workspace:
          path: ./build
    """
    for problem in subject.problems["cut-off"]:
        missing = [f"`{dotted((*parent, key))}`" for key, parent in problem.facts["missing"]]
        *most, last = missing or [""]
        listed = f"{', '.join(most)} and {last}" if most else last
        verb = "are" if most else "is"
        what = f": {listed} {verb} missing" if missing else ""
        yield Finding(
            problem.span,
            f"the file breaks off here{what}",
            "was the disk full, or a copy interrupted? Write the file again",
        )


@rule(
    "VG014",
    Severity.ERROR,
    "punctuation that YAML takes for text",
    scope="text",
    problems=("slip", "layout"),
    fix="safe",
)
def slip(subject: Subject) -> Iterator[Finding]:
    """YAML reads the line, and makes something else of it than is meant.

    `:` and `-` need a blank behind them. Full-width punctuation, as of a Chinese keyboard, is
    letters to YAML, and so are blanks that are not the usual one, and a comma behind a value.

    Bad:
        backend:
          dtype: fp16,
    Good:
        backend:
          dtype: fp16
    """
    for problem in (*subject.problems.get("slip", ()), *subject.problems.get("layout", ())):
        if problem.facts["cause"] not in _OF_OTHER_RULES:
            what = _what(problem) or problem.facts["cause"]
            yield Finding(problem.span, what, _advice(problem), _fix(problem))


def _what(problem: Problem) -> str | None:
    cause, slip = problem.facts.get("cause", ""), problem.facts.get("slip", "")
    if cause in ("full-width", "invisible"):
        import unicodedata

        mark = next((one for one in slip if not one.isascii()), "")
        name = f"{unicodedata.name(mark, 'character').lower()}, U+{ord(mark):04X}" if mark else ""
        if cause == "invisible":
            return f"a blank that is none to YAML ({name})"
        return f"the full-width `{mark}` ({name}) is a letter to YAML"
    return (
        _CAUSES[cause].format(slip=slip.strip().rstrip("0123456789.")) if cause in _CAUSES else None
    )


def _advice(problem: Problem) -> str | None:
    cause, right = problem.facts.get("cause", ""), problem.facts.get("right")
    if cause in _OTHER_ADVICE:
        return _OTHER_ADVICE[cause]
    if not right or cause in ("indentation", "closing", "body", ""):
        return None
    return f"write `{right}`{_ADVICE.get(cause, '')}"


def _fix(problem: Problem) -> Fix | None:
    edits = problem.facts.get("edits")
    return Fix(tuple(Edit(*edit) for edit in edits)) if edits else None
