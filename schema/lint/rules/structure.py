"""VG0 and VG1: is a file text and YAML, and are its keys and values those of the format?

What is wrong with a text is found while it is read: `document`, `reader` and `syntax` word it. What
is wrong with a form is found by the typed models: `schema.lint.structure` words that.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from vacc_gen.schema.compile_yaml.dataset import Normalize
from vacc_gen.schema.lint import structure
from vacc_gen.schema.lint.diagnostics import (
    Finding,
    Fix,
    Severity,
    as_written,
    dotted,
    in_section,
    listed,
)
from vacc_gen.schema.lint.document import Document, Kind, kind_of, placeholders
from vacc_gen.schema.lint.files import ConfigFile
from vacc_gen.schema.lint.rule import rule

_NULL_IS_A_VALUE = ("norm_type", "extra_ops")
"""`norm_type: null` and `extra_ops: {type: null}` mean none, in published configs."""


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


@rule("VG007", Severity.ERROR, "tag, alias or value that no reader takes", scope="document")
def unreadable_value(document: Document) -> list[Finding]:
    """What stands here is YAML, and yet no value can be made of it.

    A tag asks the reader to build an object, and with an unsafe reader that runs code. An alias
    names no anchor, or one that it is itself part of; `<<` merges no mapping. A plain value looks
    like a number or a date, and is none.

    Bad:
        backend: !!python/object/apply:os.system [ls]
        frontend: *missing
        name: 2024-13-45
    Good:
        name: "2024-13-45"
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


@rule("VG101", Severity.ERROR, "unknown key", scope="form", fix="safe")
def unknown_key(form: structure.Form) -> list[Finding]:
    """A key that the format does not have: misspelled, or from another version or tool.

    The compiler ignores it in silence and runs for hours with the default in its place.

    Bad:
        backend: {quantize: {alibrate_mode: percentile}}
    Good:
        backend: {quantize: {calibrate_mode: percentile}}
    """
    return form.found("VG101")


@rule("VG102", Severity.ERROR, "missing key", scope="form")
def missing_key(form: structure.Form) -> Iterator[Finding]:
    """A key without which there is nothing to compile, or nowhere to put it.

    Bad:
        dataset: {path: ./images, sampler: {suffix: jpg}}
    Good:
        dataset: {path: ./images, sampler: {suffix: jpg, get_data_num: 50}}
    """
    for section, group in groupby(form.of("VG102"), lambda fault: fault.section):
        first, *others = group
        keys = listed([str(fault.steps[-1]) for fault in (first, *others)])
        many = Finding(first.finding.span, f"{keys} are missing {in_section(section)}")
        yield many if others else first.finding


@rule("VG103", Severity.ERROR, "wrong type", scope="form", fix="safe")
def wrong_type(form: structure.Form) -> list[Finding]:
    """A value is of another kind than its key takes: text for a number, one value for a list.

    Bad:
        backend: {compile: {cluster_mode: "0"}}
    Good:
        backend: {compile: {cluster_mode: 0}}
    """
    return form.found("VG103")


@rule("VG104", Severity.ERROR, "value that is not known", scope="form", fix="safe")
def unknown_value(form: structure.Form) -> list[Finding]:
    """A key that takes certain words, and this is none of them.

    Bad:
        backend: {dtype: fp61}
    Good:
        backend: {dtype: fp16}
    """
    return form.found("VG104")


@rule("VG105", Severity.ERROR, "value out of bounds", scope="form")
def out_of_bounds(form: structure.Form) -> list[Finding]:
    """A number is outside its range, a list has the wrong length, a text the wrong form.

    Or values do not go together, such as a prompt that is longer than the whole.

    Bad:
        frontend: {shape: {input: [1, 3, 0, 224]}}
    Good:
        frontend: {shape: {input: [1, 3, 224, 224]}}
    """
    return form.found("VG105")


@rule("VG106", Severity.ERROR, "null where a value belongs", scope="form")
def null_value(form: structure.Form) -> Iterator[Finding]:
    """A key without a value, or with `null`: what the compiler makes of it is not known.

    An error where the key is needed; elsewhere a warning.

    Bad:
        dataset: {sampler: {get_data_num: null}}
    Good:
        dataset: {sampler: {get_data_num: 50}}
    """
    reported = {fault.steps for fault in form.of("VG106")}
    yield from form.found("VG106")
    root = form.document.root
    if root is None or kind_of(form.document) is Kind.RECIPE:
        return
    for steps, node in root.walk():
        if node.value is not None or steps in reported or not isinstance(steps[-1], str):
            continue
        if not {*steps[-2:]} & {*_NULL_IS_A_VALUE}:
            span = form.document.key_span(*steps)
            hint = "delete the key, or give it a value"
            yield Finding(span, f"`{dotted(steps)}` is null", hint, None, Severity.WARNING)


@rule("VG107", Severity.ERROR, "key in the wrong section", scope="form")
def misplaced_key(form: structure.Form) -> Iterator[Finding]:
    """A key of the format in a section that does not have it, where the compiler ignores it.

    Bad:
        frontend: {b2s: true}
    Good:
        frontend: {model_kwargs: {b2s: true}}
    """
    faults = form.of("VG107")
    for (section, belongs), group in groupby(faults, lambda fault: (fault.section, fault.belongs)):
        first, *others = group
        keys = listed([str(fault.steps[-1]) for fault in (first, *others)])
        verb, pronoun = ("do", "they belong") if others else ("does", "it belongs")
        message = f"{keys} {verb} not belong {in_section(section)}"
        hint = f"{pronoun} {' or '.join(in_section(place) for place in belongs)}. "
        hint += structure.what_becomes_of_unknown_keys(form.document)
        yield Finding(first.finding.span, message, hint.strip())


@rule("VG109", Severity.WARNING, "the word None for null", fix="unsafe")
def none_as_text(file: ConfigFile) -> Iterator[Finding]:
    """`None` is null in Python; to YAML it is a text of four letters.

    Bad:
        dataset: {process_ops: [{type: Normalize, norm_type: None}]}
    Good:
        dataset: {process_ops: [{type: Normalize, norm_type: null}]}
    """
    for index, op in enumerate(file.process_ops):
        if isinstance(op, Normalize) and op.norm_type == "None":
            span = file.at("dataset", "process_ops", index, "norm_type")
            fix = Fix(span, "null", safe=False)
            yield Finding(span, "`None` is text to YAML, not null", "write null", fix)


@rule("VG119", Severity.ERROR, "placeholder", scope="document")
def placeholder(document: Document) -> Iterator[Finding]:
    """A value is still to be filled in: `<MODEL_PATH>`, `${MODELS}`, `{{ name }}`, TODO.

    The compiler takes such a word as it stands.

    Bad:
        frontend: {checkpoint: <MODEL_PATH>}
    Good:
        frontend: {checkpoint: /models/falcon-7b-instruct}
    """
    for span, written in placeholders(document):
        yield Finding(span, f"{as_written(written)} is a placeholder", "fill the value in")


@rule("VG120", Severity.ERROR, "not a compile config", scope="foreign")
def another_file(document: Document) -> Iterator[Finding]:
    """The file has none of the sections of a compile config or of a recipe: it is another tool's.

    Bad:
        # pod.yaml
        apiVersion: v1
        kind: Pod
    Good:
        # falcon.yaml
        name: falcon-7b-fp16-tp4-1024-2048
        workspace: {path: ./vacc_deploy}
    """
    if kind_of(document) is Kind.OTHER:
        span = document.span_at(0, len(document.lines[0]))
        hint = "a compile config has `name`, `frontend`, `backend` and `workspace`"
        yield Finding(span, "neither a compile config nor a recipe", hint)


@rule("VG121", Severity.ERROR, "config of the older vamc build", scope="foreign")
def older_config(document: Document) -> Iterator[Finding]:
    """The config is of the older `vamc build`; `vamc compile` reads another format.

    `vacc-gen convert OLD.yaml` writes it in today's; `vacc-gen explain convert` has the older keys
    beside today's.

    Bad:
        # old.yaml
        model: {name: resnet50, checkpoint: resnet50.onnx}
        engine: {type: vacc}
    Good:
        # new.yaml
        name: resnet50_fp16
        frontend: {type: onnx, checkpoint: resnet50.onnx, shape: {input: [1, 3, 224, 224]}}
    """
    if kind_of(document) is Kind.OLDER:
        span = document.key_span("engine")
        hint = "`vacc-gen convert` translates it; `vacc-gen explain convert` lists the keys"
        yield Finding(span, "a config of the older `vamc build`, not of `vamc compile`", hint)
