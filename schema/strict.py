"""The bases of every typed part of a file: closed, without silent conversions."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError


class Strict(BaseModel):
    """A model that refuses unknown keys and silent conversions (`"4"` is not 4)."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


class ConfigPart(Strict):
    """A mapping of the compile YAML.

    A field with the default None may be left out. Its value may be null too, of which `validate`
    warns: what the compiler makes of a null is not published.
    """

    model_config = ConfigDict(allow_inf_nan=False)


def optional(description: str, default: Any = None, **limits: Any) -> Any:
    """Return a field that may be left out."""
    return Field(default=default, description=description, **limits)


def _whole(value: Any) -> Any:
    if value is not None and type(value) is not int:
        raise PydanticCustomError("int_type", "not a whole number")
    return value


WholeNumber = BeforeValidator(_whole)
"""For a Literal of numbers: false equals 0 and 1.0 equals 1 in Python, so Literal takes them."""

UNPUBLISHED = "meaning not published; typed from use"

Unverified = Annotated[
    Any, Field(description="named by a third party only (for vamc 3.4.3); taken as it is")
]
"""The value of a key that no published config has."""

OTHER_NAMES = {
    "calibrate_mode": ("calib_mode", "calibration_method", "calibration_mode", "calib_method"),
    "checkpoint": ("ckpt", "model", "weights", "model_path", "path"),
    "compile": ("build", "compile_options", "compile_config"),
    "confidence_threshold": ("conf_thres", "conf"),
    "crop_size": ("size", "shape"),
    "dataset": ("data", "calibration"),
    "dtype": ("precision", "datatype", "input_dtype"),
    "name": ("model", "model_name"),
    "nms_threshold": ("iou_threshold", "iou_thres"),
    "nsamples": ("samples", "num_samples"),
    "num_classes": ("nc", "class_num"),
    "path": ("dir", "output", "output_dir", "out_dir", "data_path", "root", "folder", "data_dir"),
    "process_ops": ("transforms", "ops", "preprocess", "pipeline"),
    "quantize": ("quant", "quantization", "quant_config", "quantize_config", "quantization_config"),
    "quantize_per_channel": ("per_channel", "quant_per_channel", "channel_wise"),
    "seqlen": ("length",),
    "shape": ("input_shape", "input_shapes"),
    "size": ("shape", "resize_size", "target_size", "scale"),
    "tp": ("tensor_parallel", "tensor_parallel_size", "tp_size"),
    "workers": ("num_workers", "jobs"),
}
"""What other tools call keys of the compile YAML, for suggestions."""
