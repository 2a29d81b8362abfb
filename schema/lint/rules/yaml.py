"""VG0: is the file text, YAML, and of a size that a config has?"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from vacc_gen.schema.lint import fixes, tree
from vacc_gen.schema.lint.diagnostics import Finding, Severity, as_written, kind_of_value, plain
from vacc_gen.schema.lint.document import Document
from vacc_gen.schema.lint.rule import rule


@rule("VG001", Severity.ERROR, "not valid YAML", scope="document")
def invalid_yaml(document: Document) -> Iterator[Finding]:
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
    for fault in document.faults_of(tree.NotYaml):
        yield Finding(fault.span, f"not valid YAML: {fault.reason}", fault.hint)


@rule("VG002", Severity.ERROR, "not UTF-8 text", scope="document")
def not_utf8(document: Document) -> Iterator[Finding]:
    """The bytes are not UTF-8, or hold control characters: another encoding, or no text at all.

    Bad:
        name: "a\\x00b"
    Good:
        name: ab
    """
    for fault in document.faults_of(tree.NotText):
        yield Finding(fault.span, fault.reason, fault.hint)


@rule("VG003", Severity.ERROR, "byte order mark", scope="document", fix="safe")
def byte_order_mark(document: Document) -> Iterator[Finding]:
    """The file begins with a byte order mark, which makes the first key unreadable to some tools.

    Bad:
        \\ufeffbackend: {type: tvm_vacc, dtype: fp16}
    Good:
        backend: {type: tvm_vacc, dtype: fp16}
    """
    for fault in document.faults_of(tree.ByteOrderMark):
        message = "the file begins with a byte order mark"
        yield Finding(fault.span, message, "save it without one", fixes.drop_prefix(document))


@rule("VG004", Severity.ERROR, "larger than a config can be", scope="document")
def too_much(document: Document) -> Iterator[Finding]:
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
    for fault in document.faults_of(tree.TooMuch):
        yield Finding(fault.span, fault.reason)


@rule("VG005", Severity.ERROR, "several documents in one file", scope="document")
def several_documents(document: Document) -> Iterator[Finding]:
    """A file holds one config; whatever follows `---` is another document, and is not read.

    Bad:
        name: one
        ---
        name: two
    Good:
        name: one
    """
    for fault in document.faults_of(tree.SecondDocument):
        yield Finding(fault.span, "a second document begins here", "one config, one file")


@rule("VG006", Severity.ERROR, "duplicate key", scope="document", fix="safe")
def duplicate_key(document: Document) -> Iterator[Finding]:
    """A key stands twice in one mapping; the last value wins in silence.

    Bad:
        backend:
          dtype: int8
          dtype: int8
    Good:
        backend: {dtype: int8}
    """
    for fault in document.faults_of(tree.DuplicateKey):
        first = f"the first is on line {fault.first_line}"
        fix = fixes.remove(document, fault.entry) if fault.same_value else None
        hint = f"{first}, with the same value" if fault.same_value else f"{first}; delete one"
        yield Finding(fault.span, f"duplicate key `{fault.key}`", hint, fix)


@rule("VG007", Severity.ERROR, "tag", scope="document")
def tag(document: Document) -> Iterator[Finding]:
    """A tag asks the reader to build an object; with an unsafe reader that runs code.

    Bad:
        backend: !!python/object/apply:os.system [ls]
    Good:
        backend: {type: tvm_vacc, dtype: fp16}
    """
    for fault in document.faults_of(tree.Tagged):
        yield Finding(fault.span, f"the tag `{fault.tag}` is refused", "write a plain value")


@rule("VG008", Severity.ERROR, "key that is not text", scope="document", fix="safe")
def key_not_text(document: Document) -> Iterator[Finding]:
    """A key is a number, a date or a truth value to YAML, or a list: nobody looks for such a one.

    YAML 1.1 reads a plain `no`, `yes`, `on` and `off` as true or false.

    Bad:
        backend: {no: 1}
    Good:
        backend: {"no": 1}
    """
    for fault in document.faults_of(tree.KeyNotText):
        if isinstance(fault.value, (dict, list)):
            yield Finding(fault.span, f"{kind_of_value(fault.value)} as a key", "a key is a word")
            continue
        kind = kind_of_value(fault.value)
        read = plain(fault.value) if isinstance(fault.value, bool) else kind
        message = f"YAML reads the key `{fault.written}` as {read}, not as text"
        quoted = f'"{fault.written}"'
        yield Finding(fault.span, message, f"write {quoted}", fixes.replace(fault.span, quoted))


@rule("VG009", Severity.ERROR, "alias or merge that leads nowhere", scope="document")
def bad_alias(document: Document) -> Iterator[Finding]:
    """An alias names no anchor, or one that it is itself part of; or `<<` merges no mapping.

    Bad:
        backend: *missing
    Good:
        backend: {type: tvm_vacc, dtype: fp16}
    """
    for fault in document.faults_of(tree.BadAlias):
        yield Finding(fault.span, fault.reason)


@rule("VG010", Severity.ERROR, "impossible value", scope="document")
def impossible_value(document: Document) -> Iterator[Finding]:
    """A plain value looks like a number or a date, and is none: readers of YAML fail on it.

    Bad:
        backend: {dtype: 2024-13-45}
    Good:
        backend: {dtype: "2024-13-45"}
    """
    for fault in document.faults_of(tree.BadScalar):
        message = f"{as_written(fault.written)} {fault.reason}"
        yield Finding(fault.span, message, "put it in quotes if it is text")


@rule("VG011", Severity.ERROR, "tab in the indentation", scope="document", fix="safe")
def tab(document: Document) -> Iterator[Finding]:
    """YAML indents with spaces; a tab there is an error to every reader.

    Bad:
        frontend:
        \\ttype: onnx
    Good:
        frontend:
          type: onnx
    """
    for fault in document.faults_of(tree.Tab):
        fix = None if fault.spaces is None else fixes.replace(fault.span, fault.spaces)
        yield Finding(fault.span, "tab in the indentation", "YAML indents with spaces", fix)


@rule("VG012", Severity.ERROR, "empty file", scope="document")
def empty(document: Document) -> Iterator[Finding]:
    """There is nothing in the file but comments and spaces.

    Bad:
        # to do
    Good:
        name: x
    """
    for fault in document.faults_of(tree.Empty):
        yield Finding(fault.span, "the file is empty")


@rule("VG014", Severity.ERROR, "full-width punctuation", scope="document", fix="safe")
def full_width(document: Document) -> Iterator[Finding]:
    """Full-width marks, as of a Chinese keyboard, and spaces of a web page are letters to YAML.

    Bad:
        backend：
          dtype: fp16
    Good:
        backend:
          dtype: fp16
    """
    for fault in document.faults_of(tree.FullWidth):
        name = unicodedata.name(fault.mark, "character").lower()
        message = f"the full-width `{fault.mark}` ({name}) is a letter to YAML"
        hint, fix = "switch the keyboard to half width", None
        if fault.ascii is not None:
            hint, fix = f"write `{fault.ascii.strip()}`", fixes.replace(fault.span, fault.ascii)
        yield Finding(fault.span, message, hint, fix)
