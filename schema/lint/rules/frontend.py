"""VG3: can the model be read, and in these shapes?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vacc_gen.schema.lint import fixes as edits
from vacc_gen.schema.lint.diagnostics import Severity
from vacc_gen.schema.lint.document import Node
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.rules._facts import (
    IN_FOLDERS,
    MODEL_FILES,
    TEXT_INPUTS,
    is_contradicted,
    is_huggingface,
    lengths_of,
    may_be_vision,
    shapes_of,
    words,
)
from vacc_gen.schema.lint.subject import Finding, Subject

LENGTH_STEP_TOKENS = 16


@rule("VG301", Severity.ERROR, "checkpoint and frontend.type contradict each other", fix="unsafe")
def checkpoint_against_type(subject: Subject) -> Iterator[Finding]:
    """`frontend.type` chooses the reader, and this checkpoint is of another kind.

    Bad:
        frontend:
          type: pytorch
          checkpoint: /models/resnet50.onnx
    Good:
        frontend:
          type: onnx
          checkpoint: /models/resnet50.onnx
    """
    kind, checkpoint = subject.get("frontend", "type"), subject.get("frontend", "checkpoint")
    if kind is None:
        return
    span = subject.span("frontend", "type")
    for section in ("model_kwargs", "quantize"):
        if kind != "huggingface" and subject.has("frontend", section):
            yield Finding(
                span,
                f"the type is {kind}, and `{section}` is for huggingface",
                f"`{section}` is on line {subject.key_span('frontend', section).line}",
                edits.replace(span, "huggingface", safe=False),
            )
            return
    if not isinstance(checkpoint, str):
        return
    if "://" in checkpoint:
        hint = "fetch it first, and name the file or folder"
        yield Finding(subject.span("frontend", "checkpoint"), "a URL is no checkpoint", hint)
        return
    if kind == "huggingface" and checkpoint.endswith(IN_FOLDERS):
        yield Finding(
            subject.span("frontend", "checkpoint"),
            "the checkpoint is a file, and huggingface reads a folder",
            "name the folder that it is in",
        )
        return
    found = next(
        (kind for suffix, kind in MODEL_FILES.items() if checkpoint.endswith(suffix)), None
    )
    if found is not None and found != kind:
        suffix = checkpoint.rsplit(".", 1)[-1]
        yield Finding(
            subject.span("frontend", "checkpoint"),
            f"the checkpoint is a .{suffix} file, the type is {kind}",
            f"`type` is on line {span.line}; a .{suffix} file is {found}",
            edits.replace(span, found, safe=False),
        )


@rule("VG302", Severity.ERROR, "length that is not a multiple of 16", fix="unsafe")
def length_step(subject: Subject) -> Iterator[Finding]:
    """The compiler takes sequence lengths that are multiples of 16 (vendor's llm/README.md).

    Bad:
        frontend:
          shape:
            input_ids: [[1000], [2048]]
    Good:
        frontend:
          shape:
            input_ids: [[1008], [2048]]
    """
    lengths = lengths_of(subject)
    for node in lengths or ():
        if node is not None and node.value % LENGTH_STEP_TOKENS:
            below = node.value - node.value % LENGTH_STEP_TOKENS
            above = below + LENGTH_STEP_TOKENS
            near = f"{below} and {above}" if below else f"{above}"
            yield Finding(
                node.span,
                f"{node.value} is not a multiple of {LENGTH_STEP_TOKENS}",
                f"the nearest: {near}",
                edits.replace(node.span, str(above), safe=False),
            )


@rule("VG303", Severity.ERROR, "prefill longer than total", fix="none")
def prefill_above_total(subject: Subject) -> Iterator[Finding]:
    """The total length holds the prompt and the answer, so it is at least the prompt's.

    Bad:
        frontend:
          shape:
            input_ids: [[4096], [2048]]
    Good:
        frontend:
          shape:
            input_ids: [[1024], [2048]]
    """
    lengths = lengths_of(subject)
    if lengths and lengths.total and lengths.prefill.value > lengths.total.value:
        yield Finding(
            lengths.prefill.span,
            f"prefill {lengths.prefill.value} is longer than total {lengths.total.value}",
            "the shape is [[prefill], [total]]; total holds prompt and answer",
        )


@rule("VG304", Severity.ERROR, "shape of a language model in another form", fix="unsafe")
def language_model_shape(subject: Subject) -> Iterator[Finding]:
    """A language model has two lengths, `[[prefill], [total]]`; an encoder one, `[[length], []]`.

    Bad:
        frontend:
          shape:
            input_ids: [1024, 2048]
    Good:
        frontend:
          shape:
            input_ids: [[1024], [2048]]
    """
    node = subject.node("frontend", "shape", "input_ids")
    if node is None or not is_huggingface(subject) or may_be_vision(subject) or lengths_of(subject):
        return
    if is_contradicted(subject):
        return  # VG301
    values, written = node.plain(), subject.document.text[node.span.start : node.span.end]
    hint, fix = "write [[prefill], [total]], or [[length], []] for an encoder", None
    from vacc_gen.schema.lint.conversion import of_shape

    meant = of_shape(written, values, language_model=True)
    if meant is not None and not any(size in (0, 1) for size in values):
        hint = f"write {meant.text}: {meant.why}"
        fix = edits.replace(node.span, meant.text, safe=False)
    yield Finding(node.span, f"{values} is not the shape of a language model", hint, fix)


@rule("VG305", Severity.ERROR, "shape range that is none", fix="safe")
def shape_range(subject: Subject) -> Iterator[Finding]:
    """A dynamic input has a smallest and a largest shape, of equal rank, the smallest first.

    Bad:
        frontend:
          type: onnx
          checkpoint: /models/yolov5s.onnx
          shape:
            images: [[1, 3, 640, 640], [1, 3, 416, 416]]
    Good:
        frontend:
          type: onnx
          checkpoint: /models/yolov5s.onnx
          shape:
            images: [[1, 3, 416, 416], [1, 3, 640, 640]]
    """
    if is_huggingface(subject):
        return
    for name, shape in shapes_of(subject).items():
        if not shape or not isinstance(shape[0], list):
            continue
        least, most = shape
        span = subject.span("frontend", "shape", name)
        if len(least) != len(most):
            yield Finding(
                span,
                f"the shapes of `{name}` have {len(least)} and {len(most)} dimensions",
                "write [[smallest shape], [largest shape]]",
            )
        elif any(small > large for small, large in zip(least, most, strict=True)):
            swapped = all(small >= large for small, large in zip(least, most, strict=True))
            fix = _swap_items(subject, subject.node("frontend", "shape", name)) if swapped else None
            yield Finding(
                span,
                f"the smallest shape of `{name}` is larger than the largest",
                "write [[smallest shape], [largest shape]]",
                fix,
            )


def _swap_items(subject: Subject, node: Node | None) -> Any:
    return edits.swap(subject.document, node.value[0].span, node.value[1].span) if node else None


@rule("VG306", Severity.WARNING, "token numbers declared as fp32", fix="unsafe")
def integer_inputs(subject: Subject) -> Iterator[Finding]:
    """Inputs such as `input_ids` and `attention_mask` are whole numbers; fp32 makes them fractions.

    Published configs of text models declare int64.

    Bad:
        frontend:
          type: onnx
          checkpoint: /models/bert.onnx
          dtype: fp32
          shape:
            input_ids: [1, 128]
    Good:
        frontend:
          type: onnx
          checkpoint: /models/bert.onnx
          dtype: int64
          shape:
            input_ids: [1, 128]
    """
    if subject.get("frontend", "dtype") not in ("fp32", "fp16"):
        return
    shapes = shapes_of(subject)
    whole = [name for name in shapes if TEXT_INPUTS.match(name)]
    if not whole:
        return
    span = subject.span("frontend", "dtype")
    only, named = len(whole) == len(shapes), ", ".join(f"`{name}`" for name in whole)
    yield Finding(
        span,
        f"{named} declared as {subject.get('frontend', 'dtype')}",
        "token numbers and masks are int64",
        edits.replace(span, "int64", safe=False) if only else None,
    )


@rule("VG307", Severity.WARNING, "model_kwargs without model_arch", fix="unsafe")
def no_model_arch(subject: Subject) -> Iterator[Finding]:
    """Without `model_arch: vacc` the patched modeling file of the weight folder is not loaded.

    Every published Hugging Face config has it.

    Bad:
        frontend:
          model_kwargs:
            tp: 4
    Good:
        frontend:
          model_kwargs:
            tp: 4
            model_arch: vacc
    """
    section = subject.node("frontend", "model_kwargs")
    if section is None or not isinstance(section.value, dict) or not section.value:
        return
    told = not is_huggingface(subject) or is_contradicted(subject)
    if not told and subject.lacks("frontend", "model_kwargs", "model_arch"):
        yield Finding(
            subject.key_span("frontend", "model_kwargs"),
            "`model_arch` is missing in `frontend.model_kwargs`",
            "write `model_arch: vacc`; without it modeling_*_vacc.py is not loaded",
            edits.insert(subject.document, section, "model_arch: vacc", safe=False),
        )


@rule("VG308", Severity.WARNING, "language model without tp")
def no_tp(subject: Subject) -> Iterator[Finding]:
    """Tensor parallelism is fixed at compile time; what the compiler takes without `tp` is not
    published.

    Bad:
        frontend:
          model_kwargs:
            model_arch: vacc
    Good:
        frontend:
          model_kwargs:
            model_arch: vacc
            tp: 4
    """
    lengths, name = lengths_of(subject), subject.get("name") or ""
    if lengths is None or lengths.total is None:
        return
    if not subject.lacks("frontend", "model_kwargs", "tp"):
        return
    if not subject.lacks("frontend", "quantize", "device"):  # for `vamc quant`, which runs on a GPU
        return
    if not any(word.startswith("tp") and word[2:].isdigit() for word in words(str(name))):  # VG202
        yield Finding(
            subject.key_span("frontend", "model_kwargs", "tp"),
            "`tp` is missing in `frontend.model_kwargs`",
            "say on how many dies the model is to run",
        )


@rule("VG309", Severity.WARNING, "image size that a recent YOLO does not take")
def yolo_size(subject: Subject) -> Iterator[Finding]:
    """Height and width of YOLO 11 and 12 are multiples of 128 (cv/detection/yolov11/README.md).

    Bad:
        name: yolov12_fp16
        frontend:
          type: onnx
          checkpoint: /models/yolov12s.onnx
          shape:
            images: [1, 3, 600, 640]
    Good:
        name: yolov12_fp16
        frontend:
          type: onnx
          checkpoint: /models/yolov12s.onnx
          shape:
            images: [1, 3, 640, 640]
    """
    checkpoint = str(subject.get("frontend", "checkpoint") or "")
    text = f"{subject.get('name')} {checkpoint}".lower()
    if not any(mark in text for mark in ("yolo11", "yolo12", "yolov11", "yolov12")):
        return
    for name, shape in shapes_of(subject).items():
        for index in (2, 3):
            if len(shape) == 4 and isinstance(shape[index], int) and shape[index] % 128:
                yield Finding(
                    subject.span("frontend", "shape", name, index),
                    f"{shape[index]} is not a multiple of 128",
                    "YOLO 11 and 12 take heights and widths that are",
                )
                return
