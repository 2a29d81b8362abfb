"""VG11: is the format used as published configs use it?"""

from __future__ import annotations

from collections.abc import Iterator

from vacc_gen.schema.lint import fixes as edits
from vacc_gen.schema.lint.diagnostics import Severity
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.rules._facts import is_unwritten
from vacc_gen.schema.lint.rules._wording import as_written, dotted
from vacc_gen.schema.lint.subject import Finding, Subject
from vacc_gen.schema.lint.suggestions import nearest
from vacc_gen.schema.lint.walk import packaged_schema


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
          checkpoint: /models/resnet50.onnx
    Good:
        frontend:
          checkpoint: /models/resnet50.onnx
          type: onnx
          dtype: fp32
    """
    frontend = subject.document.node("frontend")
    if frontend is None:
        return
    kind = subject.get("frontend", "type") or _implied_type(subject)
    if subject.lacks("frontend", "type") and kind:
        yield _implied(subject, ("frontend",), "type", kind)
    if subject.lacks("frontend", "dtype") and kind not in ("huggingface", None):
        yield _implied(subject, ("frontend",), "dtype", "fp32")
    if subject.has("dataset") and subject.lacks("dataset", "type"):
        yield _implied(subject, ("dataset",), "type", "tvm")


def _implied(subject: Subject, section: tuple[str, ...], key: str, value: str) -> Finding:
    node = subject.document.node(*section)
    fix = edits.insert(subject.document, node, f"{key}: {value}") if node else None
    span = subject.key_span(*section)
    return Finding(span, f"`{dotted(section)}.{key}` is left to be told", f"write {value}", fix)


@rule("VG113", Severity.WARNING, "frontend type that cannot be told", fix="safe")
def untold_type(subject: Subject) -> Iterator[Finding]:
    """`frontend.type` is absent, and published configs leave it out only for .onnx and .pb files.

    Bad:
        frontend:
          checkpoint: /models/resnet50.torchscript.pt
    Good:
        frontend:
          type: pytorch
          checkpoint: /models/resnet50.torchscript.pt
    """
    checkpoint = subject.get("frontend", "checkpoint")
    if checkpoint is None or not subject.lacks("frontend", "type") or is_unwritten(checkpoint):
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
        *("jpg", "jpeg", "png", "bmp", "npz", "npy", "tif", "tiff", "webp", "gif", "ppm", "bin"),
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
    for steps, words in _OPEN_VALUES.items():
        value = subject.get(*steps)
        if not isinstance(value, str):
            continue
        if not words:
            options = packaged_schema("vamc")["$defs"]["ExtraOps"]["properties"]["type"]["anyOf"]
            words = tuple(options[0]["examples"])
        span = subject.span(*steps)
        if steps[-1] == "suffix" and value.startswith("."):
            yield Finding(
                span,
                f"the suffix {as_written(value)} has a dot; published ones have none",
                f"write `{value[1:]}`",
                edits.replace(span, value[1:]),
            )
            value = value[1:]
        if value.lower() in words:
            continue
        meant = nearest(value, words)
        if meant and _letters(meant) != _letters(value):
            yield Finding(
                span,
                f"{as_written(value)} looks misspelled",
                f"did you mean `{meant}`?",
                edits.replace(span, meant),
            )
        elif steps[0] == "graph" and not value.endswith("_nms"):
            yield Finding(span, f"no published config has an extra op {as_written(value)}")
        elif steps[-1] == "suffix":
            yield Finding(span, f"no published config reads {as_written(value)} files")


def _letters(word: str) -> str:
    return "".join(letter for letter in word if not letter.isdigit())
