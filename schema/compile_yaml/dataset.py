"""`dataset` of a compile YAML: the calibration data, and how it is made into inputs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag

from vacc_gen.schema.compile_yaml.part import ConfigPart, Unverified, also_written

Pixels = Annotated[int, Field(ge=1)]
Side = Annotated[int, Field(ge=-1)]
Channels = Annotated[list[float], Field(min_length=1, max_length=4)]
ImageBackend = Literal["pillow", "opencv"]


class DecodeImage(ConfigPart):
    """Read an image file as RGB, 0 to 255."""

    type: Literal["DecodeImage"]
    cv2_flags: int | None = Field(
        default=None, ge=-1, description="of cv2.imread: 0 grey, 1 colour"
    )
    backend: ImageBackend | None = Field(default=None, description="library that reads the image")


class Resize(ConfigPart):
    """Scale an image."""

    type: Literal["Resize"]
    size: Annotated[list[Side], Field(min_length=2, max_length=2)] = Field(
        description="height and width; -1: free, with adaptive_side",
        json_schema_extra=also_written("shape", "resize_size", "target_size", "scale"),
    )
    adaptive_side: Literal["long", "short"] | None = Field(
        default=None, description="which side the first size is for, keeping proportions"
    )
    interpolation: Literal["nearest", "bilinear", "bicubic", "area", "lanczos"] | None = Field(
        default=None, description="bilinear when absent"
    )
    backend: ImageBackend | None = Field(default=None, description="library that scales")


class CenterCrop(ConfigPart):
    """Cut the middle out of an image."""

    type: Literal["CenterCrop"]
    crop_size: Annotated[list[Pixels], Field(min_length=2, max_length=2)] = Field(
        description="height and width", json_schema_extra=also_written("size", "shape")
    )
    backend: ImageBackend | None = Field(default=None, description="library that cuts")


class Pad(ConfigPart):
    """Fill an image up."""

    type: Literal["Pad"]
    pad_to_square: bool | None = Field(default=None, description="up to the longer side")
    size_divisor: Unverified = None
    pad_val: Unverified = None


class Clip(ConfigPart):
    """Bound values; named by a third party only, its keys are taken as they are."""

    model_config = ConfigDict(extra="allow")

    type: Literal["Clip"]


class CvtColor(ConfigPart):
    """Change the colour space."""

    type: Literal["CvtColor"]
    code: str = Field(
        pattern=r"^COLOR_(RGB|BGR|RGBA|BGRA|GRAY|YCrCb|YUV|HSV|HLS|LAB|Lab|LUV|Luv|XYZ)2"
        r"(RGB|BGR|RGBA|BGRA|GRAY|YCrCb|YUV|HSV|HLS|LAB|Lab|LUV|Luv|XYZ)$",
        examples=[
            "COLOR_RGB2BGR",
            "COLOR_BGR2RGB",
            "COLOR_RGB2YCrCb",
            "COLOR_BGR2YCrCb",
            "COLOR_RGB2GRAY",
            "COLOR_BGR2GRAY",
            "COLOR_RGB2HSV",
            "COLOR_RGB2YUV",
        ],
        description="a conversion of OpenCV",
    )


class ChannelSplit(ConfigPart):
    """Keep one channel."""

    type: Literal["ChannelSplit"]
    index: int = Field(ge=0, le=3, description="which one, from 0")


class Normalize(ConfigPart):
    """Subtract `mean`, divide by `std`; before that divide by 255 unless told not to."""

    type: Literal["Normalize"]
    div255: bool | None = Field(
        default=None,
        description="divide by 255 first; true when absent (every published mean says so)",
        json_schema_extra=also_written("to_01", "scale255", "divide_by_255"),
    )
    mean: Channels | None = Field(
        default=None,
        description="one for each channel",
        json_schema_extra=also_written("mean_value", "mean_values"),
    )
    std: Channels | None = Field(
        default=None,
        description="one for each channel",
        json_schema_extra=also_written("std_value", "std_values", "scale"),
    )
    norm_type: Literal["None"] | None = Field(
        default=None, description="null: no mean and std; other values are not published"
    )


class ToTensor(ConfigPart):
    """Height, width, channels -> channels, height, width."""

    type: Literal["ToTensor"]


class CustomFunc(ConfigPart):
    """Call a Python function of the user's."""

    type: Literal["CustomFunc"]
    module_path: str = Field(min_length=1, description="file of the function")
    func_name: str = Field(min_length=1, description="its name")
    input_shape: list[Pixels] | None = Field(default=None, description="shape that it returns")


ProcessOp = Annotated[
    DecodeImage
    | Resize
    | CenterCrop
    | Pad
    | Clip
    | CvtColor
    | ChannelSplit
    | Normalize
    | ToTensor
    | CustomFunc,
    Field(discriminator="type"),
]


class Sampler(ConfigPart):
    """Which files of the folder are used."""

    suffix: str | None = Field(
        default=None,
        pattern=r"^\.?[A-Za-z0-9]{1,10}$",
        description="of the files, such as jpg",
        json_schema_extra=also_written("ext", "extension", "format", "file_type"),
    )
    get_data_num: int = Field(
        ge=1,
        description="how many",
        json_schema_extra=also_written("num", "data_num", "nsamples"),
    )


class FileDataset(ConfigPart):
    """Files of a folder: images through `process_ops`, npz as they are."""

    type: Literal["tvm"] | None = Field(default=None, description="may be left out")
    path: str | None = Field(
        default=None,
        min_length=1,
        max_length=4096,
        description="folder of the files",
        json_schema_extra=also_written("dir", "data_path", "root", "folder", "data_dir"),
    )
    sampler: Sampler | None = Field(
        default=None,
        description="which files are used",
        json_schema_extra=also_written("data_sampler", "sampling"),
    )
    process_ops: list[ProcessOp] | None = Field(
        default=None,
        min_length=1,
        description="from an image file to an input, in order",
        json_schema_extra=also_written("transforms", "ops", "preprocess", "pipeline"),
    )


class TextDataset(ConfigPart):
    """Windows of text, which GPTQ is calibrated on."""

    type: Literal["huggingface"]
    path: str | None = Field(
        default=None,
        min_length=1,
        max_length=4096,
        description="file or folder of the texts",
        json_schema_extra=also_written("dir", "data_path", "root", "folder", "data_dir"),
    )
    name: str | None = Field(
        default=None,
        min_length=1,
        examples=["c4", "ceval", "alpaca"],
        description="how the texts are read",
    )
    nsamples: int | None = Field(
        default=None,
        ge=1,
        description="windows to draw",
        json_schema_extra=also_written("samples", "num_samples"),
    )
    seqlen: int | None = Field(
        default=None,
        ge=1,
        description="length of a window in tokens",
        json_schema_extra=also_written("seq_len", "length"),
    )


def _kind(values: Any) -> str | None:
    if isinstance(values, dict):
        kind = values.get("type") or "tvm"
        return kind if kind in ("tvm", "huggingface") else None
    return "huggingface" if isinstance(values, TextDataset) else "tvm"


Dataset = Annotated[
    Annotated[FileDataset, Tag("tvm")] | Annotated[TextDataset, Tag("huggingface")],
    Discriminator(_kind),
]
"""The calibration data: of files (`type: tvm`, which may be left out) or of texts."""
