"""VG3: is the model read as what it is, and built as published ones are?"""

from __future__ import annotations

from collections.abc import Iterator

from vacc_gen.schema.lint.diagnostics import Finding, Severity
from vacc_gen.schema.lint.files import MODEL_FILES, WEIGHT_FOLDER_FILES, ConfigFile
from vacc_gen.schema.lint.rule import rule

_DETECTED = (".onnx", ".pb")
"""Suffixes of the checkpoints for which published configs leave `frontend.type` out."""


@rule("VG301", Severity.ERROR, "checkpoint and frontend.type contradict each other")
def checkpoint_against_type(file: ConfigFile) -> Iterator[Finding]:
    """`frontend.type` chooses the reader, and this checkpoint is of another kind.

    A URL is a warning: some published configs have one, and the compiler fetches nothing.

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


@rule("VG307", Severity.WARNING, "model_kwargs without model_arch")
def no_model_arch(file: ConfigFile) -> Iterator[Finding]:
    """Without `model_arch: vacc` the patched modeling file of the weight folder is not loaded.

    Every published Hugging Face config has it.

    Bad:
        frontend:
          model_kwargs: {tp: 4}
    Good:
        frontend:
          model_kwargs: {tp: 4, model_arch: vacc}
    """
    frontend = file.config.frontend
    if frontend.type not in (None, "huggingface") or frontend.model_kwargs is None:
        return
    if frontend.model_kwargs.model_arch is None:
        message = "`model_arch` is missing in `frontend.model_kwargs`"
        hint = "write `model_arch: vacc`; without it modeling_*_vacc.py is not loaded"
        yield Finding(file.key_at("frontend", "model_kwargs"), message, hint)


@rule("VG308", Severity.WARNING, "language model without tp")
def no_tp(file: ConfigFile) -> Iterator[Finding]:
    """Tensor parallelism is fixed at compile time; what the compiler takes without `tp` is not
    published.

    Bad:
        frontend:
          model_kwargs: {model_arch: vacc}
    Good:
        frontend:
          model_kwargs: {model_arch: vacc, tp: 4}
    """
    frontend = file.config.frontend
    has_cache = file.lengths is not None and file.lengths.total is not None
    is_for_gpu = frontend.quantize is not None and frontend.quantize.device is not None
    if has_cache and file.options.tp is None and not is_for_gpu:
        said = file.tp_in_name
        hint = "write `tp: N`, the number of dies that the model runs on"
        if said is not None:
            hint = f"the name says tp{said}: write `tp: {said}`"
        message = "`tp` is missing in `frontend.model_kwargs`"
        yield Finding(file.key_at("frontend", "model_kwargs", "tp"), message, hint)


@rule("VG113", Severity.WARNING, "frontend type that cannot be detected")
def undetected_type(file: ConfigFile) -> Iterator[Finding]:
    """`frontend.type` is absent, and published configs leave it out only for .onnx and .pb files.

    Bad:
        # resnet50.yml
        name: resnet50
        frontend: {checkpoint: resnet50.pt, shape: {input: [1, 3, 224, 224]}}
        backend: {type: tvm_vacc, dtype: fp16}
        workspace: {path: ./out}
    Good:
        # resnet50.yml
        name: resnet50
        frontend: {checkpoint: resnet50.pt, type: pytorch, shape: {input: [1, 3, 224, 224]}}
        backend: {type: tvm_vacc, dtype: fp16}
        workspace: {path: ./out}
    """
    frontend, suffix = file.config.frontend, file.checkpoint_suffix
    if "type" not in frontend.model_fields_set and suffix not in _DETECTED:
        kind = "huggingface" if file.is_huggingface else MODEL_FILES.get(suffix)
        hint = f"write `type: {kind}`" if kind else "write what kind of checkpoint it is"
        yield Finding(file.key_at("frontend"), "`type` is missing in `frontend`", hint)
