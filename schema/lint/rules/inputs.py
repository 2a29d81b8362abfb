"""VG3: are the model's inputs named, typed and shaped as it and the compiler take them?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from vacc_gen.schema.compile_yaml.frontend import ShapeProfile
from vacc_gen.schema.lint import fixes
from vacc_gen.schema.lint.diagnostics import Finding, Severity, as_written, listed
from vacc_gen.schema.lint.files import LENGTH_STEP, TEXT_INPUTS, ConfigFile
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.suggestions import distance

_INPUT_IDS = ("frontend", "shape", "input_ids")


@rule("VG302", Severity.ERROR, "length that is not a multiple of 16", fix="unsafe")
def length_step(file: ConfigFile) -> Iterator[Finding]:
    """The compiler takes sequence lengths that are multiples of 16 (vendor's llm/README.md).

    Bad:
        frontend: {shape: {input_ids: [[1000], [2048]]}}
    Good:
        frontend: {shape: {input_ids: [[1008], [2048]]}}
    """
    for index, length in enumerate(file.lengths or ()):
        if length is not None and length % LENGTH_STEP:
            below = length - length % LENGTH_STEP
            above = below + LENGTH_STEP
            span = file.at(*_INPUT_IDS, index, 0)
            message = f"{length} is not a multiple of {LENGTH_STEP}"
            hint = f"the nearest are {below} and {above}" if below else f"the least is {above}"
            yield Finding(span, message, hint, fixes.replace(span, str(above), safe=False))


@rule("VG303", Severity.ERROR, "prefill longer than total")
def prefill_above_total(file: ConfigFile) -> Iterator[Finding]:
    """The total length holds the prompt and the answer, so it is at least the prompt's.

    Bad:
        frontend: {shape: {input_ids: [[4096], [2048]]}}
    Good:
        frontend: {shape: {input_ids: [[1024], [2048]]}}
    """
    lengths = file.lengths
    if lengths and lengths.total is not None and lengths.prefill > lengths.total:
        message = f"prefill {lengths.prefill} is longer than total {lengths.total}"
        hint = "the shape is [[prefill], [total]]; total holds prompt and answer"
        yield Finding(file.at(*_INPUT_IDS, 0, 0), message, hint)


@rule("VG304", Severity.ERROR, "shape of a language model in another form")
def language_model_shape(file: ConfigFile) -> Iterator[Finding]:
    """A language model has two lengths, `[[prefill], [total]]`; an encoder one, `[[length], []]`.

    Bad:
        frontend: {shape: {input_ids: [1, 1024]}}
    Good:
        frontend: {shape: {input_ids: [[1024], [2048]]}}
    """
    node = file.document.node(*_INPUT_IDS)
    if node is not None and file.is_language_model and file.lengths is None:
        message = f"{as_written(node.plain())} is not the shape of a language model"
        hint = "write [[prefill], [total]], or [[length], []] for an encoder"
        yield Finding(node.span, message, hint)


@rule("VG305", Severity.ERROR, "shape range from larger to smaller")
def shape_range(file: ConfigFile) -> Iterator[Finding]:
    """A dynamic input has a smallest and a largest shape, of equal rank, the smallest first.

    Bad:
        frontend:
          checkpoint: yolov5s.onnx
          shape: {images: [[1, 3, 640, 640], [1, 3, 416, 416]]}
    Good:
        frontend:
          checkpoint: yolov5s.onnx
          shape: {images: [[1, 3, 416, 416], [1, 3, 640, 640]]}
    """
    for name in () if file.is_huggingface else file.shapes:
        for small, large in pairwise(_bounds(file, name)):
            message = None
            if len(small) != len(large):
                message = f"the shapes of `{name}` have {len(small)} and {len(large)} dimensions"
            elif any(least > most for least, most in zip(small, large, strict=True)):
                message = f"the smallest shape of `{name}` is larger than the largest"
            if message:
                hint = "write the smallest shape first, then the largest, with as many dimensions"
                yield Finding(file.at("frontend", "shape", name), message, hint)


def _bounds(file: ConfigFile, name: str) -> list[list[int]]:
    """Return the shapes that a range goes through; none for a fixed shape."""
    shape = file.shapes[name]
    if isinstance(shape, ShapeProfile):
        return [bound for bound in (shape.min, shape.opt, shape.max) if bound is not None]
    return [] if name in file.fixed_shapes else shape


@rule("VG306", Severity.WARNING, "token ids declared as fp32")
def integer_inputs(file: ConfigFile) -> Iterator[Finding]:
    """Inputs such as `input_ids` and `attention_mask` are whole numbers; fp32 makes them fractions.

    Published configs of text models declare int64.

    Bad:
        frontend:
          checkpoint: bert.onnx
          dtype: fp32
          shape: {input_ids: [1, 128]}
    Good:
        frontend:
          checkpoint: bert.onnx
          dtype: int64
          shape: {input_ids: [1, 128]}
    """
    dtype = file.config.frontend.dtype
    whole = [name for name in file.shapes if TEXT_INPUTS.match(name)]
    if whole and dtype in ("fp32", "fp16"):
        verb = "is" if len(whole) == 1 else "are"
        message = f"{listed(whole)} {verb} declared as {dtype}"
        yield Finding(
            file.at("frontend", "dtype"), message, "token ids and masks are int64 numbers"
        )


@rule("VG309", Severity.WARNING, "image size that a recent YOLO does not take")
def yolo_size(file: ConfigFile) -> Iterator[Finding]:
    """Height and width of YOLO 11 and 12 are multiples of 128 (cv/detection/yolov11/README.md).

    Bad:
        frontend:
          checkpoint: yolov12s.onnx
          shape: {images: [1, 3, 600, 640]}
    Good:
        frontend:
          checkpoint: yolov12s.onnx
          shape: {images: [1, 3, 640, 640]}
    """
    named = f"{file.config.name} {file.config.frontend.checkpoint}"
    if not re.search("yolov?1[12]", named, re.IGNORECASE):
        return
    for name, shape in file.fixed_shapes.items():
        for axis in (2, 3):
            if len(shape) == 4 and shape[axis] % 128:
                span = file.at("frontend", "shape", name, axis)
                hint = "YOLO 11 and 12 take heights and widths that are multiples of 128"
                yield Finding(span, f"{shape[axis]} is not a multiple of 128", hint)


@rule("VG310", Severity.ERROR, "text inputs of unequal shape")
def unequal_text_inputs(file: ConfigFile) -> Iterator[Finding]:
    """An encoder's `input_ids`, `attention_mask` and `token_type_ids` are about the same tokens.

    Models with a cache are left out: their mask is longer than their input.

    Bad:
        frontend:
          checkpoint: bert.onnx
          shape:
            input_ids: [1, 384]
            attention_mask: [1, 256]
    Good:
        frontend:
          checkpoint: bert.onnx
          shape:
            input_ids: [1, 384]
            attention_mask: [1, 384]
    """
    texts = {name: shape for name, shape in file.fixed_shapes.items() if TEXT_INPUTS.match(name)}
    if not texts or any("past" in name or "cache" in name for name in file.shapes):
        return
    shapes = list(texts.values())
    usual = max(shapes, key=shapes.count)
    first = next(name for name, shape in texts.items() if shape == usual)
    for name, shape in texts.items():
        steps: tuple[str | int, ...] = ("frontend", "shape", name)
        if len(shape) == len(usual):
            odd = [axis for axis, size in enumerate(shape) if size != usual[axis]]
            if not odd:
                continue
            steps = (*steps, odd[-1])
        elif "mask" in f"{name} {first}" and shape[-1] == usual[-1]:
            continue  # a mask may have axes of its own
        message = f"`{name}` is {shape}, `{first}` is {usual}"
        yield Finding(file.at(*steps), message, "inputs about the same tokens have the same shape")


_KNOWN_INPUTS = (
    "input_ids",
    "attention_mask",
    "token_type_ids",
    "position_ids",
    "segment_ids",
    "input_mask",
    "inputs_embeds",
    "pixel_values",
    "text_token_mask",
    "voxel_coords",
    "images",
    "image",
    "inputs",
    "input",
)
"""Names that published configs and exporters give to inputs; a number may follow."""

_SHORT = 6
"""Names up to this length must have the same letters: `inputs` is not a slip for `input`."""


@rule("VG311", Severity.WARNING, "input that looks misspelled")
def misspelled_input(file: ConfigFile) -> Iterator[Finding]:
    """The name of an input is nearly one that models have; the compiler finds inputs by name.

    Bad:
        frontend:
          checkpoint: bert.onnx
          shape: {attention_maks: [1, 384]}
    Good:
        frontend:
          checkpoint: bert.onnx
          shape: {attention_mask: [1, 384]}
    """
    meant = {name: known for name in file.shapes if (known := _meant(name))}
    meant = {name: known for name, known in meant.items() if known not in file.shapes}
    for name, known in meant.items():
        message = f"the input `{name}` looks misspelled"
        yield Finding(file.key_at("frontend", "shape", name), message, f"did you mean `{known}`?")
    if file.is_language_model and not meant and "input_ids" not in file.shapes:
        name = next(iter(file.shapes))
        message = f"a language model has no input `{name}`"
        yield Finding(file.key_at("frontend", "shape", name), message, "its input is `input_ids`")


def _meant(name: str) -> str | None:
    """Return the known name that another one is a slip for, its number kept; None without one."""
    stem = name.rstrip("0123456789").rstrip("_.")
    rest = name[len(stem) :]
    if stem in _KNOWN_INPUTS or stem == "att_mask":
        return None
    for known in _KNOWN_INPUTS:
        if stem.lower().replace("-", "_") == known:
            return known + rest
        is_near = distance(stem, known) <= 1
        if is_near and (len(known) > _SHORT or sorted(stem) == sorted(known)):
            return known + rest
    return None
