"""VG53: do the ops make of an image file what the model takes?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vacc_gen.schema.lint import fixes as edits
from vacc_gen.schema.lint.diagnostics import Severity
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.rules._facts import image_shape
from vacc_gen.schema.lint.subject import Finding, Subject

_OPS = ("dataset", "process_ops")

Ops = list[tuple[int, dict[str, Any]]]


def _ops(subject: Subject) -> Ops | None:
    """Return the ops with their positions, or None where anything is wrong with them."""
    if not subject.is_sound(*_OPS):
        return None
    return list(subject.items(*_OPS)) or None


Size = tuple[int | None, int | None]
"""Height and width; None where it depends on the file."""


def _resized(size: Size, op: dict[str, Any]) -> Size:
    height, width = op.get("size", (None, None))
    if -1 not in (height, width):
        return height, width
    side = height if width == -1 else width
    return (side, -side) if op.get("adaptive_side") == "long" else (None, None)


def _final_size(ops: Ops) -> tuple[Size, int | None]:
    """Return the size after all ops, and the position of the op that decided it.

    The longer side of an image that keeps its proportions is known and the shorter is not: such a
    size is (longer, -longer) until `Pad` makes it square.
    """
    size: Size = (None, None)
    decided = None
    for index, op in ops:
        kind = op["type"]
        if kind == "Resize":
            size, decided = _resized(size, op), index
        elif kind == "CenterCrop":
            height, width = op.get("crop_size", (None, None))
            size, decided = (height, width), index
        elif kind == "Pad" and op.get("pad_to_square") and None not in size:
            longer = max(abs(size[0] or 0), abs(size[1] or 0))
            size = (longer, longer)
        elif kind == "CustomFunc":
            size, decided = (None, None), index
    return size, decided


@rule("VG503", Severity.WARNING, "images do not end at the input's size")
def final_size(subject: Subject) -> Iterator[Finding]:
    """The last resize, crop or pad makes images of another size than the model's input.

    Bad:
        frontend:
          type: onnx
          checkpoint: /models/resnet50.onnx
          shape:
            input: [1, 3, 224, 224]
        dataset:
          process_ops:
            - type: DecodeImage
            - type: Resize
              size: [256, 256]
            - type: ToTensor
    Good:
        frontend:
          type: onnx
          checkpoint: /models/resnet50.onnx
          shape:
            input: [1, 3, 224, 224]
        dataset:
          process_ops:
            - type: DecodeImage
            - type: Resize
              size: [256, 256]
            - type: CenterCrop
              crop_size: [224, 224]
            - type: ToTensor
    """
    shape, ops = image_shape(subject), _ops(subject)
    if shape is None or ops is None:
        return
    _, height, width = shape
    (got_height, got_width), decided = _final_size(ops)
    if decided is None:
        if ops[0][1]["type"] == "DecodeImage":
            yield Finding(
                subject.key_span(*_OPS),
                f"no op brings the images to {height} x {width}",
                "add a Resize, unless all files have that size",
            )
        return
    if got_height is None or got_width is None or (got_height, got_width) == (height, width):
        return
    op = dict(ops)[decided]
    key = "size" if op["type"] == "Resize" else "crop_size"
    got = f"{got_height} x {got_width}" if got_width > 0 else f"{got_height} at the longer side"
    hint = None
    if (got_height, got_width) == (width, height):
        hint = "sizes are [height, width]"
    elif got_width < 0:
        hint = "a Pad with `pad_to_square: true` fills the shorter side"
    yield Finding(
        subject.span(*_OPS, decided, key),
        f"the images end at {got}, the input is {height} x {width}",
        hint,
    )


@rule("VG504", Severity.WARNING, "adaptive_side and size contradict each other")
def adaptive_side(subject: Subject) -> Iterator[Finding]:
    """With `adaptive_side` one side is free, written -1; without it both are numbers.

    Bad:
        dataset:
          process_ops:
            - type: DecodeImage
            - type: Resize
              size: [608, 1088]
              adaptive_side: long
            - type: ToTensor
    Good:
        frontend:
          type: onnx
          checkpoint: /models/fairmot.onnx
          shape:
            input: [1, 3, 608, 1088]
        dataset:
          process_ops:
            - type: DecodeImage
            - type: Resize
              size: [608, 1088]
            - type: ToTensor
    """
    for index, op in subject.items(*_OPS):
        size = op.get("size")
        if op.get("type") != "Resize" or size is None:
            continue
        span = subject.span(*_OPS, index, "size")
        if "adaptive_side" in op and -1 not in size:
            yield Finding(
                span, f"both sides are given, {size}, and `adaptive_side` too", "write -1 for one"
            )
        elif -1 in size and subject.lacks(*_OPS, index, "adaptive_side"):
            yield Finding(
                span, "-1 without `adaptive_side`", "say `adaptive_side: long`, or give both sides"
            )


def _scale(values: list[float], neutral: float) -> int | None:
    """Return 1 or 255, the range that a mean or a std is for; None where it fits both."""
    if max(abs(value) for value in values) > 1.5:
        return 255
    return None if all(value == neutral for value in values) else 1


@rule("VG505", Severity.ERROR, "mean and std for another range of values", fix="unsafe")
def normalize_scale(subject: Subject) -> Iterator[Finding]:
    """With `div255: true`, or without `div255`, values are 0 to 1; with `false` they are 0 to 255.

    Mean and std are those of the other range, so all calibration data is far off.

    Bad:
        dataset:
          process_ops:
            - type: DecodeImage
            - type: Resize
              size: [224, 224]
            - type: Normalize
              div255: true
              mean: [123.675, 116.28, 103.53]
              std: [58.395, 57.12, 57.375]
            - type: ToTensor
    Good:
        dataset:
          process_ops:
            - type: DecodeImage
            - type: Resize
              size: [224, 224]
            - type: Normalize
              div255: false
              mean: [123.675, 116.28, 103.53]
              std: [58.395, 57.12, 57.375]
            - type: ToTensor
    """
    for index, op in subject.items(*_OPS):
        if op.get("type") != "Normalize" or not op.get("mean") or not op.get("std"):
            continue
        if op.get("div255") is None and not subject.lacks(*_OPS, index, "div255"):
            continue  # null: VG106
        used = 255 if op.get("div255") is False else 1
        scales = {"mean": _scale(op["mean"], 0), "std": _scale(op["std"], 1)}
        wrong = [key for key, scale in scales.items() if scale not in (None, used)]
        if not wrong:
            continue
        key = wrong[0]
        told = f"{' and '.join(f'{one} {op[one]}' for one in wrong)}"
        message = f"{told} {'is' if len(wrong) == 1 else 'are'} for values of 0 to {256 - used}"
        message += f", here they are 0 to {used}"
        if used in scales.values():  # the other one is right, and so is div255
            yield Finding(subject.span(*_OPS, index, key), message)
            continue
        word = "false" if used == 1 else "true"
        key = "div255" if "div255" in op else key
        span = subject.span(*_OPS, index, key)
        fix = edits.replace(span, word, safe=False) if key == "div255" else None
        hint = f"write `div255: {word}`, or scale mean and std"
        yield Finding(span, message, hint, fix)


def _channels(subject: Subject, ops: Ops, until: int) -> int | None:
    shape = image_shape(subject)
    split = any(op["type"] == "ChannelSplit" for index, op in ops if index < until)
    if split:
        return 1
    return shape[0] if shape else None


@rule("VG506", Severity.ERROR, "mean and std of the wrong length")
def normalize_length(subject: Subject) -> Iterator[Finding]:
    """Mean and std have one value, or one for each channel.

    Bad:
        frontend:
          type: onnx
          checkpoint: /models/resnet50.onnx
          shape:
            input: [1, 3, 224, 224]
        dataset:
          process_ops:
            - type: DecodeImage
            - type: Resize
              size: [224, 224]
            - type: Normalize
              mean: [0.5, 0.5]
              std: [0.5, 0.5]
            - type: ToTensor
    Good:
        frontend:
          type: onnx
          checkpoint: /models/resnet50.onnx
          shape:
            input: [1, 3, 224, 224]
        dataset:
          process_ops:
            - type: DecodeImage
            - type: Resize
              size: [224, 224]
            - type: Normalize
              mean: [0.5, 0.5, 0.5]
              std: [0.5, 0.5, 0.5]
            - type: ToTensor
    """
    ops = _ops(subject) or []
    for index, op in ops:
        if op["type"] != "Normalize":
            continue
        channels = _channels(subject, ops, index)
        mean, std = op.get("mean"), op.get("std")
        if mean and std and len(mean) != len(std) and 1 not in (len(mean), len(std)):
            key = "mean" if channels in (None, len(std)) else "std"
            yield Finding(
                subject.span(*_OPS, index, key),
                f"mean has {len(mean)} values, std has {len(std)}",
                "one for each channel, or a single one",
            )
            continue
        for key, values in (("mean", mean), ("std", std)):
            if values and channels and len(values) not in (1, channels):
                yield Finding(
                    subject.span(*_OPS, index, key),
                    f"{key} has {len(values)} values for {channels} channel"
                    f"{'' if channels == 1 else 's'}",
                    "one for each channel, or a single one",
                )
                break
        if std and min(std) <= 0:
            wrong = "0 divides by zero" if 0 in std else f"{min(std)} is below 0"
            yield Finding(subject.span(*_OPS, index, "std"), f"std {wrong}")


@rule("VG507", Severity.WARNING, "ops out of order")
def op_order(subject: Subject) -> Iterator[Finding]:
    """Images are decoded first and become tensors last; every published config does it so.

    Bad:
        dataset:
          process_ops:
            - type: DecodeImage
            - type: ToTensor
            - type: Resize
              size: [224, 224]
    Good:
        dataset:
          process_ops:
            - type: DecodeImage
            - type: Resize
              size: [224, 224]
            - type: ToTensor
    """
    ops = _ops(subject)
    if ops is None or any(op["type"] == "CustomFunc" for _, op in ops):
        return
    kinds = [op["type"] for _, op in ops]
    if kinds[0] != "DecodeImage":
        where = kinds.index("DecodeImage") if "DecodeImage" in kinds else 0
        yield Finding(subject.span(*_OPS, where, "type"), "the first op is not DecodeImage")
    elif kinds[-1] != "ToTensor":
        where = kinds.index("ToTensor") if "ToTensor" in kinds else len(kinds) - 1
        yield Finding(subject.span(*_OPS, where, "type"), "the last op is not ToTensor")
    elif kinds.count("ToTensor") > 1:
        where = kinds.index("ToTensor")
        yield Finding(subject.span(*_OPS, where, "type"), "ToTensor stands twice")


_MEANS_RGB = ((123.675, 116.28, 103.53), (123.68, 116.779, 103.939), (123, 117, 104))


def _order(mean: list[float]) -> str | None:
    """Return RGB or BGR where the mean is ImageNet's in that order, else None."""
    if len(mean) != 3:
        return None
    scale = 1 if max(mean) > 1.5 else 255
    for known in _MEANS_RGB:
        for order, values in (("RGB", known), ("BGR", known[::-1])):
            if all(abs(a * scale - b) < 1 for a, b in zip(mean, values, strict=True)):
                return order
    return None


@rule("VG509", Severity.WARNING, "mean in the order of other channels")
def channel_order(subject: Subject) -> Iterator[Finding]:
    """DecodeImage gives RGB. ImageNet's mean in the order BGR wants a CvtColor before it.

    Bad:
        dataset:
          process_ops:
            - type: DecodeImage
            - type: Resize
              size: [224, 224]
            - type: Normalize
              div255: false
              mean: [103.939, 116.779, 123.68]
              std: [1, 1, 1]
            - type: ToTensor
    Good:
        dataset:
          process_ops:
            - type: DecodeImage
            - type: CvtColor
              code: COLOR_RGB2BGR
            - type: Resize
              size: [224, 224]
            - type: Normalize
              div255: false
              mean: [103.939, 116.779, 123.68]
              std: [1, 1, 1]
            - type: ToTensor
    """
    ops, order = _ops(subject), "RGB"
    for index, op in ops or ():
        if op["type"] == "CvtColor":
            code = str(op.get("code", "")).removeprefix("COLOR_")
            order = code.rsplit("2", 1)[-1]
        elif op["type"] == "Normalize" and op.get("mean"):
            said = _order(op["mean"])
            if said == "BGR" and order == "RGB":
                yield Finding(
                    subject.span(*_OPS, index, "type"),
                    f"mean {op['mean']} is in the order BGR, the image is RGB here",
                    "a CvtColor with COLOR_RGB2BGR is missing, or the mean is to be turned round",
                )
