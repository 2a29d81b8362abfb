"""What several rules ask of a compile config: its kind, its lengths, the words of its name."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from vacc_gen.schema.lint.document import Node, Span
from vacc_gen.schema.lint.subject import Subject

TEXT_INPUTS = re.compile(
    r"^(input_ids?|att(ention)?_masks?|token_type_ids?|position_ids?|segment_ids?|input_masks?)"
    r"(_?\d+)?$"
)
"""Names of inputs that are token numbers or masks."""

_WORDS = re.compile(r"[^A-Za-z0-9]+")
IN_FOLDERS = (".safetensors", ".json", ".bin", ".gguf")
"""Files of which a weight folder is made."""

_UNWRITTEN = re.compile(
    r"(?:todo|tbd|fixme|xxx+|none|nil|n/a|null|undefined|\?{2,}|\.{3,}|\u5f85\u5b9a|\u5f85\u586b|<[^<>]*>)"
    r"|(?:todo|fixme)\b.*",
    re.IGNORECASE,
)
"""The Chinese ones say `to be decided` and `to be filled in`."""

MODEL_FILES = {
    ".onnx": "onnx",
    ".pt": "pytorch",
    ".pth": "pytorch",
    ".torchscript": "pytorch",
    ".jit": "pytorch",
    ".h5": "keras",
    ".keras": "keras",
    ".hdf5": "keras",
    ".pb": "tensorflow",
    ".tflite": "tensorflow",
    ".weights": "darknet",
    ".cfg": "darknet",
}
"""The type of the model in a file, by the end of its name."""

PRECISIONS = ("fp16", "int8", "fp32", "bf16", "int4")


class Lengths(NamedTuple):
    """The two lengths of a language model, in tokens, as they stand in the shape."""

    prefill: Node
    total: Node | None  # None: an encoder, which has no second length


def is_huggingface(subject: Subject) -> bool:
    """Whether the model is a Hugging Face one, said or told from `model_kwargs`."""
    said = subject.get("frontend", "type") == "huggingface"
    return said or subject.has("frontend", "model_kwargs")


def is_contradicted(subject: Subject) -> bool:
    """Whether one part of `frontend` says Hugging Face and another part does not: VG301."""
    kind, checkpoint = subject.get("frontend", "type"), subject.get("frontend", "checkpoint")
    if kind == "huggingface":
        return isinstance(checkpoint, str) and checkpoint.endswith(tuple(MODEL_FILES))
    return kind is not None and subject.has("frontend", "model_kwargs")


def is_unwritten(value: str) -> bool:
    """Whether a text is a word that stands for one that is still to be written."""
    return _UNWRITTEN.fullmatch(value.strip()) is not None


def may_be_huggingface(subject: Subject) -> bool:
    """Whether it is one, or cannot be told, something of `frontend` being wrong already."""
    if is_huggingface(subject) or subject.has("frontend", "quantize") or subject.lacks("frontend"):
        return True
    unknown = subject.get("frontend", "type") is None and not subject.lacks("frontend", "type")
    return unknown or not subject.lacks("frontend", "model_kwargs")


def is_vision(subject: Subject) -> bool:
    """Whether the config builds the vision tower of a vision-language model, or may mean to."""
    steps = ("frontend", "model_kwargs", "build_visual")
    said = subject.get(*steps)
    return said is True or (said is None and subject.has(*steps))


def may_be_vision(subject: Subject) -> bool:
    """Whether it does, or cannot be told, `model_kwargs` being wrong already."""
    steps = ("frontend", "model_kwargs", "build_visual")
    return is_vision(subject) or (subject.get(*steps) is None and not subject.lacks(*steps))


def lengths_of(subject: Subject) -> Lengths | None:
    """Return the lengths of a Hugging Face language model, or None where the form is another."""
    if not is_huggingface(subject) or may_be_vision(subject):
        return None
    node = subject.node("frontend", "shape", "input_ids")
    if node is None or not isinstance(node.value, list) or len(node.value) != 2:
        return None
    first, second = node.value
    if not isinstance(first.value, list) or not isinstance(second.value, list):
        return None
    if len(first.value) != 1 or len(second.value) > 1:
        return None
    return Lengths(first.value[0], second.value[0] if second.value else None)


def shapes_of(subject: Subject) -> dict[str, list[Any]]:
    """Return the inputs' shapes by name, without those that are wrong."""
    node = subject.node("frontend", "shape")
    if node is None or not isinstance(node.value, dict):
        return {}
    return {
        name: entry.node.plain() for name, entry in node.value.items() if not entry.node.rejected
    }


def image_shape(subject: Subject) -> tuple[int, int, int] | None:
    """Return channels, height and width of the one image input, or None."""
    shapes = [shape for shape in shapes_of(subject).values() if len(shape) == 4]
    if len(shapes) != 1 or not all(isinstance(size, int) for size in shapes[0]):
        return None
    _, first, second, third = shapes[0]
    if first > 4 and third <= 4:  # channels last
        return third, first, second
    return (first, second, third) if first <= 4 else None


def text_length(subject: Subject) -> int | None:
    """Return the length of an encoder's token input, `[1, 512]` or `[[512], []]`, or None."""
    for name, shape in shapes_of(subject).items():
        if not TEXT_INPUTS.match(name) or len(shape) != 2:
            continue
        if all(isinstance(size, int) for size in shape):
            return int(shape[1])
        if isinstance(shape[0], list) and len(shape[0]) == 1 and not shape[1]:
            return int(shape[0][0])
    return None


def words(text: str) -> list[str]:
    """Return the words of a name in lower case: `Qwen2-7B_fp16` has qwen2, 7b and fp16."""
    return [word for word in _WORDS.split(text.lower()) if word]


def numbers(text: str) -> list[int]:
    """Return the words of a name that are whole numbers."""
    return [
        int(word) for word in words(text) if word.isascii() and word.isdigit() and len(word) < 8
    ]


def basename(path: str) -> str:
    """Return the last part of a path, with or without a slash behind it."""
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1]


def name_span(subject: Subject, word: str) -> Span:
    """Return where a word stands in the value of `name`; else where the value stands."""
    span = subject.span("name")
    written = subject.document.text[span.start : span.end]
    found = re.search(rf"(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z0-9])", written, re.IGNORECASE)
    if found is None or "\n" in written:
        return span
    start, end = span.start + found.start(), span.start + found.end()
    column = span.column + found.start()
    return Span(span.line, column, span.line, column + end - start, start, end)
