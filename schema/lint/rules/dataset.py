"""VG5: is there calibration data, and is it for this model?"""

from __future__ import annotations

from collections.abc import Iterator

from vacc_gen.schema.errors import plural
from vacc_gen.schema.lint.diagnostics import Finding, Severity, listed
from vacc_gen.schema.lint.files import TEXT_INPUTS, ConfigFile, words
from vacc_gen.schema.lint.rule import rule

LEAST_SAMPLES = 10
_LENGTHS = range(64, 1 << 16, 16)
"""Numbers that are likely a sequence length in the name of a folder, not a date or a count."""


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
