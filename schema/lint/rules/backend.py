"""VG4: do precision, quantizer and build options go together?"""

from __future__ import annotations

from collections.abc import Iterator

from vacc_gen.schema.lint import fixes as edits
from vacc_gen.schema.lint.diagnostics import Severity
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.rules._facts import is_contradicted, is_huggingface, may_be_huggingface
from vacc_gen.schema.lint.subject import Finding, Subject


@rule("VG401", Severity.ERROR, "int8 without data or method")
def int8_without_data(subject: Subject) -> Iterator[Finding]:
    """int8 needs ranges: from a `dataset`, or from GPTQ (`frontend.quantize`) for language models.

    Bad:
        backend:
          dtype: int8
    Good:
        backend:
          dtype: int8
        dataset:
          type: tvm
          path: ./calibration
          sampler:
            suffix: jpg
            get_data_num: 50
    """
    if subject.get("backend", "dtype") != "int8":
        return
    misplaced = [problem.facts["key"] for problem in subject.problems.get("misplaced-section", ())]
    if "quantize" in misplaced or "dataset" in misplaced:
        return  # VG107
    if not subject.has("frontend"):
        return  # VG102
    if subject.lacks("dataset") and subject.lacks("frontend", "quantize"):
        wanted = "`frontend.quantize`" if is_huggingface(subject) else "a `dataset`"
        yield Finding(
            subject.span("backend", "dtype"),
            "int8 with neither `dataset` nor `frontend.quantize`",
            f"add {wanted}, or compile to fp16",
        )


@rule("VG402", Severity.INFO, "GPTQ without a dataset", default=False)
def gptq_without_dataset(subject: Subject) -> Iterator[Finding]:
    """`w8a16_gptq` is calibrated on text; without `dataset` the compiler chooses which.

    Bad:
        backend:
          dtype: int8
        frontend:
          quantize:
            type: w8a16_gptq
    Good:
        backend:
          dtype: int8
        frontend:
          quantize:
            type: w8a16_gptq
        dataset:
          type: huggingface
          name: alpaca
          path: ./alpaca.json
          nsamples: 128
          seqlen: 512
    """
    gptq = subject.get("frontend", "quantize", "type") == "w8a16_gptq"
    if gptq and subject.lacks("dataset"):
        yield Finding(
            subject.span("frontend", "quantize", "type"),
            "GPTQ without `dataset`: which data will it use?",
            "name alpaca, c4 or ceval in a `dataset` of type huggingface",
        )


@rule("VG403", Severity.INFO, "quantizer options without effect", default=False, fix="none")
def dead_quantize(subject: Subject) -> Iterator[Finding]:
    """`backend.quantize` is for int8; an fp16 build does not read it.

    Bad:
        backend:
          dtype: fp16
          quantize:
            calibrate_mode: max
    Good:
        backend:
          dtype: fp16
    """
    if subject.get("backend", "dtype") == "fp16" and subject.has("backend", "quantize"):
        yield Finding(
            subject.key_span("backend", "quantize"),
            "an fp16 build does not quantize",
            "delete `quantize`, or compile to int8",
        )


@rule("VG404", Severity.WARNING, "int8 without a calibration mode", fix="none")
def no_calibrate_mode(subject: Subject) -> Iterator[Finding]:
    """How ranges are taken from the data decides about the accuracy; the default is not published.

    Bad:
        backend:
          dtype: int8
          quantize:
            quantize_per_channel: true
        dataset:
          type: tvm
          path: ./calibration
          sampler:
            suffix: jpg
            get_data_num: 50
    Good:
        backend:
          dtype: int8
          quantize:
            quantize_per_channel: true
            calibrate_mode: percentile
        dataset:
          type: tvm
          path: ./calibration
          sampler:
            suffix: jpg
            get_data_num: 50
    """
    if subject.get("backend", "dtype") != "int8" or may_be_huggingface(subject):
        return
    if not subject.lacks("backend", "quantize", "calibrate_mode") or subject.lacks("dataset"):
        return
    where = ("backend", "quantize") if subject.has("backend", "quantize") else ("backend", "dtype")
    section = subject.node(*where)
    if section is None:
        return
    yield Finding(
        subject.key_span(*where),
        "`calibrate_mode` is missing in `backend.quantize`",
        "one of percentile, kl_divergence, max, mse",
    )


@rule("VG405", Severity.WARNING, "data_type contradicts dtype", fix="unsafe")
def data_type(subject: Subject) -> Iterator[Finding]:
    """`data_type` is 2 for an int8 build and 0 for fp16 (open-mmlab/mmdeploy, onnx2vacc.py).

    Language models use 0 for both, so they are left out.

    Bad:
        backend:
          dtype: fp16
          compile:
            data_type: 2
    Good:
        backend:
          dtype: fp16
          compile:
            data_type: 0
    """
    dtype, written = subject.get("backend", "dtype"), subject.get("backend", "compile", "data_type")
    if dtype is None or written is None:
        return
    unknown = may_be_huggingface(subject) and not is_huggingface(subject)
    if dtype == "int8" and (unknown or is_contradicted(subject)):
        return
    right = 2 if dtype == "int8" and not is_huggingface(subject) else 0
    if written != right:
        span = subject.span("backend", "compile", "data_type")
        yield Finding(
            span,
            f"`data_type` {written} with dtype {dtype}",
            f"{dtype} builds have {right}",
            edits.replace(span, str(right), safe=False),
        )


@rule("VG406", Severity.WARNING, "weight quantization without effect")
def gptq_with_fp16(subject: Subject) -> Iterator[Finding]:
    """`frontend.quantize` makes weights or KV cache int8, and the backend is to be fp16.

    Every published config with `frontend.quantize` has `dtype: int8`.

    Bad:
        backend:
          dtype: fp16
        frontend:
          quantize:
            type: w8a16_gptq
    Good:
        backend:
          dtype: int8
        frontend:
          quantize:
            type: w8a16_gptq
    """
    if subject.get("backend", "dtype") == "fp16" and is_huggingface(subject):
        kind = subject.get("frontend", "quantize", "type")
        if kind is not None:
            yield Finding(
                subject.span("backend", "dtype"),
                f"dtype fp16 with `frontend.quantize` {kind}",
                "write int8, or delete `frontend.quantize`",
            )


_YOLO = frozenset(
    ("num_classes", "nms_threshold", "confidence_threshold", "strides", "anchor", "seg_enable")
)
_READ_BY = {
    "softmax": frozenset[str](),
    "insert_odma": frozenset[str](),
    "centerpoint_nms": frozenset(
        (
            "score_thresh",
            "nms_thresh",
            "feature_map_stride",
            "nms_post_max",
            "nms_pre_max",
            "max_obj_per_sample",
            "voxel_size",
            "post_center_limit_range",
            "point_cloud_range",
            "num_classes",
        )
    ),
    "pointpillar_nms": frozenset(
        (
            "point_cloud_range",
            "voxel_size",
            "grid_stride",
            "num_classes",
            "nms_topk",
            "post_nms",
            "confidence_thresh",
            "nms_thresh",
            "dir_offset",
            "dir_limit_offset",
            "anchor_size",
            "anchor_rotations",
            "anchor_heights",
        )
    ),
}


@rule("VG407", Severity.WARNING, "parameter of another extra op")
def foreign_parameter(subject: Subject) -> Iterator[Finding]:
    """The op does not have this parameter in any published config; another op does.

    Bad:
        graph:
          extra_ops:
            type: yolov8_nms
            params:
              num_classes: 80
              confidence_thresh: 0.25
    Good:
        graph:
          extra_ops:
            type: yolov8_nms
            params:
              num_classes: 80
              confidence_threshold: 0.25
    """
    op, params = (
        subject.get("graph", "extra_ops", "type"),
        subject.node("graph", "extra_ops", "params"),
    )
    if not isinstance(op, str) or params is None or not isinstance(params.value, dict):
        return
    read = _YOLO if op.startswith("yolo") else _READ_BY.get(op)
    if read is None:
        return
    from vacc_gen.schema.lint.suggestions import ranked

    known = frozenset().union(_YOLO, *_READ_BY.values())
    for key, entry in params.value.items():
        if key in read or key not in known:
            continue
        near = [name for _, name in ranked(key, sorted(read - set(params.value)))]
        near += [name for name in sorted(read - set(params.value)) if name.startswith(key)]
        yield Finding(
            entry.key_span,
            f"`{key}` is not a parameter of {op}",
            f"did you mean `{near[0]}`?" if near else "another op reads it",
        )


@rule("VG408", Severity.WARNING, "anchors do not match the strides")
def anchors(subject: Subject) -> Iterator[Finding]:
    """Each stride has the same number of anchors, and an anchor is a width and a height.

    Bad:
        graph:
          extra_ops:
            type: yolov5_nms
            params:
              anchor: [10, 13, 16, 30]
              strides: [8, 16, 32]
    Good:
        graph:
          extra_ops:
            type: yolov5_nms
            params:
              anchor: [10, 13, 16, 30, 33, 23]
              strides: [8, 16, 32]
    """
    found = subject.get("graph", "extra_ops", "params", "anchor")
    strides = subject.get("graph", "extra_ops", "params", "strides")
    if found and strides and len(found) % (2 * len(strides)):
        yield Finding(
            subject.span("graph", "extra_ops", "params", "anchor"),
            f"{len(found)} anchor sizes for {len(strides)} strides",
            f"their number is a multiple of {2 * len(strides)}",
        )
