"""VG1: are the keys and values those of the format?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vacc_gen.schema import edits
from vacc_gen.schema.diagnostics import Severity
from vacc_gen.schema.document import Problem, Span
from vacc_gen.schema.rules import rule
from vacc_gen.schema.subject import Finding, Subject

_IGNORES = "The compiler ignores keys that it does not know."
_NAMES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}


def dotted(steps: tuple[Any, ...]) -> str:
    """Return a path as people write it: `dataset.process_ops[2].mean`."""
    text = ""
    for step in steps:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def _section(steps: tuple[Any, ...]) -> str:
    return f"`{dotted(steps)}`" if steps else "the top level"


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else _plain(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else str(value)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if value is None:
        return "null"
    for kind, name in ((str, "text"), (int, "a whole number"), (float, "a number")):
        if isinstance(value, kind):
            return name
    return (
        "a list"
        if isinstance(value, list)
        else "a mapping"
        if isinstance(value, dict)
        else "a date"
    )


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
        message = f"unknown key `{key}` in {_section(steps)}"
        fix = None
        if suggestion is None:
            known = problem.facts["known"]
            hint = f"known here: {', '.join(known)}." if known else ""
        elif suggestion.taken_line is None:
            hint = f"did you mean `{suggestion.key}`?"
            fix = edits.replace(problem.span, suggestion.key)
        elif suggestion.moved:
            where = _section(suggestion.section)
            hint = (
                f"`{key}` belongs in {where}, where line {suggestion.taken_line} has one already."
            )
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
        backend:
          type: null
    Good:
        backend:
          type: tvm_vacc
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
        yield Finding(problem.span, f"`{key}` is missing in {_section(parent)}", hint, fix)


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
        wanted = " or ".join(_NAMES[name] for name in expected)
        hint, fix = _conversion(subject, problem, expected, value)
        got = _kind(value)
        shown = "" if isinstance(value, (list, dict)) else f" {_shown(value)}"
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
        import yaml

        try:
            meant = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError):
            return None, None
        names = {"integer": int, "number": (int, float), "boolean": bool}
        for name in expected:
            if isinstance(meant, names.get(name, ())) and (name == "boolean") == (
                isinstance(meant, bool)
            ):
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
    from vacc_gen.schema.suggestions import nearest

    for problem in subject.problems["not-allowed"]:
        value, allowed = problem.facts["value"], problem.facts["allowed"]
        where = dotted(problem.facts["steps"])
        words = [option for option in allowed if isinstance(option, str)]
        meant = nearest(value, words) if isinstance(value, str) else None
        one_of = ", ".join(_plain(option) for option in allowed)
        listed = f"one of {one_of}" if len(allowed) > 1 else f"it is always {one_of}"
        hint = f"did you mean `{meant}`? ({listed})" if meant else listed
        fix = edits.replace(problem.span, meant) if meant else None
        yield Finding(problem.span, f"unknown value {_shown(value)} for `{where}`", hint, fix)


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
    from vacc_gen.schema.suggestions import nearest

    value, examples = problem.facts["value"], problem.facts["examples"]
    meant = nearest(value, examples)
    hint, fix = problem.facts["description"] or None, None
    if meant:
        hint, fix = f"did you mean `{meant}`?", edits.replace(problem.span, meant)
    where = dotted(problem.facts["steps"])
    return Finding(problem.span, f"{_shown(value)} is not a form that `{where}` takes", hint, fix)


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
        wanted = " or ".join(_NAMES[name] for name in problem.facts["expected"])
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
            f"`{key}` does not belong in {_section(steps)}",
            f"it belongs in {_section(suggestion.section)}. {_IGNORES}",
            fix,
        )
    for problem in subject.problems.get("misplaced-section", ()):
        steps, belongs = problem.facts["steps"], problem.facts["belongs"]
        yield Finding(
            problem.span,
            f"this `{problem.facts['key']}` does not belong in {_section(steps[:-1])}",
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


@rule("VG109", Severity.WARNING, "the word None for null", fix="safe")
def none_as_text(subject: Subject) -> Iterator[Finding]:
    """`None` is null in Python; to YAML it is a text of four letters. Null is written `null`.

    Bad:
        dataset:
          process_ops:
            - type: DecodeImage
            - type: Resize
              size: [224, 224]
            - type: Normalize
              norm_type: None
            - type: ToTensor
    Good:
        dataset:
          process_ops:
            - type: DecodeImage
            - type: Resize
              size: [224, 224]
            - type: Normalize
              norm_type: null
            - type: ToTensor
    """
    for index, op in subject.items("dataset", "process_ops"):
        if op.get("norm_type") == "None":
            span = subject.span("dataset", "process_ops", index, "norm_type")
            yield Finding(span, "`None` is text to YAML", "write null", edits.replace(span, "null"))


_COMPILE_KEYS = ("dense_special_config", "nearest_interpol_on_dsp", "output_ddr", "stream_mode")


@rule("VG110", Severity.WARNING, "build option among the quantizer's", fix="safe")
def compile_key_in_quantize(subject: Subject) -> Iterator[Finding]:
    """An option of the build stands in `backend.quantize`; published configs have it in both.

    The one public program that calls the compiler hands build options to the build alone
    (open-mmlab/mmdeploy, onnx2vacc.py).

    Bad:
        backend:
          quantize:
            stream_mode: true
    Good:
        backend:
          compile:
            stream_mode: true
    """
    quantize = subject.document.node("backend", "quantize")
    if quantize is None or not isinstance(quantize.value, dict):
        return
    for key in _COMPILE_KEYS:
        entry = quantize.value.get(key)
        if entry is None:
            continue
        compile_section = subject.document.node("backend", "compile")
        if subject.has("backend", "compile", key):
            hint = "`backend.compile` has it too; delete it here"
            fix = edits.remove(subject.document, entry)
        else:
            hint = "it is an option of `backend.compile`"
            fix = edits.move(subject.document, entry, compile_section) if compile_section else None
        yield Finding(entry.key_span, f"`{key}` does not belong in `backend.quantize`", hint, fix)


@rule("VG111", Severity.WARNING, "key of the older compiler", fix="safe")
def legacy_key(subject: Subject) -> Iterator[Finding]:
    """A key of the older `vamc build`, or one that compiler 3 no longer needs.

    Bad:
        workspace:
          work_dir: ./deploy_weights
    Good:
        workspace:
          path: ./deploy_weights
    """
    document = subject.document
    workspace = document.node("workspace")
    entries = workspace.value if workspace is not None and isinstance(workspace.value, dict) else {}
    if "work_dir" in entries:
        span = entries["work_dir"].key_span
        if "path" in entries:
            yield Finding(span, "`work_dir` is the older name of `path`", "delete it")
        else:
            yield Finding(
                span,
                "`work_dir` is the older name of `path`",
                "write `path`",
                edits.replace(span, "path"),
            )
    elif any(key in entries for key in ("enable_ir", "save_log")):
        span = next(entries[key].key_span for key in ("enable_ir", "save_log") if key in entries)
        yield Finding(span, "an option of the older `vamc build`", "delete it")
    if subject.get("frontend", "model_kwargs", "enable_kv_share") is not None:
        span = subject.key_span("frontend", "model_kwargs", "enable_kv_share")
        yield Finding(
            span, "`enable_kv_share` is obsolete", "compiler 3 sees shared KV heads itself"
        )


_IMPLIED_BY_SUFFIX = {
    ".onnx": "onnx",
    ".pb": "tensorflow",
    ".pt": "pytorch",
    ".pth": "pytorch",
    ".torchscript": "pytorch",
    ".h5": "keras",
    ".weights": "darknet",
}


def _implied_type(subject: Subject) -> str | None:
    checkpoint = subject.get("frontend", "checkpoint") or ""
    for suffix, kind in _IMPLIED_BY_SUFFIX.items():
        if checkpoint.endswith(suffix):
            return kind
    return "huggingface" if subject.has("frontend", "model_kwargs") else None


@rule("VG112", Severity.INFO, "type left to be told", default=False, fix="safe")
def implied_type(subject: Subject) -> Iterator[Finding]:
    """`frontend.type`, `frontend.dtype` or `dataset.type` is absent, and the default is used.

    Bad:
        frontend:
          type: null
    Good:
        frontend:
          type: onnx
    """
    frontend = subject.document.node("frontend")
    if frontend is None:
        return
    kind = subject.get("frontend", "type") or _implied_type(subject)
    if not subject.has("frontend", "type") and kind:
        yield _implied(subject, ("frontend",), "type", kind)
    if not subject.has("frontend", "dtype") and kind not in ("huggingface", None):
        yield _implied(subject, ("frontend",), "dtype", "fp32")
    if subject.has("dataset") and not subject.has("dataset", "type"):
        yield _implied(subject, ("dataset",), "type", "tvm")


def _implied(subject: Subject, section: tuple[str, ...], key: str, value: str) -> Finding:
    node = subject.document.node(*section)
    fix = edits.insert(subject.document, node, f"{key}: {value}") if node else None
    span: Span = subject.key_span(*section)
    return Finding(span, f"`{dotted(section)}.{key}` is left to be told", f"write {value}", fix)


@rule("VG113", Severity.WARNING, "frontend type that cannot be told")
def untold_type(subject: Subject) -> Iterator[Finding]:
    """`frontend.type` is absent, and published configs leave it out only for .onnx and .pb files.

    Bad:
        frontend:
          type: null
          checkpoint: /models/resnet50.torchscript.pt
    Good:
        frontend:
          type: pytorch
          checkpoint: /models/resnet50.torchscript.pt
    """
    checkpoint = subject.get("frontend", "checkpoint")
    if checkpoint is None or subject.has("frontend", "type"):
        return
    if not checkpoint.endswith((".onnx", ".pb")):
        kind = _implied_type(subject)
        section = subject.document.node("frontend")
        fix = None
        if kind and section is not None:
            fix = edits.insert(subject.document, section, f"type: {kind}")
        yield Finding(
            subject.key_span("frontend"),
            "`type` is missing in `frontend`",
            f"by the checkpoint it is {kind}" if kind else "say what kind of checkpoint it is",
            fix,
        )


_OPEN_VALUES: dict[tuple[str, ...], tuple[str, ...]] = {
    ("graph", "extra_ops", "type"): (),
    ("dataset", "sampler", "suffix"): (
        "jpg",
        "jpeg",
        "png",
        "bmp",
        "npz",
        "npy",
        "tif",
        "tiff",
        "webp",
    ),
    ("dataset", "name"): ("alpaca", "c4", "ceval"),
}


@rule("VG114", Severity.WARNING, "value that looks misspelled", fix="safe")
def misspelled_value(subject: Subject) -> Iterator[Finding]:
    """A key takes any word, and this one is nearly one that published configs use.

    Versions apart (`yolov8_nms`, `yolov9_nms`), a letter more or less is likely a slip.

    Bad:
        graph:
          extra_ops:
            type: sofmax
    Good:
        graph:
          extra_ops:
            type: softmax
    """
    from vacc_gen.schema.structure import packaged_schema
    from vacc_gen.schema.suggestions import nearest

    for steps, words in _OPEN_VALUES.items():
        value = subject.get(*steps)
        if not isinstance(value, str):
            continue
        if not words:
            options = packaged_schema("vamc")["$defs"]["ExtraOps"]["properties"]["type"]["anyOf"]
            words = tuple(options[0]["examples"])
        if value.lower().lstrip(".") in words:
            continue
        span = subject.span(*steps)
        meant = nearest(value, words)
        if meant and _letters(meant) != _letters(value):
            yield Finding(
                span,
                f"{_shown(value)} looks misspelled",
                f"did you mean `{meant}`?",
                edits.replace(span, meant),
            )
        elif steps[0] == "graph" and not value.endswith("_nms"):
            yield Finding(span, f"no published config has an extra op {_shown(value)}", None)


def _letters(word: str) -> str:
    return "".join(letter for letter in word if not letter.isdigit())
