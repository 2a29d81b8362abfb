"""VG5: is there calibration data, and does it become the model's input?"""

from __future__ import annotations

from collections.abc import Iterator

from vacc_gen.schema.lint.diagnostics import Severity
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.rules._facts import is_contradicted, is_huggingface, numbers, text_length
from vacc_gen.schema.lint.subject import Finding, Subject

LEAST_SAMPLES = 10


@rule("VG501", Severity.WARNING, "dataset without data")
def truncated_dataset(subject: Subject) -> Iterator[Finding]:
    """A `dataset` says where its files are and how many to take, or which texts to draw.

    Bad:
        dataset:
          process_ops:
            - type: DecodeImage
            - type: Resize
              size: [224, 224]
            - type: ToTensor
    Good:
        dataset:
          type: tvm
          path: ./images
          sampler:
            suffix: jpg
            get_data_num: 50
          process_ops:
            - type: DecodeImage
            - type: Resize
              size: [224, 224]
            - type: ToTensor
    """
    section = subject.node("dataset")
    if section is None or not isinstance(section.value, dict) or not section.value:
        return
    texts = subject.get("dataset", "type") == "huggingface"
    if subject.get("dataset", "type") is None and not subject.lacks("dataset", "type"):
        return  # of which kind, is wrong already
    needed = ("path", "name") if texts else ("path", "sampler")
    missing = [key for key in needed if subject.lacks("dataset", key)]
    if missing:
        is_are = "is" if len(missing) == 1 else "are"
        yield Finding(
            subject.key_span("dataset"),
            f"{' and '.join(f'`{key}`' for key in missing)} {is_are} missing in `dataset`",
            "say which texts to draw" if texts else "say where the files are, and how many to take",
        )


@rule("VG510", Severity.WARNING, "dataset that nothing reads")
def unread_dataset(subject: Subject) -> Iterator[Finding]:
    """A language model's `dataset` is what GPTQ is calibrated on, and an fp16 build does none.

    Bad:
        backend:
          dtype: fp16
        dataset:
          type: huggingface
          name: alpaca
          path: ./alpaca.json
          nsamples: 128
          seqlen: 512
    Good:
        backend:
          dtype: fp16
    """
    fp16 = subject.get("backend", "dtype") == "fp16" and is_huggingface(subject)
    if (
        fp16
        and not is_contradicted(subject)
        and subject.has("dataset")
        and subject.lacks("frontend", "quantize")
    ):
        yield Finding(
            subject.key_span("dataset"),
            "an fp16 build of a language model reads no `dataset`",
            "delete it, or compile to int8 with `frontend.quantize`",
        )


@rule("VG502", Severity.WARNING, "few calibration samples")
def few_samples(subject: Subject) -> Iterator[Finding]:
    """Ranges that come from fewer than ten samples are those of the samples, not of the data.

    Published int8 configs take 50 for images and 10 for texts.

    Bad:
        backend:
          dtype: int8
        dataset:
          type: tvm
          path: ./images
          sampler:
            suffix: jpg
            get_data_num: 1
    Good:
        backend:
          dtype: int8
        dataset:
          type: tvm
          path: ./images
          sampler:
            suffix: jpg
            get_data_num: 50
    """
    for steps in (("dataset", "sampler", "get_data_num"), ("dataset", "nsamples")):
        number = subject.get(*steps)
        few = number is not None and number < LEAST_SAMPLES
        if few and subject.get("backend", "dtype") == "int8":
            plural = "" if number == 1 else "s"
            yield Finding(
                subject.span(*steps),
                f"{number} calibration sample{plural} for int8",
                f"take {LEAST_SAMPLES} or more",
            )


@rule("VG508", Severity.WARNING, "calibration data of another length")
def calibration_length(subject: Subject) -> Iterator[Finding]:
    """The path names a sequence length, and the inputs have another.

    Bad:
        frontend:
          type: onnx
          checkpoint: /models/bert.onnx
          dtype: int64
          shape:
            input_ids: [1, 128]
        dataset:
          type: tvm
          path: ./calib_384
          sampler:
            suffix: npz
            get_data_num: 10
    Good:
        frontend:
          type: onnx
          checkpoint: /models/bert.onnx
          dtype: int64
          shape:
            input_ids: [1, 384]
        dataset:
          type: tvm
          path: ./calib_384
          sampler:
            suffix: npz
            get_data_num: 10
    """
    length, path = text_length(subject), subject.get("dataset", "path")
    if length is None or not isinstance(path, str):
        return
    said = [number for number in numbers(path) if number >= 64 and number % 16 == 0]
    if said and length not in said:
        yield Finding(
            subject.span("dataset", "path"),
            f"the calibration data is for length {said[-1]} by its path, the inputs have {length}",
        )
