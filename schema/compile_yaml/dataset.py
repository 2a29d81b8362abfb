"""`dataset` of a compile YAML: the calibration data, and how it is made into inputs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag

from vacc_gen.schema.strict import ConfigPart, Unverified, optional

Pixels = Annotated[int, Field(ge=1)]
Side = Annotated[int, Field(ge=-1)]
Two = Field(min_length=2, max_length=2)
Channels = Annotated[list[float], Field(min_length=1, max_length=4)]
DataPath = Annotated[str, Field(min_length=1, max_length=4096)]
_COLOURS = "RGB|BGR|RGBA|BGRA|GRAY|YCrCb|YUV|HSV|HLS|LAB|Lab|LUV|Luv|XYZ"
_CONVERSIONS = "RGB2BGR BGR2RGB RGB2YCrCb BGR2YCrCb RGB2GRAY BGR2GRAY RGB2HSV RGB2YUV"
ImageBackend = Literal["pillow", "opencv"]


class DecodeImage(ConfigPart):
    """Read an image file as RGB, 0 to 255."""

    type: Literal["DecodeImage"]
    cv2_flags: int | None = optional("of cv2.imread: 0 grey, 1 colour", ge=-1)
    backend: ImageBackend | None = optional("library that reads the image")


class Resize(ConfigPart):
    """Scale an image."""

    type: Literal["Resize"]
    size: Annotated[list[Side], Two] = Field(description="height, width; -1: free (adaptive_side)")
    adaptive_side: Literal["long", "short"] | None = optional("which side the first size is for")
    interpolation: Literal["nearest", "bilinear", "bicubic", "area", "lanczos"] | None = optional(
        "bilinear when absent"
    )
    backend: ImageBackend | None = optional("library that scales")


class CenterCrop(ConfigPart):
    """Cut the middle out of an image."""

    type: Literal["CenterCrop"]
    crop_size: Annotated[list[Pixels], Two] = Field(description="height and width")
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
        examples=[f"COLOR_{conversion}" for conversion in _CONVERSIONS.split()],
        description="a conversion of OpenCV",
    )


class ChannelSplit(ConfigPart):
    """Keep one channel."""

    type: Literal["ChannelSplit"]
    index: int = Field(ge=0, le=3, description="which one, from 0")


class Normalize(ConfigPart):
    """Subtract `mean`, divide by `std`; before that divide by 255 unless told not to."""

    type: Literal["Normalize"]
    div255: bool | None = optional("divide by 255 first; true when absent")
    mean: Channels | None = optional("one for each channel")
    std: Channels | None = optional("one for each channel")
    norm_type: Literal["None"] | None = optional("null: no mean and std; others not published")


class ToTensor(ConfigPart):
    """Height, width, channels -> channels, height, width."""

    type: Literal["ToTensor"]


class CustomFunc(ConfigPart):
    """Call a Python function of the user's."""

    type: Literal["CustomFunc"]
    module_path: str = Field(min_length=1, description="file of the function")
    func_name: str = Field(min_length=1, description="its name")
    input_shape: list[Pixels] | None = optional("shape that it returns")


SizeOp = DecodeImage | Resize | CenterCrop | Pad
ValueOp = Clip | CvtColor | ChannelSplit | Normalize | ToTensor | CustomFunc
ProcessOp = Annotated[SizeOp | ValueOp, Field(discriminator="type")]


class Sampler(ConfigPart):
    """Which files of the folder are used."""

    suffix: str | None = optional("of the files, such as jpg", pattern=r"^\.?[A-Za-z0-9]{1,10}$")
    get_data_num: int = Field(description="how many", ge=1)


class FileDataset(ConfigPart):
    """Files of a folder: images through `process_ops`, npz as they are."""

    type: Literal["tvm"] | None = optional("may be left out")
    path: DataPath | None = optional("folder of the files")
    sampler: Sampler | None = optional("which files are used")
    process_ops: list[ProcessOp] | None = optional("from an image to an input", min_length=1)


class TextDataset(ConfigPart):
    """Windows of text, which GPTQ is calibrated on."""

    type: Literal["huggingface"]
    path: DataPath | None = optional("file or folder of the texts")
    name: str | None = optional(
        "how the texts are read", min_length=1, examples=["c4", "ceval", "alpaca"]
    )
    nsamples: int | None = optional("windows to draw", ge=1)
    seqlen: int | None = optional("length of a window in tokens", ge=1)


def _kind(values: Any) -> str | None:
    kind = values.get("type") or "tvm" if isinstance(values, dict) else None
    return kind if kind in ("tvm", "huggingface") else None


Dataset = Annotated[
    Annotated[FileDataset, Tag("tvm")] | Annotated[TextDataset, Tag("huggingface")],
    Discriminator(_kind),
]
"""The calibration data: of files (`type: tvm`, which may be left out) or of texts."""
