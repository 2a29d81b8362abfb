"""`frontend` of a compile YAML: which model is read, from what kind of file, in which shapes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from vacc_gen.schema.strict import ConfigPart, Unverified, optional, required

Size = Annotated[int, Field(ge=1)]
FixedShape = Annotated[list[Size], Field(min_length=1, max_length=8)]
"""`[1, 3, 224, 224]`"""
ShapeRange = Annotated[
    list[Annotated[list[Size], Field(max_length=8)]], Field(min_length=2, max_length=3)
]
"""`[[prefill], [total]]` of a language model, `[[seq], []]` of an encoder, `[[min..], [max..]]`."""


class ShapeProfile(ConfigPart):
    """The bounds of a shape that changes; named by a third party only."""

    min: FixedShape = Field(description="the smallest")
    opt: FixedShape | None = optional("the usual one")
    max: FixedShape = Field(description="the largest")


def _shape_kind(value: Any) -> str:
    if isinstance(value, (dict, ShapeProfile)):
        return "profile"
    nested = isinstance(value, list) and any(isinstance(item, list) for item in value)
    return "range" if nested else "fixed"


Shape = Annotated[
    Annotated[FixedShape, Tag("fixed")]
    | Annotated[ShapeRange, Tag("range")]
    | Annotated[ShapeProfile, Tag("profile")],
    Discriminator(_shape_kind),
]


class ModelOptions(ConfigPart):
    """`model_kwargs`: how a Hugging Face model is built."""

    model_arch: Literal["vacc"] | None = optional(
        "vacc: load modeling_*_vacc.py and config_vacc.json of the weight folder first",
        aliases=("arch",),
    )
    tp: int | None = optional(
        "tensor parallelism in dies, not cards; fixed at compile time",
        aliases=("tensor_parallel", "tensor_parallel_size", "tp_size"),
        ge=1,
        le=128,
    )
    b2s: bool | None = optional("true: for throughput; false or absent: for latency")
    align_qkv: bool | None = optional(
        "may be needed for grouped-query attention where the number of KV heads is not "
        "a multiple of tp"
    )
    build_visual: bool | None = optional("build the vision tower of a vision-language model")
    enable_kv_share: bool | None = optional(
        "obsolete: compiler 3 sees shared KV heads itself", deprecated="delete it"
    )
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
        "where the GPTQ pass runs, such as cuda:0; read by `vamc quant`",
        pattern=r"^(cpu|cuda(:\d+)?)$",
    )
    calib_args: CalibrationOptions | None = optional("options of the GPTQ pass")


class Frontend(ConfigPart):
    """Which model is read, from what kind of file, in which shapes."""

    checkpoint: str = required(
        "weight folder (huggingface) or model file",
        aliases=("ckpt", "model", "weights", "model_path", "path"),
        min_length=1,
        max_length=4096,
    )
    type: Literal["huggingface", "onnx", "pytorch", "keras", "tensorflow", "darknet"] | None = (
        optional("kind of checkpoint; detected from the file's suffix when absent")
    )
    shape: dict[str, Shape] = required(
        "per input a static shape, a range of two shapes, or for a language model "
        "[[prefill], [total]] in tokens",
        aliases=("shapes", "input_shape", "input_shapes"),
        min_length=1,
    )
    dtype: Literal["fp32", "fp16", "int64", "int32", "int8", "uint8"] | None = optional(
        "element type of the inputs; fp32 when absent",
        aliases=("precision", "data_type", "datatype", "input_dtype"),
    )
    model_kwargs: ModelOptions | None = optional("how a Hugging Face model is built")
    quantize: WeightQuantization | None = optional(
        "how the weights of a language model become int8",
        aliases=("quant", "quantization", "quant_config", "quantization_config"),
    )
