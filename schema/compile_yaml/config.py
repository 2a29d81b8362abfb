"""The compile YAML of the vendor's compiler, `vamc`, exactly as it is written.

Typed from the 344 configs that the vendor publishes and from their README files; the compiler
itself is closed.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from vacc_gen.schema.compile_yaml.backend import Backend
from vacc_gen.schema.compile_yaml.dataset import Dataset
from vacc_gen.schema.strict import UNPUBLISHED, ConfigPart, Unverified, optional

Count = Annotated[int, Field(ge=1)]
FixedShape = Annotated[list[Count], Field(min_length=1, max_length=8)]
"""`[1, 3, 224, 224]`"""
ShapeRange = Annotated[
    list[Annotated[list[Count], Field(max_length=8)]], Field(min_length=2, max_length=3)
]
"""`[[prefill], [total]]` of a language model, `[[seq], []]` of an encoder, `[[min..], [max..]]`."""


def _shape_kind(value: Any) -> str:
    if isinstance(value, dict):
        return "profile"
    nested = isinstance(value, list) and any(isinstance(item, list) for item in value)
    return "range" if nested else "fixed"


Shape = Annotated[
    Annotated[FixedShape, Tag("fixed")]
    | Annotated[ShapeRange, Tag("range")]
    | Annotated[dict[str, Any], Tag("profile")],
    Discriminator(_shape_kind),
]
"""Profiles (`min`, `opt`, `max`) are named by a third party only: taken as they are."""


class ModelOptions(ConfigPart):
    """`model_kwargs`: how a Hugging Face model is built."""

    model_arch: Literal["vacc"] | None = optional(
        "vacc: load modeling_*_vacc.py and config_vacc.json of the weight folder first"
    )
    tp: int | None = optional("tensor parallelism in dies, not cards", ge=1, le=128)
    b2s: bool | None = optional("true: for throughput; false or absent: for latency")
    align_qkv: bool | None = optional(
        "may be needed for grouped-query attention where tp does not divide the KV heads"
    )
    build_visual: bool | None = optional("build the vision tower of a vision-language model")
    enable_kv_share: bool | None = optional("obsolete since compiler 3", deprecated="delete it")
    split_embed: Unverified = None
    onnx_cache: Unverified = None
    from_onnx: Unverified = None
    seq_lens: Unverified = None
    dump_layers: Unverified = None
    cached_length: Unverified = None
    insert_slice: Unverified = None


class CalibrationOptions(ConfigPart):
    """`calib_args`: options of the GPTQ pass."""

    true_sequential: bool | None = optional("quantize the layers of a block one after the other")
    wbits: Unverified = None
    damp_percent: Unverified = None
    onegroup: Unverified = None
    blocksize: Unverified = None
    desc_act: Unverified = None
    model_file_base_name: Unverified = None
    model_file_kv_name: Unverified = None


class WeightQuantization(ConfigPart):
    """`frontend.quantize`: how the weights of a language model become int8."""

    type: Literal["w8a16_gptq", "w16kv8"] = Field(
        description="w8a16_gptq: int8 weights by GPTQ; w16kv8: 16-bit weights, int8 KV cache"
    )
    device: str | None = optional(
        "where the GPTQ pass runs; read by `vamc quant`", pattern=r"^(cpu|cuda(:\d+)?)$"
    )
    calib_args: CalibrationOptions | None = optional("options of the GPTQ pass")


class Frontend(ConfigPart):
    """Which model is read, from what kind of file, in which shapes."""

    checkpoint: str = Field(
        description="weight folder (huggingface) or model file", min_length=1, max_length=4096
    )
    type: Literal["huggingface", "onnx", "pytorch", "keras", "tensorflow", "darknet"] | None = (
        optional("kind of checkpoint; detected from the file's suffix when absent")
    )
    shape: dict[str, Shape] = Field(
        description="per input a static shape, a range of two shapes, or for a language model "
        "[[prefill], [total]] in tokens",
        min_length=1,
    )
    dtype: Literal["fp32", "fp16", "int64", "int32", "int8", "uint8"] | None = optional(
        "element type of the inputs; fp32 when absent"
    )
    model_kwargs: ModelOptions | None = optional("how a Hugging Face model is built")
    quantize: WeightQuantization | None = optional("how a language model's weights become int8")


Version = Annotated[str, Field(pattern=r"^\d[\w.+!*-]*$")]
"""A version as pip knows it, in quotes where it would be a number: 4.51.3, "4.45"."""

Score = Annotated[float, Field(ge=0, le=1)]
Three = Field(min_length=3, max_length=3)
Box = Annotated[list[float], Field(min_length=6, max_length=6)]
"""Two corners: x, y, z, x, y, z in metres."""

EXTRA_OPS = (
    "softmax",
    "insert_odma",
    *(f"yolov{version}_nms" for version in range(3, 13)),
    "yolox_nms",
    "centerpoint_nms",
    "pointpillar_nms",
)
"""Ops of published configs and their neighbours; the compiler may know more."""


class ExtraOpParams(ConfigPart):
    """Parameters of a post-processing op; which op reads which is typed from use."""

    num_classes: Count | None = optional("classes of the detector")
    confidence_threshold: Score | None = optional("boxes with lower scores are dropped (yolo)")
    nms_threshold: Score | None = optional("overlap that drops the weaker box (yolo)")
    strides: list[Count] | None = optional("strides of the output maps")
    anchor: list[Annotated[float, Field(gt=0)]] | None = optional("widths, heights in pixels")
    seg_enable: bool | None = optional("the model also segments")
    score_thresh: Score | None = optional("as above (centerpoint)")
    nms_thresh: Score | None = optional("as above (centerpoint, pointpillar)")
    confidence_thresh: Score | None = optional("as above (pointpillar)")
    nms_topk: Count | None = optional("boxes before suppression (pointpillar)")
    post_nms: Count | None = optional("boxes after suppression (pointpillar)")
    nms_pre_max: Count | None = optional("boxes before suppression (centerpoint)")
    nms_post_max: Count | None = optional("boxes after suppression (centerpoint)")
    max_obj_per_sample: Count | None = optional("boxes in all (centerpoint)")
    feature_map_stride: Count | None = optional("stride of the output map (centerpoint)")
    voxel_size: Annotated[list[float], Three] | None = optional("x, y, z in metres")
    point_cloud_range: Box | None = optional("box that is looked at")
    post_center_limit_range: Box | None = optional("box that centres have to lie in (centerpoint)")
    grid_stride: Annotated[list[Count], Three] | None = optional("by axis (pointpillar)")
    anchor_size: list[float] | None = optional("x, y, z of each anchor in metres (pointpillar)")
    anchor_rotations: list[float] | None = optional("radians (pointpillar)")
    anchor_heights: list[float] | None = optional("metres (pointpillar)")
    dir_offset: float | None = optional("radians (pointpillar)")
    dir_limit_offset: float | None = optional("radians (pointpillar)")


class ExtraOps(ConfigPart):
    """An op that follows the model's outputs."""

    type: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", examples=list(EXTRA_OPS))] | None = (
        Field(description="the op; null: none")
    )
    params: ExtraOpParams | None = optional("its parameters")


class Graph(ConfigPart):
    """What is added to the graph."""

    extra_ops: ExtraOps = Field(description="an op that follows the model's outputs")


class Workspace(ConfigPart):
    """Where the compiler writes, and how it runs."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"required": ["work_dir"], "properties": {"work_dir": {"type": "string"}}},
            "else": {"required": ["path"], "properties": {"path": {"type": "string"}}},
        }
    )

    path: str | None = optional(
        "folder for the output; artefacts land in <path>/<name>/mod*", min_length=1, max_length=4096
    )
    workers: int | None = optional("processes that the compiler may start", ge=1)
    pyenv: dict[str, Version] | None = optional("pins of an isolated environment, by package")
    env_recheck: bool | None = optional("check the environment again; " + UNPUBLISHED)
    work_dir: str | None = optional(
        "the name of `path` in the older `vamc build`",
        min_length=1,
        deprecated="write `path` instead",
    )
    enable_ir: bool | None = optional("of the older `vamc build`", deprecated="delete it")
    save_log: bool | None = optional("of the older `vamc build`", deprecated="delete it")

    @model_validator(mode="after")
    def _has_a_folder(self) -> Workspace:
        if self.path is None and self.work_dir is None:
            raise PydanticCustomError("missing_key", "`path` is missing", {"key": "path"})
        return self


class CompileConfig(ConfigPart):
    """One compile config: one model, one precision, one set of shapes."""

    name: str = Field(
        description="output folder below workspace.path, by custom with precision, tp and lengths",
        min_length=1,
        max_length=255,
        pattern=r"^[^/\\]+$",
    )
    frontend: Frontend = Field(description="the model that is read")
    backend: Backend = Field(description="what is made of it")
    graph: Graph | None = optional("ops that are added to the graph")
    dataset: Dataset | None = optional("calibration data for int8")
    workspace: Workspace = Field(description="where the output goes")
