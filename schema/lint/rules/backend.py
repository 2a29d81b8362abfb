"""VG4 and VG11: do precision, quantizer and build options go together, as published ones do?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from vacc_gen.schema.compile_yaml.backend import CalibrateMode
from vacc_gen.schema.compile_yaml.config import CompileConfig
from vacc_gen.schema.lint.diagnostics import Finding, Severity
from vacc_gen.schema.lint.files import ConfigFile
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.suggestions import sections


@rule("VG111", Severity.WARNING, "deprecated key")
def deprecated_key(file: ConfigFile) -> Iterator[Finding]:
    """A key of the older `vamc build`, one that compiler 3 no longer needs, or one that moved.

    Bad:
        workspace: {work_dir: ./vacc_deploy}
    Good:
        workspace: {path: ./vacc_deploy}
    """
    for section, (model, *_) in sections(CompileConfig).items():
        for key, field in model.model_fields.items():
            if field.deprecated and file.document.node(*section, key) is not None:
                message = f"`{key}` is {field.description}"
                yield Finding(file.key_at(*section, key), message, str(field.deprecated))


@rule("VG401", Severity.ERROR, "dtype that does not go with data and method")
def dtype_and_method(file: ConfigFile) -> Iterator[Finding]:
    """int8 needs ranges: from a `dataset`, or from GPTQ (`frontend.quantize`) for language models.

    The reverse is a warning: with fp16 `frontend.quantize`, which makes weights or KV cache int8,
    is in no published config.

    Bad:
        backend: {dtype: int8}
    Good:
        backend: {dtype: int8}
        frontend: {quantize: {type: w8a16_gptq}}
    """
    config, span = file.config, file.at("backend", "dtype")
    dtype, quantize = config.backend.dtype, config.frontend.quantize
    if dtype == "int8" and not config.dataset and not quantize:
        message = "dtype is int8, but there is neither `dataset` nor `frontend.quantize`"
        hint = f"add {'`frontend.quantize`' if file.is_huggingface else 'a `dataset`'}"
        yield Finding(span, message, f"{hint}, or compile to fp16")
    elif dtype == "fp16" and quantize:
        message = f"dtype is fp16, but `frontend.quantize` is {quantize.type}"
        hint = "write `dtype: int8`, or delete `frontend.quantize`"
        yield Finding(span, message, hint, None, Severity.WARNING)


@rule("VG404", Severity.WARNING, "int8 without a calibration mode")
def no_calibrate_mode(file: ConfigFile) -> Iterator[Finding]:
    """How ranges are taken from the data decides the accuracy; the default is not published.

    Bad:
        backend: {dtype: int8}
        dataset: {path: ./calibration, sampler: {suffix: jpg, get_data_num: 50}}
    Good:
        backend: {dtype: int8, quantize: {calibrate_mode: percentile}}
    """
    steps = ("backend", "quantize", "calibrate_mode")
    is_calibrated = file.config.backend.dtype == "int8" and file.file_dataset is not None
    if is_calibrated and not file.is_huggingface and file.document.node(*steps) is None:
        message = "`calibrate_mode` is missing in `backend.quantize`"
        hint = f"set it to one of {', '.join(get_args(CalibrateMode))}"
        yield Finding(file.key_at(*steps), message, hint)


@rule("VG405", Severity.WARNING, "data_type contradicts dtype")
def data_type(file: ConfigFile) -> Iterator[Finding]:
    """`data_type` is 0 for fp16 and 2 for int8 (open-mmlab/mmdeploy, onnx2vacc.py).

    Language models, which `frontend.quantize` makes int8, have 0 for both.

    Bad:
        backend: {compile: {data_type: 2}}
    Good:
        backend: {compile: {data_type: 0}}
    """
    backend = file.config.backend
    found = backend.compile.data_type if backend.compile else None
    is_by_gptq = file.config.frontend.quantize is not None
    right = 0 if backend.dtype == "fp16" or is_by_gptq else 2 if file.file_dataset else found
    if found not in (None, right):
        message = f"`data_type` is {found}, but `backend.dtype` is {backend.dtype}"
        what = f"{backend.dtype} by `frontend.quantize`" if is_by_gptq else backend.dtype
        hint = f"{what} takes `data_type: {right}`"
        yield Finding(file.at("backend", "compile", "data_type"), message, hint)
