"""VG5: do the ops of a dataset make of an image file what the model takes?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vacc_gen.schema.compile_yaml.dataset import (
    CenterCrop,
    ChannelSplit,
    CustomFunc,
    CvtColor,
    Normalize,
    Pad,
    ProcessOp,
    Resize,
)
from vacc_gen.schema.errors import plural
from vacc_gen.schema.lint.diagnostics import Finding, Severity
from vacc_gen.schema.lint.files import ConfigFile
from vacc_gen.schema.lint.rule import rule

_OPS = ("dataset", "process_ops")
_BGR_MEAN = (0.406, 0.456, 0.485)
"""ImageNet's, for values of 0 to 1."""
_GREY_VALUE = 1 / 255
"""Published copies of ImageNet's numbers differ by less than this."""


def _image_shape(file: ConfigFile) -> tuple[int, int, int] | None:
    """Return channels, height and width of the one image input, or None."""
    shapes = [shape for shape in file.fixed_shapes.values() if len(shape) == 4]
    if len(shapes) != 1:
        return None
    _, first, second, third = shapes[0]
    if first > 4 and third <= 4:  # channels last
        return third, first, second
    return (first, second, third) if first <= 4 else None


def _size_after(op: ProcessOp, size: list[int] | None) -> list[int] | None:
    """Return height and width of an image after an op, None where they depend on the file.

    One of them is -1 where only the longer side is known.
    """
    if isinstance(op, Resize):
        has_longer_side = op.adaptive_side == "long" and max(op.size) > 0
        return op.size if -1 not in op.size or has_longer_side else None
    if isinstance(op, CenterCrop):
        return op.crop_size
    if isinstance(op, Pad) and op.pad_to_square and size:
        return [max(size)] * 2
    return None if isinstance(op, (CustomFunc, Pad)) else size


@rule("VG503", Severity.WARNING, "images do not end at the input's size")
def final_size(file: ConfigFile) -> Iterator[Finding]:
    """The last resize, crop or pad makes images of another size than the model's input.

    Bad:
        dataset: {process_ops: [{type: Resize, size: [256, 256]}]}
    Good:
        dataset: {process_ops: [{type: CenterCrop, crop_size: [224, 224]}]}
    """
    shape, ops = _image_shape(file), file.process_ops
    if shape is None or not ops:
        return
    wanted, size, place = list(shape[1:]), None, None
    for index, op in enumerate(ops):
        size = _size_after(op, size)
        if isinstance(op, (Resize, CenterCrop, CustomFunc)):
            place = file.at(*_OPS, index, "size" if isinstance(op, Resize) else "crop_size")
    if place is None:
        hint = "add a Resize, unless all files have that size"
        yield Finding(file.key_at(*_OPS), f"no op brings the images to {wanted}", hint)
    elif place and size and size != wanted:
        hint = f"resize, crop or pad them to {wanted}; sizes are [height, width]"
        yield Finding(place, f"the images end at {size}, but the input is {wanted}", hint)


@rule("VG504", Severity.WARNING, "adaptive_side and size contradict each other")
def adaptive_side(file: ConfigFile) -> Iterator[Finding]:
    """With `adaptive_side` one side is free, written -1; without it both are numbers.

    Bad:
        dataset: {process_ops: [{type: Resize, size: [224, 224], adaptive_side: long}]}
    Good:
        dataset: {process_ops: [{type: Resize, size: [224, 224]}]}
    """
    for index, op in enumerate(file.process_ops):
        if isinstance(op, Resize) and op.size.count(-1) != (op.adaptive_side is not None):
            message = f"size {op.size} {'with' if op.adaptive_side else 'without'} `adaptive_side`"
            hint = "one side is -1 with `adaptive_side`, and none without it"
            yield Finding(file.at(*_OPS, index, "size"), message, hint)


@rule("VG505", Severity.ERROR, "mean and std for another range of values")
def normalize_scale(file: ConfigFile) -> Iterator[Finding]:
    """With `div255: true`, or without `div255`, values are 0 to 1; with `false` they are 0 to 255.

    Mean and std are those of the other range, so all calibration data is far off.

    Bad:
        dataset: {process_ops: [{type: Normalize, mean: [123.7, 116.3, 103.5], std: [58, 57, 57]}]}
    Good:
        dataset: {process_ops: [{type: Normalize, mean: [0.49, 0.46, 0.4], std: [0.2, 0.2, 0.2]}]}
    """
    for index, op in enumerate(file.process_ops):
        if not isinstance(op, Normalize) or (op.div255 is None and "div255" in op.model_fields_set):
            continue  # what the compiler makes of a null is not known
        used = 255 if op.div255 is False else 1
        for key, values, neutral in (("mean", op.mean, 0), ("std", op.std, 1)):
            meant = _range_of(values or [neutral], neutral)
            if meant not in (None, used):
                message = f"`{key}` is for values of 0 to {meant}, but here they are 0 to {used}"
                hint = (
                    f"write `div255: {'true' if used == 255 else 'false'}`, or scale mean and std"
                )
                yield Finding(file.at(*_OPS, index, key), message, hint)
                break


def _range_of(values: Sequence[float], neutral: float) -> int | None:
    """Return 1 or 255, the largest value that a mean or std is for; None where it fits both."""
    if max(abs(value) for value in values) > 1.5:
        return 255
    return None if all(value == neutral for value in values) else 1


@rule("VG506", Severity.ERROR, "mean and std that do not fit the channels")
def normalize_length(file: ConfigFile) -> Iterator[Finding]:
    """Mean and std have one value, or one for each channel.

    Bad:
        dataset: {process_ops: [{type: Normalize, mean: [0.5, 0.5], std: [0.5, 0.5]}]}
    Good:
        dataset: {process_ops: [{type: Normalize, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}]}
    """
    shape = _image_shape(file)
    channels = shape[0] if shape else None
    for index, op in enumerate(file.process_ops):
        channels = 1 if isinstance(op, ChannelSplit) else channels
        if not isinstance(op, Normalize) or channels is None:
            continue
        for key, values in (("mean", op.mean), ("std", op.std)):
            if values and len(values) not in (1, channels):
                found = plural(len(values), "value")
                message = f"`{key}` has {found} for {plural(channels, 'channel')}"
                hint = "one for each channel, or a single one"
                yield Finding(file.at(*_OPS, index, key), message, hint)
                break


@rule("VG509", Severity.WARNING, "mean in the order of other channels")
def channel_order(file: ConfigFile) -> Iterator[Finding]:
    """DecodeImage gives RGB. ImageNet's mean in the order BGR needs a CvtColor before it.

    Bad:
        dataset: {process_ops: [{type: Normalize, mean: [0.406, 0.456, 0.485], std: [1, 1, 1]}]}
    Good:
        dataset: {process_ops: [{type: Normalize, mean: [0.485, 0.456, 0.406], std: [1, 1, 1]}]}
    """
    order = "RGB"
    for index, op in enumerate(file.process_ops):
        if isinstance(op, CvtColor):
            order = op.code.rpartition("2")[2]
        elif isinstance(op, Normalize) and order == "RGB" and _is_in_bgr(op.mean or ()):
            message = f"mean {op.mean} is in the order BGR, but the image is RGB here"
            hint = "add a CvtColor with COLOR_RGB2BGR before it, or reverse mean and std"
            yield Finding(file.at(*_OPS, index, "type"), message, hint)


def _is_in_bgr(mean: Sequence[float]) -> bool:
    """Whether a mean is ImageNet's in the order BGR, for values of 0 to 1 or of 0 to 255."""
    if len(mean) != len(_BGR_MEAN):
        return False
    scale = 255 if max(mean) > 1 else 1
    pairs = zip(mean, _BGR_MEAN, strict=True)
    return all(abs(value / scale - wanted) < _GREY_VALUE for value, wanted in pairs)
