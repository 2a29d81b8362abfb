"""VG5: is there calibration data, and do its ops make of it what the model takes?"""

from __future__ import annotations

from collections.abc import Iterator

from vacc_gen.schema.compile_yaml import dataset as ops
from vacc_gen.schema.errors import plural
from vacc_gen.schema.lint.diagnostics import Finding, Severity, listed, plain
from vacc_gen.schema.lint.files import TEXT_INPUTS, ConfigFile, words
from vacc_gen.schema.lint.rule import rule

LEAST_SAMPLES = 10
_LENGTHS = range(64, 1 << 16, 16)
"""Numbers that are likely a sequence length in the name of a folder, not a date or a count."""

_OPS = ("dataset", "process_ops")
_MOST_OF_UNIT_RANGE = 1.5
"""Largest mean or std that may be of values of 0 to 1; larger ones are of 0 to 255."""
_BGR_MEAN = (0.406, 0.456, 0.485)
"""ImageNet's, for values of 0 to 1."""
_GREY_VALUE = 1 / 255
"""Published copies of ImageNet's numbers differ by less than this."""


@rule("VG501", Severity.WARNING, "dataset without data")
def truncated_dataset(file: ConfigFile) -> Iterator[Finding]:
    """A `dataset` says where its files are and how many to take, or which texts to draw.

    Bad:
        frontend: {checkpoint: /models/resnet50.onnx}
        dataset: {path: ./images}
    Good:
        dataset: {path: ./images, sampler: {suffix: jpg, get_data_num: 50}}
    """
    dataset = file.config.dataset
    if dataset is None:
        return
    needed = ("path", "name") if file.text_dataset else ("path", "sampler")
    missing = [key for key in needed if key not in dataset.model_fields_set]
    if missing:
        hint = "say where the data is, and which of it to take"
        yield Finding(file.key_at("dataset"), f"`dataset` lacks {listed(missing)}", hint)


@rule("VG502", Severity.WARNING, "few calibration samples")
def few_samples(file: ConfigFile) -> Iterator[Finding]:
    """Ranges from fewer than ten samples are those of the samples, not of the data.

    Published int8 configs take 50 for images and 10 for texts.

    Bad:
        backend: {dtype: int8, quantize: {calibrate_mode: max}}
        dataset: {path: ./images, sampler: {suffix: jpg, get_data_num: 1}}
    Good:
        backend: {dtype: int8, quantize: {calibrate_mode: max}}
        dataset: {path: ./images, sampler: {suffix: jpg, get_data_num: 50}}
    """
    if file.config.backend.dtype != "int8":
        return
    sampler = file.file_dataset.sampler if file.file_dataset else None
    for steps, number in (
        (("dataset", "sampler", "get_data_num"), sampler.get_data_num if sampler else None),
        (("dataset", "nsamples"), file.text_dataset.nsamples if file.text_dataset else None),
    ):
        if number is not None and number < LEAST_SAMPLES:
            message = f"only {plural(number, 'calibration sample')} for int8"
            yield Finding(file.at(*steps), message, f"take {LEAST_SAMPLES} or more")


@rule("VG508", Severity.WARNING, "calibration data of another length")
def calibration_length(file: ConfigFile) -> Iterator[Finding]:
    """The path of the data has a sequence length in it, and the model's inputs have another.

    Bad:
        frontend: {dtype: int64, shape: {input_ids: [1, 128]}}
        dataset: {path: ./calib_384, sampler: {suffix: npz, get_data_num: 10}}
    Good:
        frontend: {dtype: int64, shape: {input_ids: [1, 384]}}
        dataset: {path: ./calib_384, sampler: {suffix: npz, get_data_num: 10}}
    """
    path = file.config.dataset.path if file.config.dataset else None
    numbers = [int(word) for word in words(path or "") if word.isdigit()]
    named = [number for number in numbers if number in _LENGTHS]
    for name, shape in file.shapes.items():
        match shape:
            case [int(), int(length)] | [[int(length)], []] if TEXT_INPUTS.match(name):
                if named and length not in named:
                    data = f"by its path the data is of length {named[-1]}"
                    hint = f"take data of length {length}, or change the shape"
                    span = file.at("dataset", "path")
                    yield Finding(span, f"{data}, but the inputs are {length}", hint)
                return


def _image_shape(file: ConfigFile) -> tuple[int, int, int] | None:
    """Return channels, height and width of the one image input, or None."""
    shapes = [shape for shape in file.fixed_shapes.values() if len(shape) == 4]
    if len(shapes) != 1:
        return None
    _, first, second, third = shapes[0]
    if first > 4 and third <= 4:  # channels last
        return third, first, second
    return (first, second, third) if first <= 4 else None


def _size_after(op: ops.ProcessOp, size: list[int] | None) -> list[int] | None:
    """Return height and width of an image after an op, None where they depend on the file.

    One of them is -1 where only the longer side is known.
    """
    if isinstance(op, ops.Resize):
        has_longer_side = op.adaptive_side == "long" and max(op.size) > 0
        return op.size if -1 not in op.size or has_longer_side else None
    if isinstance(op, ops.CenterCrop):
        return op.crop_size
    if isinstance(op, ops.Pad) and op.pad_to_square and size:
        return [max(size)] * 2
    return None if isinstance(op, (ops.CustomFunc, ops.Pad)) else size


@rule("VG503", Severity.WARNING, "images do not end at the input's size")
def final_size(file: ConfigFile) -> Iterator[Finding]:
    """The last resize, crop or pad makes images of another size than the model's input.

    Bad:
        dataset: {process_ops: [{type: Resize, size: [256, 256]}]}
    Good:
        dataset: {process_ops: [{type: CenterCrop, crop_size: [224, 224]}]}
    """
    shape = _image_shape(file)
    if shape is None or not file.process_ops:
        return
    wanted, size, place = list(shape[1:]), None, None
    for index, op in enumerate(file.process_ops):
        size = _size_after(op, size)
        if isinstance(op, (ops.Resize, ops.CenterCrop, ops.CustomFunc)):
            place = file.at(*_OPS, index, "size" if isinstance(op, ops.Resize) else "crop_size")
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
        if isinstance(op, ops.Resize) and op.size.count(-1) != (op.adaptive_side is not None):
            message = f"size {op.size} {'with' if op.adaptive_side else 'without'} `adaptive_side`"
            hint = "one side is -1 with `adaptive_side`, and none without it"
            yield Finding(file.at(*_OPS, index, "size"), message, hint)


@rule("VG505", Severity.ERROR, "mean and std that do not fit the image")
def normalization(file: ConfigFile) -> Iterator[Finding]:
    """Mean and std have one value, or one for each channel, of the range that the image has here.

    With `div255: true`, or without `div255`, that is 0 to 1; with `false` it is 0 to 255.

    Bad:
        dataset: {process_ops: [{type: Normalize, mean: [123.7, 116.3, 103.5], std: [58, 57, 57]}]}
    Good:
        dataset: {process_ops: [{type: Normalize, mean: [0.49, 0.46, 0.4], std: [0.2, 0.2, 0.2]}]}
    """
    shape = _image_shape(file)
    channels = shape[0] if shape else None
    for index, op in enumerate(file.process_ops):
        channels = 1 if isinstance(op, ops.ChannelSplit) else channels
        if not isinstance(op, ops.Normalize):
            continue
        is_null = op.div255 is None and "div255" in op.model_fields_set  # what that means: unknown
        used = 255 if op.div255 is False else 1
        for key, values, neutral in (("mean", op.mean or [0], 0), ("std", op.std or [1], 1)):
            meant = 255 if max(map(abs, values)) > _MOST_OF_UNIT_RANGE else 1
            is_neutral = all(value == neutral for value in values)
            if channels is not None and len(values) not in (1, channels):
                found = plural(len(values), "value")
                message = f"`{key}` has {found} for {plural(channels, 'channel')}"
                hint = "one for each channel, or a single one"
            elif meant != used and not is_neutral and not is_null:
                message = f"`{key}` is for values of 0 to {meant}, but here they are 0 to {used}"
                hint = f"write `div255: {plain(used == 255)}`, or scale mean and std"
            else:
                continue
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
        if isinstance(op, ops.CvtColor):
            order = op.code.rpartition("2")[2]
        mean = op.mean if isinstance(op, ops.Normalize) and op.mean is not None else []
        scale = 255 if max(mean, default=0) > 1 else 1
        pairs = zip(mean, _BGR_MEAN, strict=False)
        differences = [abs(value / scale - of_bgr) for value, of_bgr in pairs]
        if order == "RGB" and len(mean) == len(_BGR_MEAN) and max(differences) < _GREY_VALUE:
            message = f"mean {mean} is in the order BGR, but the image is RGB here"
            hint = "add a CvtColor with COLOR_RGB2BGR before it, or reverse mean and std"
            yield Finding(file.at(*_OPS, index, "type"), message, hint)
