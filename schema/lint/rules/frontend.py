"""VG3 and VG6: is the model read as what it is, with inputs that it and the compiler take?

VG601 and VG603 need the model's sizes: from the checkpoint when it is there, else from a preset of
that name. Without either they report nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from vacc_gen.schema.lint.diagnostics import Finding, Fix, Severity, as_written, listed
from vacc_gen.schema.lint.files import (
    LENGTH_STEP,
    MODEL_FILES,
    TEXT_INPUTS,
    WEIGHT_FOLDER_FILES,
    ConfigFile,
)
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.suggestions import nearest

_DETECTED = (".onnx", ".pb")
"""Suffixes of the checkpoints for which published configs leave `frontend.type` out."""

_INPUT_IDS = ("frontend", "shape", "input_ids")


@rule("VG301", Severity.ERROR, "frontend.type that does not fit the checkpoint")
def checkpoint_against_type(file: ConfigFile) -> Iterator[Finding]:
    """`frontend.type` chooses the reader, and this checkpoint is of another kind.

    A missing type is a warning where no published config leaves it out, and so is a URL: some
    published configs have one, and the compiler fetches nothing.

    Bad:
        frontend: {type: pytorch, checkpoint: resnet50.onnx}
    Good:
        frontend: {type: onnx, checkpoint: resnet50.onnx}
    """
    frontend, suffix = file.config.frontend, file.checkpoint_suffix
    kind = frontend.type or ("huggingface" if file.is_huggingface else None)
    span = file.at("frontend", "checkpoint")
    if kind not in (None, "huggingface") and (frontend.model_kwargs or frontend.quantize):
        section = "model_kwargs" if frontend.model_kwargs else "quantize"
        line = file.key_at("frontend", section).line
        message = f"the type is {kind}, and `{section}` is for huggingface"
        yield Finding(file.at("frontend", "type"), message, f"`{section}` is on line {line}")
    elif "://" in frontend.checkpoint:
        hint = "download it first, and name the file or folder"
        yield Finding(span, "the checkpoint is a URL", hint, None, Severity.WARNING)
    elif kind == "huggingface" and suffix in WEIGHT_FOLDER_FILES:
        message = "the checkpoint is a file, and huggingface reads a folder"
        yield Finding(span, message, "name the folder that it is in")
    elif kind is not None and MODEL_FILES.get(suffix, kind) != kind:
        message = f"the checkpoint is a {suffix} file, the type is {kind}"
        yield Finding(span, message, f"a {suffix} file is read with `type: {MODEL_FILES[suffix]}`")
    elif frontend.type is None and suffix not in _DETECTED:
        meant = kind or MODEL_FILES.get(suffix)
        hint = f"write `type: {meant}`" if meant else "write what kind of checkpoint it is"
        message = "`type` is missing in `frontend`"
        yield Finding(file.key_at("frontend"), message, hint, None, Severity.WARNING)


@rule("VG307", Severity.WARNING, "language model without model_arch or tp")
def missing_options(file: ConfigFile) -> Iterator[Finding]:
    """Without `model_arch: vacc` the patched modeling file of the weight folder is not loaded.

    Tensor parallelism is fixed when the model is compiled; what it is without `tp` is not known.

    Bad:
        frontend: {model_kwargs: {b2s: true}}
    Good:
        frontend: {model_kwargs: {model_arch: vacc, tp: 4}}
    """
    frontend, place = file.config.frontend, ("frontend", "model_kwargs")
    is_huggingface = frontend.type in (None, "huggingface")
    if is_huggingface and frontend.model_kwargs and frontend.model_kwargs.model_arch is None:
        message = "`model_arch` is missing in `frontend.model_kwargs`"
        hint = "write `model_arch: vacc`; without it modeling_*_vacc.py is not loaded"
        yield Finding(file.key_at(*place, "model_arch"), message, hint)
    has_cache = file.lengths is not None and file.lengths.total is not None
    is_for_gpu = frontend.quantize is not None and frontend.quantize.device is not None
    if has_cache and file.options.tp is None and not is_for_gpu:
        hint = "write `tp: N`, the number of dies that the model runs on"
        if file.tp_in_name is not None:
            hint = f"the name says tp{file.tp_in_name}: write `tp: {file.tp_in_name}`"
        yield Finding(file.key_at(*place, "tp"), "`tp` is missing in `frontend.model_kwargs`", hint)


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
            hint = f"nearest: {below} and {above}" if below else f"the least is {above}"
            yield Finding(span, message, hint, Fix(span, str(above), safe=False))


@rule("VG303", Severity.ERROR, "shape that no language model has")
def language_model_shape(file: ConfigFile) -> Iterator[Finding]:
    """A language model has two lengths, `[[prefill], [total]]`; an encoder one, `[[length], []]`.

    The total length holds the prompt and the answer, so it is at least the prompt's.

    Bad:
        frontend: {shape: {input_ids: [[4096], [2048]]}}
    Good:
        frontend: {shape: {input_ids: [[1024], [2048]]}}
    """
    node, lengths = file.document.node(*_INPUT_IDS), file.lengths
    if lengths and lengths.total is not None and lengths.prefill > lengths.total:
        message = f"prefill {lengths.prefill} is longer than total {lengths.total}"
        hint = "the shape is [[prefill], [total]]; total holds prompt and answer"
        yield Finding(file.at(*_INPUT_IDS, 0, 0), message, hint)
    elif node is not None and file.is_language_model and lengths is None:
        message = f"{as_written(node.plain())} is not the shape of a language model"
        hint = "write [[prefill], [total]], or [[length], []] for an encoder"
        yield Finding(node.span, message, hint)


@rule("VG306", Severity.WARNING, "token ids declared as fp32")
def integer_inputs(file: ConfigFile) -> Iterator[Finding]:
    """Inputs such as `input_ids` and `attention_mask` are whole numbers; fp32 makes them fractions.

    Published configs of text models declare int64.

    Bad:
        frontend: {checkpoint: bert.onnx, dtype: fp32, shape: {input_ids: [1, 128]}}
    Good:
        frontend: {checkpoint: bert.onnx, dtype: int64, shape: {input_ids: [1, 128]}}
    """
    dtype = file.config.frontend.dtype
    whole = [name for name in file.shapes if TEXT_INPUTS.match(name)]
    if whole and dtype in ("fp32", "fp16"):
        verb = "is" if len(whole) == 1 else "are"
        message = f"{listed(whole)} {verb} declared as {dtype}"
        hint = "token ids and masks are int64 numbers"
        yield Finding(file.at("frontend", "dtype"), message, hint)


@rule("VG309", Severity.WARNING, "image size that a recent YOLO does not take")
def yolo_size(file: ConfigFile) -> Iterator[Finding]:
    """Height and width of YOLO 11 and 12 are multiples of 128 (cv/detection/yolov11/README.md).

    Bad:
        frontend: {checkpoint: yolov12s.onnx, shape: {images: [1, 3, 600, 640]}}
    Good:
        frontend: {checkpoint: yolov12s.onnx, shape: {images: [1, 3, 640, 640]}}
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


_KNOWN_INPUTS = (
    "input_ids",
    "attention_mask",
    "token_type_ids",
    "position_ids",
    "segment_ids",
    "input_mask",
    "pixel_values",
    "images",
    "image",
    "inputs",
    "input",
)
"""Names that published configs and exporters give to inputs; a number may follow."""


@rule("VG311", Severity.WARNING, "input that looks misspelled")
def misspelled_input(file: ConfigFile) -> Iterator[Finding]:
    """The name of an input is nearly one that models have; the compiler finds inputs by name.

    Bad:
        frontend: {checkpoint: bert.onnx, shape: {attention_maks: [1, 384]}}
    Good:
        frontend: {checkpoint: bert.onnx, shape: {attention_mask: [1, 384]}}
    """
    for name in file.shapes:
        stem = re.sub(r"[_.]?\d+$", "", name)
        known = nearest(stem, _KNOWN_INPUTS)
        meant = f"{known}{name[len(stem) :]}"
        if known not in (None, stem) and meant not in file.shapes:
            message = f"the input `{name}` looks misspelled"
            hint = f"did you mean `{meant}`?"
        elif file.is_language_model and "input_ids" not in file.shapes:
            message = f"a language model has no input `{name}`"
            hint = "its input is `input_ids`"
        else:
            continue
        yield Finding(file.key_at("frontend", "shape", name), message, hint)


@rule("VG601", Severity.WARNING, "heads that do not split over tp")
def heads_over_tp(file: ConfigFile) -> Iterator[Finding]:
    """Each die computes a share of the KV heads and of the attention heads.

    The vendor publishes configs where tp divides the KV heads, where it is a multiple of them (2
    on 4 dies: chatglm2-6b) and where there is a single one (71 attention heads on 4 dies:
    falcon-7b). What the compiler makes of another split is not published.

    Bad:
        frontend: {checkpoint: /path/to/falcon-40b, model_kwargs: {model_arch: vacc, tp: 12}}
    Good:
        frontend: {checkpoint: /path/to/falcon-40b, model_kwargs: {model_arch: vacc, tp: 16}}
    """
    tp, geometry = file.options.tp, file.geometry
    if tp is None or geometry is None or geometry.kv_heads == 1 or file.lengths is None:
        return
    span, heads = file.at("frontend", "model_kwargs", "tp"), geometry.attention_heads
    if geometry.kv_heads % tp and tp % geometry.kv_heads and file.options.align_qkv is None:
        message = f"{geometry.kv_heads} KV heads cannot be split evenly over tp {tp}"
        hint = "`align_qkv: true` in `frontend.model_kwargs` may be needed (vendor's llm/README.md)"
        yield Finding(span, message, hint)
    elif heads % tp:
        hint = "no published config splits heads so; take a tp that divides them"
        yield Finding(span, f"{heads} attention heads cannot be split evenly over tp {tp}", hint)


@rule("VG603", Severity.WARNING, "longer than the model's positions")
def max_positions(file: ConfigFile) -> Iterator[Finding]:
    """The model was trained on shorter texts than `total`, and has no positions for the rest.

    Bad:
        frontend: {checkpoint: /path/to/falcon-7b, shape: {input_ids: [[1024], [4096]]}}
    Good:
        frontend: {checkpoint: /path/to/falcon-7b, shape: {input_ids: [[1024], [2048]]}}
    """
    total = file.lengths.total if file.lengths else None
    most = file.geometry.max_positions if file.geometry else None
    if total is not None and most is not None and total > most:
        message = f"total {total} is longer than the model's {most} positions"
        yield Finding(file.at(*_INPUT_IDS, 1, 0), message, f"write at most {most}")
