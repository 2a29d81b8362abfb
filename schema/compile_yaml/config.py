"""The compile YAML of the vendor's compiler, `vamc`, exactly as it is written.

Typed from the 344 configs that the vendor publishes and from their README files; the compiler
itself is closed. An option whose meaning nobody has published says "meaning not published; typed
from use".
"""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from vacc_gen.schema.compile_yaml.backend import Backend
from vacc_gen.schema.compile_yaml.dataset import Dataset
from vacc_gen.schema.compile_yaml.frontend import Frontend
from vacc_gen.schema.strict import ConfigPart, optional, required

Version = Annotated[str, Field(pattern=r"^\d[\w.+!*-]*$")]
"""A version as pip knows it, in quotes where it would be a number: 4.51.3, "4.45"."""

Count = Annotated[int, Field(ge=1)]
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

    num_classes: Count | None = optional("classes of the detector", aliases=("nc", "class_num"))
    confidence_threshold: Score | None = optional(
        "boxes with lower scores are dropped (yolo)", aliases=("conf_thres", "conf")
    )
    nms_threshold: Score | None = optional(
        "overlap above which the weaker box is dropped (yolo)",
        aliases=("iou_threshold", "iou_thres"),
    )
    strides: list[Count] | None = optional("strides of the output maps")
    anchor: list[Annotated[float, Field(gt=0)]] | None = optional(
        "widths and heights of the anchors in pixels", aliases=("anchors",)
    )
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
        "folder for the output; artefacts land in <path>/<name>/mod*",
        aliases=("dir", "output", "output_dir", "out_dir"),
        min_length=1,
        max_length=4096,
    )
    workers: int | None = optional(
        "processes that the compiler may start", aliases=("num_workers", "jobs"), ge=1
    )
    pyenv: dict[str, Version] | None = optional(
        "pip pins of an isolated environment: package name to version"
    )
    env_recheck: bool | None = optional(
        "check the environment again; meaning not published, typed from use"
    )
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

    name: str = required(
        "output folder below workspace.path, by custom with precision, tp and lengths",
        aliases=("model", "model_name"),
        min_length=1,
        max_length=255,
        pattern=r"^[^/\\]+$",
    )
    frontend: Frontend = required("the model that is read", aliases=("model", "front_end"))
    backend: Backend = required("what is made of it", aliases=("back_end",))
    graph: Graph | None = optional("ops that are added to the graph")
    dataset: Dataset | None = optional("calibration data for int8", aliases=("data", "calibration"))
    workspace: Workspace = required("where the output goes", aliases=("work_space",))
