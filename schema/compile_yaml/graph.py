"""`graph` of a compile YAML: post-processing that is compiled into the model."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from vacc_gen.schema.compile_yaml.part import ConfigPart, also_written

Count = Annotated[int, Field(ge=1)]
Score = Annotated[float, Field(ge=0, le=1)]
Box = Annotated[list[float], Field(min_length=6, max_length=6)]
"""Two corners: x, y, z, x, y, z in metres."""

EXTRA_OPS = (
    "softmax",
    "insert_odma",
    "yolov3_nms",
    "yolov4_nms",
    "yolov5_nms",
    "yolov6_nms",
    "yolov7_nms",
    "yolov8_nms",
    "yolov9_nms",
    "yolov10_nms",
    "yolov11_nms",
    "yolov12_nms",
    "yolox_nms",
    "centerpoint_nms",
    "pointpillar_nms",
)
"""Ops of published configs and their neighbours; the compiler may know more."""


class ExtraOpParams(ConfigPart):
    """Parameters of a post-processing op; which op reads which is typed from use."""

    num_classes: Count | None = Field(
        default=None,
        description="classes of the detector",
        json_schema_extra=also_written("nc", "class_num"),
    )
    confidence_threshold: Score | None = Field(
        default=None,
        description="boxes with lower scores are dropped (yolo)",
        json_schema_extra=also_written("conf_thres", "conf"),
    )
    nms_threshold: Score | None = Field(
        default=None,
        description="overlap above which the weaker box is dropped (yolo)",
        json_schema_extra=also_written("iou_threshold", "iou_thres"),
    )
    strides: list[Count] | None = Field(default=None, description="strides of the output maps")
    anchor: list[Annotated[float, Field(gt=0)]] | None = Field(
        default=None,
        description="widths and heights of the anchors in pixels",
        json_schema_extra=also_written("anchors"),
    )
    seg_enable: bool | None = Field(default=None, description="the model also segments")
    score_thresh: Score | None = Field(default=None, description="as above (centerpoint)")
    nms_thresh: Score | None = Field(
        default=None, description="as above (centerpoint, pointpillar)"
    )
    confidence_thresh: Score | None = Field(default=None, description="as above (pointpillar)")
    nms_topk: Count | None = Field(
        default=None, description="boxes before suppression (pointpillar)"
    )
    post_nms: Count | None = Field(
        default=None, description="boxes after suppression (pointpillar)"
    )
    nms_pre_max: Count | None = Field(
        default=None, description="boxes before suppression (centerpoint)"
    )
    nms_post_max: Count | None = Field(
        default=None, description="boxes after suppression (centerpoint)"
    )
    max_obj_per_sample: Count | None = Field(default=None, description="boxes in all (centerpoint)")
    feature_map_stride: Count | None = Field(
        default=None, description="stride of the output map (centerpoint)"
    )
    voxel_size: Annotated[list[float], Field(min_length=3, max_length=3)] | None = Field(
        default=None, description="x, y, z in metres"
    )
    point_cloud_range: Box | None = Field(default=None, description="box that is looked at")
    post_center_limit_range: Box | None = Field(
        default=None, description="box that centres have to lie in (centerpoint)"
    )
    grid_stride: Annotated[list[Count], Field(min_length=3, max_length=3)] | None = Field(
        default=None, description="by axis (pointpillar)"
    )
    anchor_size: list[float] | None = Field(
        default=None, description="x, y, z of each anchor in metres (pointpillar)"
    )
    anchor_rotations: list[float] | None = Field(default=None, description="radians (pointpillar)")
    anchor_heights: list[float] | None = Field(default=None, description="metres (pointpillar)")
    dir_offset: float | None = Field(default=None, description="radians (pointpillar)")
    dir_limit_offset: float | None = Field(default=None, description="radians (pointpillar)")


class ExtraOps(ConfigPart):
    """An op that follows the model's outputs."""

    type: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", examples=list(EXTRA_OPS))] | None = (
        Field(description="the op; null: none")
    )
    params: ExtraOpParams | None = Field(default=None, description="its parameters")


class Graph(ConfigPart):
    """What is added to the graph."""

    extra_ops: ExtraOps = Field(description="an op that follows the model's outputs")
