"""VG0: is this a text, and one of a size and form that a config has?"""

from __future__ import annotations

from collections.abc import Iterator

from vacc_gen.schema.lint.diagnostics import Fix, Severity
from vacc_gen.schema.lint.fixes import replace
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.subject import Finding, Subject


@rule(
    "VG002",
    Severity.ERROR,
    "not UTF-8 text",
    scope="text",
    problems=("not-text", "encoding", "control"),
)
def not_utf8(subject: Subject) -> Iterator[Finding]:
    """The bytes are not UTF-8, or hold control characters: another encoding, or no text at all.

    Bad:
        name: "a\\x00b"
    Good:
        name: ab
    """
    for problem in subject.problems.get("not-text", ()):
        byte = problem.facts["byte"]
        yield Finding(
            problem.span, f"not UTF-8: byte 0x{byte:02x}", "save the file as UTF-8, if it is text"
        )
    for problem in subject.problems.get("encoding", ()):
        encoding = problem.facts["encoding"].upper()
        yield Finding(problem.span, f"the file is {encoding}, not UTF-8", "save it as UTF-8")
    for problem in subject.problems.get("control", ()):
        code = ord(problem.facts["character"])
        yield Finding(
            problem.span,
            f"control character U+{code:04X}, which YAML does not allow",
            "delete it; in double quotes it can be written as an escape",
        )


@rule("VG003", Severity.ERROR, "byte order mark", scope="text", problems=("bom",), fix="safe")
def byte_order_mark(subject: Subject) -> Iterator[Finding]:
    """The file begins with a byte order mark, which makes the first key unreadable to some tools.

    Bad:
        \\ufeffname: x
    Good:
        name: x
    """
    for problem in subject.problems["bom"]:
        yield Finding(
            problem.span, "the file begins with a byte order mark", "save it without one", Fix(())
        )


@rule(
    "VG004",
    Severity.ERROR,
    "larger than a config can be",
    scope="text",
    problems=("too-large", "too-deep", "too-many", "too-many-problems"),
)
def too_much(subject: Subject) -> Iterator[Finding]:
    """The file is larger, deeper or fuller than any config: another file, or made to do harm.

    Aliases count as what they stand for, so a few lines can stand for millions of values.

    Bad:
        a: &a [x, x, x, x, x, x, x, x, x, x]
        b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]
        c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]
        d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]
        e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]
    Good:
        name: x
    """
    for problem in subject.problems.get("too-large", ()):
        size, limit = problem.facts["bytes"], problem.facts["limit"]
        yield Finding(problem.span, f"{size:,} bytes; a config has at most {limit:,}")
    for problem in subject.problems.get("too-deep", ()):
        yield Finding(problem.span, f"nested deeper than {problem.facts['limit']} levels")
    for problem in subject.problems.get("too-many", ()):
        how = "aliases that stand for" if problem.facts["alias"] else "has"
        yield Finding(problem.span, f"{how} more than {problem.facts['limit']:,} values")
    for problem in subject.problems.get("too-many-problems", ()):
        yield Finding(
            problem.span, f"more than {problem.facts['limit']} mistakes before this place"
        )


@rule(
    "VG005",
    Severity.ERROR,
    "several documents in one file",
    scope="text",
    problems=("several-documents",),
)
def several_documents(subject: Subject) -> Iterator[Finding]:
    """A file holds one config; whatever follows `---` is another document, and is not read.

    Bad:
        name: one
        ---
        name: two
    Good:
        name: one
    """
    for problem in subject.problems["several-documents"]:
        yield Finding(problem.span, "a second document begins here", "one config, one file")


@rule(
    "VG011", Severity.ERROR, "tab in the indentation", scope="text", problems=("tab",), fix="safe"
)
def tab(subject: Subject) -> Iterator[Finding]:
    """YAML indents with blanks; a tab there is an error to every reader.

    Bad:
        frontend:
        \\ttype: onnx
    Good:
        frontend:
          type: onnx
    """
    for problem in subject.problems["tab"]:
        blanks = problem.facts["blanks"]
        fix = replace(problem.span, blanks) if blanks is not None else None
        yield Finding(problem.span, "tab in the indentation", "YAML indents with blanks", fix)


@rule("VG012", Severity.ERROR, "empty file", scope="text", problems=("no-content",))
def empty(subject: Subject) -> Iterator[Finding]:
    """There is nothing in the file but comments and blanks.

    Bad:
        # to do
    Good:
        name: x
    """
    for problem in subject.problems["no-content"]:
        yield Finding(problem.span, "the file is empty")
