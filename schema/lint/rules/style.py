"""VG0: what no reader of YAML minds, and people do."""

from __future__ import annotations

import re
from collections.abc import Iterator

from vacc_gen.schema.lint.diagnostics import Edit, Fix, Severity
from vacc_gen.schema.lint.fixes import replace
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.subject import Finding, Subject


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
