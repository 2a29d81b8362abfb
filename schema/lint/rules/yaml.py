"""VG0: is the file text, YAML, and of a size that a config has?

These mistakes are found while the text is read: `document`, `reader` and `syntax` word them.
"""

from __future__ import annotations

from vacc_gen.schema.lint.diagnostics import Finding, Severity
from vacc_gen.schema.lint.document import Document
from vacc_gen.schema.lint.rule import rule


@rule("VG001", Severity.ERROR, "not valid YAML", scope="document")
def invalid_yaml(document: Document) -> list[Finding]:
    """The text is not YAML, so no reader gets beyond this place.

    Bad:
        frontend:
          type: onnx
           dtype: fp32
    Good:
        frontend:
          type: onnx
          dtype: fp32
    """
    return document.found("VG001")


@rule("VG002", Severity.ERROR, "not UTF-8 text", scope="document")
def not_utf8(document: Document) -> list[Finding]:
    """The bytes are not UTF-8, or hold control characters: another encoding, or no text at all.

    Bad:
        name: "a\\x00b"
    Good:
        name: ab
    """
    return document.found("VG002")


@rule("VG003", Severity.ERROR, "byte order mark", scope="document", fix="safe")
def byte_order_mark(document: Document) -> list[Finding]:
    """The file begins with a byte order mark, which makes the first key unreadable to some tools.

    Bad:
        \\ufeffbackend: {type: tvm_vacc, dtype: fp16}
    Good:
        backend: {type: tvm_vacc, dtype: fp16}
    """
    return document.found("VG003")


@rule("VG004", Severity.ERROR, "larger than a config can be", scope="document")
def too_much(document: Document) -> list[Finding]:
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
    return document.found("VG004")


@rule("VG005", Severity.ERROR, "several documents in one file", scope="document")
def several_documents(document: Document) -> list[Finding]:
    """A file holds one config; whatever follows `---` is another document, and is not read.

    Bad:
        name: one
        ---
        name: two
    Good:
        name: one
    """
    return document.found("VG005")


@rule("VG006", Severity.ERROR, "duplicate key", scope="document", fix="safe")
def duplicate_key(document: Document) -> list[Finding]:
    """A key stands twice in one mapping; the last value wins in silence.

    Bad:
        backend:
          dtype: int8
          dtype: int8
    Good:
        backend: {dtype: int8}
    """
    return document.found("VG006")


@rule("VG007", Severity.ERROR, "tag", scope="document")
def tag(document: Document) -> list[Finding]:
    """A tag asks the reader to build an object; with an unsafe reader that runs code.

    Bad:
        backend: !!python/object/apply:os.system [ls]
    Good:
        backend: {type: tvm_vacc, dtype: fp16}
    """
    return document.found("VG007")


@rule("VG008", Severity.ERROR, "key that is not text", scope="document", fix="safe")
def key_not_text(document: Document) -> list[Finding]:
    """A key is a number, a date or a truth value to YAML, or a list: nobody looks for such a one.

    YAML 1.1 reads a plain `no`, `yes`, `on` and `off` as true or false.

    Bad:
        backend: {no: 1}
    Good:
        backend: {"no": 1}
    """
    return document.found("VG008")


@rule("VG009", Severity.ERROR, "alias or merge that leads nowhere", scope="document")
def bad_alias(document: Document) -> list[Finding]:
    """An alias names no anchor, or one that it is itself part of; or `<<` merges no mapping.

    Bad:
        backend: *missing
    Good:
        backend: {type: tvm_vacc, dtype: fp16}
    """
    return document.found("VG009")


@rule("VG010", Severity.ERROR, "impossible value", scope="document")
def impossible_value(document: Document) -> list[Finding]:
    """A plain value looks like a number or a date, and is none: readers of YAML fail on it.

    Bad:
        backend: {dtype: 2024-13-45}
    Good:
        backend: {dtype: "2024-13-45"}
    """
    return document.found("VG010")


@rule("VG011", Severity.ERROR, "tab in the indentation", scope="document", fix="safe")
def tab(document: Document) -> list[Finding]:
    """YAML indents with spaces; a tab there is an error to every reader.

    Bad:
        frontend:
        \\ttype: onnx
    Good:
        frontend:
          type: onnx
    """
    return document.found("VG011")


@rule("VG012", Severity.ERROR, "empty file", scope="document")
def empty(document: Document) -> list[Finding]:
    """There is nothing in the file but comments and spaces.

    Bad:
        # to do
    Good:
        name: x
    """
    return document.found("VG012")


@rule("VG014", Severity.ERROR, "full-width punctuation", scope="document", fix="safe")
def full_width(document: Document) -> list[Finding]:
    """Full-width marks, as of a Chinese keyboard, and spaces of a web page are letters to YAML.

    Bad:
        backend：
          dtype: fp16
    Good:
        backend:
          dtype: fp16
    """
    return document.found("VG014")
