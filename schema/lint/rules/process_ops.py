"""VG5: do the ops of a dataset make of an image file what the model takes?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

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
from vacc_gen.schema.lint.diagnostics import Finding, Severity, plural
from vacc_gen.schema.lint.files import ConfigFile
from vacc_gen.schema.lint.rule import rule

_OPS = ("dataset", "process_ops")
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, for R, G, B of 0 to 1."""
_GREY_VALUE = 1 / 255
"""Published copies of ImageNet's numbers differ by less than this."""


class Size(NamedTuple):
    """Height and width in pixels; width is None where `height` is that of the longer side."""

    height: int
    width: int | None

    def __str__(self) -> str:
        if self.width is None:
            return f"{self.height} at the longer side"
        return f"{self.height} x {self.width}"


def _size_after(op: ProcessOp, size: Size | None) -> Size | None:
    """Return the size of an image after an op, None where it depends on the file."""
    if isinstance(op, Resize):
        if -1 not in op.size:
            return Size(*op.size)
        longer = max(op.size)
        return Size(longer, None) if op.adaptive_side == "long" and longer > 0 else None
    if isinstance(op, CenterCrop):
        return Size(*op.crop_size)
    if isinstance(op, Pad) and op.pad_to_square and size:
        longer = max(size.height, size.width or 0)
        return Size(longer, longer)
    return None if isinstance(op, (CustomFunc, Pad)) else size


@rule("VG503", Severity.WARNING, "images do not end at the input's size")
def final_size(file: ConfigFile) -> Iterator[Finding]:
    """The last resize, crop or pad makes images of another size than the model's input.

    Bad:
        dataset:
          process_ops:
            - {type: Resize, size: [256, 256]}
    Good:
        dataset:
          process_ops:
            - {type: Resize, size: [256, 256]}
            - {type: CenterCrop, crop_size: [224, 224]}
    """
    ops = file.process_ops
    if file.image_shape is None or not ops:
        return
    wanted, size, place = Size(*file.image_shape[1:]), None, None
    for index, op in enumerate(ops):
        size = _size_after(op, size)
        if isinstance(op, (Resize, CenterCrop, CustomFunc)):
            key = "size" if isinstance(op, Resize) else "crop_size"
            place = file.at(*_OPS, index, key)
    if place is None and ops[0].type == "DecodeImage":
        hint = "add a Resize, unless all files have that size"
        yield Finding(file.key_at(*_OPS), f"no op brings the images to {wanted}", hint)
    elif place and size and size != wanted:
        hint = f"resize or crop them to {wanted}"
        if size == (wanted.width, wanted.height):
            hint = "sizes are [height, width]"
        elif size.width is None and wanted.height == wanted.width == size.height:
            hint = "a Pad with `pad_to_square: true` fills the shorter side"
        yield Finding(place, f"the images end at {size}, but the input is {wanted}", hint)


@rule("VG504", Severity.WARNING, "adaptive_side and size contradict each other")
def adaptive_side(file: ConfigFile) -> Iterator[Finding]:
    """With `adaptive_side` one side is free, written -1; without it both are numbers.

    Bad:
        dataset:
          process_ops:
            - {type: Resize, size: [224, 224], adaptive_side: long}
    Good:
        dataset:
          process_ops:
            - {type: Resize, size: [224, 224]}
    """
    for index, op in enumerate(file.process_ops):
        if not isinstance(op, Resize):
            continue
        free, span = op.size.count(-1), file.at(*_OPS, index, "size")
        if op.adaptive_side and free == 0:
            message = f"`adaptive_side` with both sides given: {op.size}"
            yield Finding(span, message, "write -1 for one side, or delete `adaptive_side`")
        elif op.adaptive_side and free > 1:
            yield Finding(span, "both sides are free", "give one side in pixels")
        elif free and "adaptive_side" not in op.model_fields_set:
            hint = "add `adaptive_side: long` or `short`, or give both sides"
            yield Finding(span, "-1 without `adaptive_side`", hint)


def _range_of(values: Sequence[float], neutral: float) -> int | None:
    """Return 1 or 255, the largest pixel that a mean or std is for; None where it fits both."""
    if max(abs(value) for value in values) > 1.5:
        return 255
    return None if all(value == neutral for value in values) else 1


def _normalizations(file: ConfigFile) -> list[tuple[int, Normalize]]:
    """Return the Normalize ops with their positions."""
    return [(index, op) for index, op in enumerate(file.process_ops) if isinstance(op, Normalize)]


def _shown(values: Sequence[float] | None) -> str:
    return f"[{', '.join(f'{value:g}' for value in values or ())}]"


@rule("VG505", Severity.ERROR, "mean and std for another range of values")
def normalize_scale(file: ConfigFile) -> Iterator[Finding]:
    """With `div255: true`, or without `div255`, values are 0 to 1; with `false` they are 0 to 255.

    Mean and std are those of the other range, so all calibration data is far off.

    Bad:
        dataset:
          process_ops:
            - {type: Normalize, div255: true, mean: [123.7, 116.3, 103.5], std: [58.4, 57.1, 57.4]}
    Good:
        dataset:
          process_ops:
            - {type: Normalize, div255: false, mean: [123.7, 116.3, 103.5], std: [58.4, 57.1, 57.4]}
    """
    for index, op in _normalizations(file):
        is_given = "div255" in op.model_fields_set
        if op.mean is None or op.std is None or (is_given and op.div255 is None):
            continue  # what the compiler makes of a null is not known
        used, other = (255, 1) if op.div255 is False else (1, 255)
        ranges = {"mean": _range_of(op.mean, 0), "std": _range_of(op.std, 1)}
        wrong = [key for key, largest in ranges.items() if largest == other]
        if not wrong:
            continue
        place, hint = wrong[0], f"scale `{wrong[0]}` to 0 to {used}"
        if used not in ranges.values():
            place = "div255" if is_given else wrong[0]
            hint = f"write `div255: {'true' if used == 255 else 'false'}`, or scale mean and std"
        values = " and ".join(f"{key} {_shown(getattr(op, key))}" for key in wrong)
        verb = "is" if len(wrong) == 1 else "are"
        message = f"{values} {verb} for values of 0 to {other}, but here they are 0 to {used}"
        yield Finding(file.at(*_OPS, index, place), message, hint)


@rule("VG506", Severity.ERROR, "mean and std that do not fit the channels")
def normalize_length(file: ConfigFile) -> Iterator[Finding]:
    """Mean and std have one value, or one for each channel; and std is greater than 0.

    Bad:
        dataset:
          process_ops:
            - {type: Normalize, mean: [0.5, 0.5], std: [0.5, 0.5]}
    Good:
        dataset:
          process_ops:
            - {type: Normalize, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}
    """
    channels = file.image_shape[0] if file.image_shape else None
    for index, op in enumerate(file.process_ops):
        channels = 1 if isinstance(op, ChannelSplit) else channels
        if not isinstance(op, Normalize):
            continue
        lengths = {"mean": len(op.mean or (0,)), "std": len(op.std or (0,))}
        wrong = [key for key, length in lengths.items() if length not in (1, channels)]
        hint = "one for each channel, or a single one"
        if wrong and channels is not None:
            values = plural(lengths[wrong[0]], "value")
            message = f"`{wrong[0]}` has {values} for {plural(channels, 'channel')}"
            yield Finding(file.at(*_OPS, index, wrong[0]), message, hint)
        elif len(wrong) > 1 and lengths["mean"] != lengths["std"]:
            message = f"`mean` has {lengths['mean']} values, `std` has {lengths['std']}"
            yield Finding(file.at(*_OPS, index, "std"), message, hint)
        if op.std and min(op.std) <= 0:
            message = f"`std` has a value of {min(op.std):g}"
            yield Finding(file.at(*_OPS, index, "std"), message, "it must be greater than 0")


@rule("VG507", Severity.WARNING, "ops out of order")
def op_order(file: ConfigFile) -> Iterator[Finding]:
    """Images are decoded first and become tensors last; every published config does it so.

    Lists with a function of the user's (CustomFunc) are not checked.

    Bad:
        dataset:
          process_ops:
            - type: DecodeImage
            - type: ToTensor
            - {type: Resize, size: [224, 224]}
    Good:
        dataset:
          process_ops:
            - type: DecodeImage
            - {type: Resize, size: [224, 224]}
            - type: ToTensor
    """
    kinds = [op.type for op in file.process_ops]
    if not kinds or "CustomFunc" in kinds:
        return
    for kind, place, which in (("DecodeImage", 0, "first"), ("ToTensor", len(kinds) - 1, "last")):
        strayed = [index for index, other in enumerate(kinds) if other == kind and index != place]
        if strayed:
            span = file.at(*_OPS, strayed[0], "type")
            yield Finding(span, f"{kind} is not the {which} op", "move or delete it")
            return
        if kind not in kinds:
            yield Finding(file.key_at(*_OPS), f"{kind} is missing", f"add it as the {which} op")
            return


def is_imagenet(values: Sequence[float] | None, known: Sequence[float]) -> bool:
    """Whether values are ImageNet's `known` ones, for pixels of 0 to 1 or of 0 to 255."""
    if values is None or len(values) != len(known):
        return False
    scale = 255 if max(values) > 1 else 1
    pairs = zip(values, known, strict=True)
    return all(abs(value / scale - wanted) < _GREY_VALUE for value, wanted in pairs)


@rule("VG509", Severity.WARNING, "mean in the order of other channels")
def channel_order(file: ConfigFile) -> Iterator[Finding]:
    """DecodeImage gives RGB. ImageNet's mean in the order BGR needs a CvtColor before it.

    Bad:
        dataset:
          process_ops:
            - {type: Normalize, div255: false, mean: [103.939, 116.779, 123.68], std: [1, 1, 1]}
    Good:
        dataset:
          process_ops:
            - {type: CvtColor, code: COLOR_RGB2BGR}
            - {type: Normalize, div255: false, mean: [103.939, 116.779, 123.68], std: [1, 1, 1]}
    """
    order = "RGB"
    for index, op in enumerate(file.process_ops):
        if isinstance(op, CvtColor):
            order = op.code.rpartition("2")[2]
        elif isinstance(op, Normalize) and order == "RGB" and is_imagenet(op.mean, _MEAN[::-1]):
            message = f"mean {_shown(op.mean)} is in the order BGR, but the image is RGB here"
            hint = "add a CvtColor with COLOR_RGB2BGR before it, or reverse mean and std"
            yield Finding(file.at(*_OPS, index, "type"), message, hint)


@rule("VG511", Severity.WARNING, "mean without std, or std without mean")
def half_normalized(file: ConfigFile) -> Iterator[Finding]:
    """Models are trained with both, and every published config has both or neither.

    Bad:
        dataset:
          process_ops:
            - {type: Normalize, mean: [0.485, 0.456, 0.406]}
    Good:
        dataset:
          process_ops:
            - {type: Normalize, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}
    """
    for index, op in _normalizations(file):
        for key, other in (("mean", "std"), ("std", "mean")):
            if getattr(op, key) is not None and other not in op.model_fields_set:
                hint = f"add the `{other}` that the model was trained with"
                yield Finding(file.key_at(*_OPS, index, key), f"`{key}` without `{other}`", hint)


@rule("VG512", Severity.ERROR, "mean and std exchanged")
def exchanged(file: ConfigFile) -> Iterator[Finding]:
    """ImageNet's std is where the mean belongs, and its mean where the std belongs.

    Bad:
        dataset:
          process_ops:
            - {type: Normalize, mean: [0.229, 0.224, 0.225], std: [0.485, 0.456, 0.406]}
    Good:
        dataset:
          process_ops:
            - {type: Normalize, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}
    """
    for index, op in _normalizations(file):
        if is_imagenet(op.mean, _STD) and is_imagenet(op.std, _MEAN):
            span = file.key_at(*_OPS, index, "mean")
            hint = "exchange them: of ImageNet's, mean is the larger"
            yield Finding(span, "`mean` and `std` are exchanged", hint)
