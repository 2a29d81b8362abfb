"""VG0: is this text that every reader of YAML reads alike?"""

from __future__ import annotations

import re
from collections.abc import Iterator

from vacc_gen.schema.diagnostics import Edit, Fix, Severity
from vacc_gen.schema.edits import replace
from vacc_gen.schema.rules import rule
from vacc_gen.schema.subject import Finding, Subject

_CAUSES = {
    "indentation": "the indentation does not match the lines around it",
    "colon": "a `:` is missing after the key",
    "blank": "a blank is missing after `:`",
    "closing": "a bracket or a quote is not closed",
}
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
    ("found unexpected end of stream", "the text ends inside quotes or brackets"),
    ("did not find expected node content", "a value is missing"),
    ("block sequence entries are not allowed", "a `-` that starts no list: check the indentation"),
    ("cannot start any token", "this character cannot start a value; put it in quotes"),
    ("block mapping", "the indentation does not match the lines above"),
)


@rule("VG001", Severity.ERROR, "not valid YAML", scope="text", problems=("syntax",))
def invalid_yaml(subject: Subject) -> Iterator[Finding]:
    """The text is not YAML, so no reader gets beyond this place.

    Where one line put right makes it readable, that line is named, and the rest is checked.

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
        plainer = _CAUSES.get(problem.facts.get("cause", ""))
        plainer = plainer or next((text for mark, text in _PLAINER if mark in parser), parser)
        yield Finding(problem.span, f"not valid YAML: {plainer}", f"the parser says: {parser}")


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
    for problem in subject.problems["duplicate-key"]:
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


@rule("VG020", Severity.INFO, "Windows line ends", scope="text", default=False, fix="safe")
def crlf(subject: Subject) -> Iterator[Finding]:
    """Lines end in CR LF. Readers of YAML cope; shell scripts and diffs do not.

    Bad:
        name: x\\r
    Good:
        name: x
    """
    text = subject.document.text
    ends = [found.start() for found in re.finditer("\r\n", text)]
    if ends:
        fix = Fix(tuple(Edit(end, end + 1, "") for end in ends))
        span = subject.document.span_at(ends[0], ends[0] + 1)
        yield Finding(span, f"{len(ends)} lines end in CR LF", "end lines in LF", fix)


@rule("VG021", Severity.INFO, "trailing blanks", scope="text", default=False, fix="safe")
def trailing_blanks(subject: Subject) -> Iterator[Finding]:
    """A line ends in blanks, which nobody sees and every diff shows.

    Bad:
        name: x\\x20
    Good:
        name: x
    """
    document = subject.document
    for number, line in enumerate(document.lines, 1):
        kept = len(line.rstrip(" \t"))
        if kept < len(line):
            start = document.line_start(number)
            span = document.span_at(start + kept, start + len(line))
            if not _inside_scalar(subject, span.start):
                yield Finding(span, "trailing blanks", None, replace(span, ""))


def _inside_scalar(subject: Subject, offset: int) -> bool:
    stack = [subject.document.root]
    while stack:
        node = stack.pop()
        if node is None or not node.span.start <= offset < node.span.end:
            continue
        if isinstance(node.value, str):
            return True
        if isinstance(node.value, dict):
            stack += [entry.node for entry in node.value.values()]
        elif isinstance(node.value, list):
            stack += node.value
    return False


@rule("VG022", Severity.INFO, "no final newline", scope="text", default=False, fix="safe")
def no_final_newline(subject: Subject) -> Iterator[Finding]:
    """The last line has no end, so that `cat` runs it into the next file's first one.

    Bad:
        name: x\\c
    Good:
        name: x
    """
    text = subject.document.text
    if text and not text.endswith(("\n", "\r")):
        span = subject.document.span_at(len(text), len(text))
        yield Finding(span, "the last line has no end", None, replace(span, "\n"))


@rule("VG023", Severity.INFO, "blank before the colon", scope="text", default=False, fix="safe")
def blank_before_colon(subject: Subject) -> Iterator[Finding]:
    """`key : value` is read like `key: value`, and found by no search for `key:`.

    Bad:
        name : x
    Good:
        name: x
    """
    document = subject.document
    stack = [document.root] if document.root else []
    while stack:
        node = stack.pop()
        if isinstance(node.value, dict):
            for entry in node.value.values():
                stack.append(entry.node)
                found = re.compile(r"[ \t]+(?=:)").match(document.text, entry.key_span.end)
                if found:
                    span = document.span_at(*found.span())
                    yield Finding(span, "blank before the colon", None, replace(span, ""))
        elif isinstance(node.value, list):
            stack += node.value
