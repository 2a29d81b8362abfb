"""`dataset` of a compile YAML: the calibration data, and how it is made into inputs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag

from vacc_gen.schema.strict import ConfigPart, Unverified, optional, required

Pixels = Annotated[int, Field(ge=1)]
Side = Annotated[int, Field(ge=-1)]
Channels = Annotated[list[float], Field(min_length=1, max_length=4)]
_COLOURS = "RGB|BGR|RGBA|BGRA|GRAY|YCrCb|YUV|HSV|HLS|LAB|Lab|LUV|Luv|XYZ"
ImageBackend = Literal["pillow", "opencv"]


class DecodeImage(ConfigPart):
    """Read an image file as RGB, 0 to 255."""

    type: Literal["DecodeImage"]
    cv2_flags: int | None = optional("of cv2.imread: 0 grey, 1 colour", ge=-1)
    backend: ImageBackend | None = optional("library that reads the image")


class Resize(ConfigPart):
    """Scale an image."""

    type: Literal["Resize"]
    size: Annotated[list[Side], Field(min_length=2, max_length=2)] = required(
        "height and width; -1: free, with adaptive_side",
        aliases=("shape", "resize_size", "target_size", "scale"),
    )
    adaptive_side: Literal["long", "short"] | None = optional(
        "which side the first size is for, keeping proportions"
    )
    interpolation: Literal["nearest", "bilinear", "bicubic", "area", "lanczos"] | None = optional(
        "bilinear when absent"
    )
    backend: ImageBackend | None = optional("library that scales")


class CenterCrop(ConfigPart):
    """Cut the middle out of an image."""

    type: Literal["CenterCrop"]
    crop_size: Annotated[list[Pixels], Field(min_length=2, max_length=2)] = required(
        "height and width", aliases=("size", "shape")
    )
    backend: ImageBackend | None = optional("library that cuts")


class Pad(ConfigPart):
    """Fill an image up."""

    type: Literal["Pad"]
    pad_to_square: bool | None = optional("up to the longer side")
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
        pattern=f"^COLOR_({_COLOURS})2({_COLOURS})$",
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
    div255: bool | None = optional(
        "divide by 255 first; true when absent (every published mean says so)",
        aliases=("to_01", "scale255", "divide_by_255"),
    )
    mean: Channels | None = optional("one for each channel", aliases=("mean_value", "mean_values"))
    std: Channels | None = optional(
        "one for each channel", aliases=("std_value", "std_values", "scale")
    )
    norm_type: Literal["None"] | None = optional(
        "null: no mean and std; other values are not published"
    )


class ToTensor(ConfigPart):
    """Height, width, channels -> channels, height, width."""

    type: Literal["ToTensor"]


class CustomFunc(ConfigPart):
    """Call a Python function of the user's."""

    type: Literal["CustomFunc"]
    module_path: str = Field(min_length=1, description="file of the function")
    func_name: str = Field(min_length=1, description="its name")
    input_shape: list[Pixels] | None = optional("shape that it returns")


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


def _data_path(description: str) -> Any:
    aliases = ("dir", "data_path", "root", "folder", "data_dir")
    return optional(description, aliases=aliases, min_length=1, max_length=4096)


class Sampler(ConfigPart):
    """Which files of the folder are used."""

    suffix: str | None = optional(
        "of the files, such as jpg",
        aliases=("ext", "extension", "format", "file_type"),
        pattern=r"^\.?[A-Za-z0-9]{1,10}$",
    )
    get_data_num: int = required("how many", aliases=("num", "data_num", "nsamples"), ge=1)


class FileDataset(ConfigPart):
    """Files of a folder: images through `process_ops`, npz as they are."""

    type: Literal["tvm"] | None = optional("may be left out")
    path: str | None = _data_path("folder of the files")
    sampler: Sampler | None = optional("which files are used", aliases=("data_sampler", "sampling"))
    process_ops: list[ProcessOp] | None = optional(
        "from an image file to an input, in order",
        aliases=("transforms", "ops", "preprocess", "pipeline"),
        min_length=1,
    )


class TextDataset(ConfigPart):
    """Windows of text, which GPTQ is calibrated on."""

    type: Literal["huggingface"]
    path: str | None = _data_path("file or folder of the texts")
    name: str | None = optional(
        "how the texts are read", min_length=1, examples=["c4", "ceval", "alpaca"]
    )
    nsamples: int | None = optional("windows to draw", aliases=("samples", "num_samples"), ge=1)
    seqlen: int | None = optional(
        "length of a window in tokens", aliases=("seq_len", "length"), ge=1
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
