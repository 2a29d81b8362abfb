"""VG4 and VG11: do precision, quantizer and build options go together, as published ones do?"""

from __future__ import annotations

from collections.abc import Iterator

from vacc_gen.schema.compile_yaml.backend import CALIBRATE_MODES, QuantizeOptions
from vacc_gen.schema.compile_yaml.config import EXTRA_OPS, Workspace
from vacc_gen.schema.compile_yaml.dataset import TextDataset
from vacc_gen.schema.lint.diagnostics import Finding, Severity, as_written, listed, plural
from vacc_gen.schema.lint.files import ConfigFile
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.suggestions import nearest


@rule("VG110", Severity.WARNING, "build option among the quantizer's")
def compile_key_in_quantize(file: ConfigFile) -> Iterator[Finding]:
    """An option of the build is in `backend.quantize`; published configs have it in both sections.

    The one public program that calls the compiler passes build options to the build alone
    (open-mmlab/mmdeploy, onnx2vacc.py).

    Bad:
        backend:
          quantize:
            stream_mode: true
    Good:
        backend:
          compile:
            stream_mode: true
    """
    quantize, build = file.config.backend.quantize, file.config.backend.compile
    for key, field in QuantizeOptions.model_fields.items():
        if quantize is None or not field.deprecated or key not in quantize.model_fields_set:
            continue
        is_in_both = build is not None and key in build.model_fields_set
        yield Finding(
            file.key_at("backend", "quantize", key),
            f"`{key}` is an option of `backend.compile`, not of `backend.quantize`",
            "delete it: `backend.compile` has it too" if is_in_both else "move it",
        )


@rule("VG111", Severity.WARNING, "key of the older compiler")
def legacy_key(file: ConfigFile) -> Iterator[Finding]:
    """A key of the older `vamc build`, or one that compiler 3 no longer needs.

    Bad:
        workspace:
          work_dir: ./vacc_deploy
    Good:
        workspace:
          path: ./vacc_deploy
    """
    given = file.config.workspace.model_fields_set
    older = [
        key for key, field in Workspace.model_fields.items() if field.deprecated and key in given
    ]
    if older:
        verb, pronoun = ("is", "it") if len(older) == 1 else ("are", "them")
        hint = f"delete {pronoun}"
        if "path" not in given:
            hint = "write `path` for `work_dir`" + ("; delete the others" if older[1:] else "")
        message = f"{listed(older)} {verb} of the older `vamc build`"
        yield Finding(file.key_at("workspace", older[0]), message, hint)
    if "enable_kv_share" in file.options.model_fields_set:
        span = file.key_at("frontend", "model_kwargs", "enable_kv_share")
        hint = "delete it: compiler 3 detects shared KV heads itself"
        yield Finding(span, "`enable_kv_share` is obsolete", hint)


_SUFFIXES = (
    *("jpg", "jpeg", "png", "bmp", "npz", "npy", "tif", "tiff", "webp", "gif", "ppm", "pgm"),
    *("jp2", "bin"),
)


@rule("VG114", Severity.WARNING, "value that looks misspelled")
def misspelled_value(file: ConfigFile) -> Iterator[Finding]:
    """A key takes any word, and this one is nearly one that published configs use.

    Names that differ only in a number (`yolov8_nms`, `yolov9_nms`) are not reported.

    Bad:
        graph:
          extra_ops:
            type: sofmax
    Good:
        graph:
          extra_ops:
            type: softmax
    """
    graph, files, texts = file.config.graph, file.file_dataset, file.text_dataset
    suffix = files.sampler.suffix if files and files.sampler else None
    readers = TextDataset.model_fields["name"].examples or ()
    for steps, value, words in (
        (("graph", "extra_ops", "type"), graph.extra_ops.type if graph else None, EXTRA_OPS),
        (("dataset", "sampler", "suffix"), suffix and suffix.removeprefix("."), _SUFFIXES),
        (("dataset", "name"), texts.name if texts else None, readers),
    ):
        meant = nearest(value, words) if value and value.lower() not in words else None
        if value and meant and _without_digits(meant) != _without_digits(value):
            hint = f"did you mean `{meant}`?"
            yield Finding(file.at(*steps), f"{as_written(value)} looks misspelled", hint)
    if suffix and suffix.startswith("."):
        span = file.at("dataset", "sampler", "suffix")
        yield Finding(span, f"the suffix {as_written(suffix)} has a dot", f"write `{suffix[1:]}`")


def _without_digits(word: str) -> str:
    return "".join(letter for letter in word if not letter.isdigit())


@rule("VG401", Severity.ERROR, "int8 without data or method")
def int8_without_data(file: ConfigFile) -> Iterator[Finding]:
    """int8 needs ranges: from a `dataset`, or from GPTQ (`frontend.quantize`) for language models.

    Bad:
        backend:
          dtype: int8
    Good:
        backend:
          dtype: int8
        frontend:
          quantize: {type: w8a16_gptq}
    """
    config = file.config
    if config.backend.dtype == "int8" and not config.dataset and not config.frontend.quantize:
        wanted = "`frontend.quantize`" if file.is_huggingface else "a `dataset`"
        yield Finding(
            file.at("backend", "dtype"),
            "dtype is int8, but there is neither `dataset` nor `frontend.quantize`",
            f"add {wanted}, or compile to fp16",
        )


@rule("VG404", Severity.WARNING, "int8 without a calibration mode")
def no_calibrate_mode(file: ConfigFile) -> Iterator[Finding]:
    """How ranges are taken from the data decides the accuracy; the default is not published.

    Bad:
        backend:
          dtype: int8
        dataset:
          path: ./calibration
          sampler: {suffix: jpg, get_data_num: 50}
    Good:
        backend:
          dtype: int8
          quantize:
            calibrate_mode: percentile
        dataset:
          path: ./calibration
          sampler: {suffix: jpg, get_data_num: 50}
    """
    backend = file.config.backend
    given = backend.quantize.model_fields_set if backend.quantize else set()
    is_calibrated = backend.dtype == "int8" and file.file_dataset and not file.is_huggingface
    if is_calibrated and "calibrate_mode" not in given:
        yield Finding(
            file.key_at("backend", "quantize"),
            "`calibrate_mode` is missing in `backend.quantize`",
            f"set it to one of {', '.join(CALIBRATE_MODES)}",
        )


@rule("VG405", Severity.WARNING, "data_type contradicts dtype")
def data_type(file: ConfigFile) -> Iterator[Finding]:
    """`data_type` is 0 for fp16 and 2 for int8 (open-mmlab/mmdeploy, onnx2vacc.py).

    Language models, which `frontend.quantize` makes int8, have 0 for both.

    Bad:
        backend:
          compile:
            data_type: 2
    Good:
        backend:
          compile:
            data_type: 0
    """
    backend = file.config.backend
    is_language_model = file.config.frontend.quantize is not None
    right = 0 if backend.dtype == "fp16" or is_language_model else 2
    found = backend.compile.data_type if backend.compile else None
    is_known = backend.dtype == "fp16" or is_language_model or file.file_dataset
    if is_known and found is not None and found != right:
        model = " of a language model" if is_language_model else ""
        yield Finding(
            file.at("backend", "compile", "data_type"),
            f"`data_type` is {found}, but `backend.dtype` is {backend.dtype}",
            f"{backend.dtype}{model} takes `data_type: {right}`",
        )


@rule("VG406", Severity.WARNING, "weight quantization without effect")
def gptq_with_fp16(file: ConfigFile) -> Iterator[Finding]:
    """`frontend.quantize` makes weights or KV cache int8, but the backend is to be fp16.

    Every published config with `frontend.quantize` has `dtype: int8`.

    Bad:
        frontend:
          quantize: {type: w8a16_gptq}
    Good:
        backend:
          dtype: int8
        frontend:
          quantize: {type: w8a16_gptq}
    """
    quantize = file.config.frontend.quantize
    if quantize and file.config.backend.dtype == "fp16":
        yield Finding(
            file.at("backend", "dtype"),
            f"dtype is fp16, but `frontend.quantize` is {quantize.type}",
            "write `dtype: int8`, or delete `frontend.quantize`",
        )


_OF_POINTS = ("num_classes", "nms_thresh", "voxel_size", "point_cloud_range")
_READ_BY: dict[str, frozenset[str]] = {
    "softmax": frozenset(),
    "insert_odma": frozenset(),
    "yolo": frozenset(
        ("num_classes", "nms_threshold", "confidence_threshold", "strides", "anchor", "seg_enable")
    ),
    "centerpoint_nms": frozenset(
        (
            *_OF_POINTS,
            *("score_thresh", "feature_map_stride", "nms_post_max", "nms_pre_max"),
            *("max_obj_per_sample", "post_center_limit_range"),
        )
    ),
    "pointpillar_nms": frozenset(
        (
            *_OF_POINTS,
            *("grid_stride", "nms_topk", "post_nms", "confidence_thresh", "dir_offset"),
            *("dir_limit_offset", "anchor_size", "anchor_rotations", "anchor_heights"),
        )
    ),
}
"""Parameters by op, as in published configs; `yolo` stands for yolov3_nms to yolox_nms."""


@rule("VG407", Severity.WARNING, "parameter of another extra op")
def foreign_parameter(file: ConfigFile) -> Iterator[Finding]:
    """The op does not have this parameter in any published config; another op does.

    Bad:
        graph:
          extra_ops:
            type: yolov8_nms
            params: {confidence_thresh: 0.25}
    Good:
        graph:
          extra_ops:
            type: yolov8_nms
            params: {confidence_threshold: 0.25}
    """
    ops = file.config.graph.extra_ops if file.config.graph else None
    if ops is None or ops.type is None or ops.params is None:
        return
    given = ops.params.model_fields_set
    kind = "yolo" if ops.type.startswith("yolo") else ops.type
    read = _READ_BY.get(kind, frozenset(given))
    for key in sorted(given - read):
        twin = key.removesuffix("old") if key.endswith("threshold") else f"{key}old"
        yield Finding(
            file.key_at("graph", "extra_ops", "params", key),
            f"`{key}` is not a parameter of {ops.type}",
            f"did you mean `{twin}`?" if twin in read - given else "another op reads it; delete it",
        )


@rule("VG408", Severity.WARNING, "anchors do not match the strides")
def anchors(file: ConfigFile) -> Iterator[Finding]:
    """Each stride has the same number of anchors, and an anchor is a width and a height.

    Bad:
        graph:
          extra_ops:
            type: yolov5_nms
            params: {anchor: [10, 13, 16, 30], strides: [8, 16, 32]}
    Good:
        graph:
          extra_ops:
            type: yolov5_nms
            params: {anchor: [10, 13, 16, 30, 33, 23], strides: [8, 16, 32]}
    """
    params = file.config.graph.extra_ops.params if file.config.graph else None
    if params and params.anchor and params.strides:
        sizes, step = len(params.anchor), 2 * len(params.strides)
        if sizes % step:
            yield Finding(
                file.at("graph", "extra_ops", "params", "anchor"),
                f"`anchor` has {sizes} values for {plural(step // 2, 'stride')}",
                f"it needs a multiple of {step}: widths and heights for each stride",
            )
