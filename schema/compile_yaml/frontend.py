"""`frontend` of a compile YAML: which model is read, from what kind of file, in which shapes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vacc_gen.schema.compile_yaml.part import VamcPart, also_written

Size = Annotated[int, Field(ge=1)]
FixedShape = Annotated[list[Size], Field(min_length=1, max_length=8)]
"""`[1, 3, 224, 224]`"""
ShapeRange = Annotated[
    tuple[FixedShape, Annotated[list[Size], Field(max_length=8)]], Field(strict=False)
]
"""`[[prefill], [total]]` of a language model, `[[seq], []]` of an encoder, `[[min..], [max..]]`."""

FRONTEND_TYPES = ("huggingface", "onnx", "pytorch", "keras", "tensorflow", "darknet")


class ModelOptions(VamcPart):
    """`model_kwargs`: how a Hugging Face model is built."""

    model_arch: Literal["vacc"] | None = Field(
        default=None,
        description="vacc: load modeling_*_vacc.py and config_vacc.json of the weight folder first",
        json_schema_extra=also_written("arch"),
    )
    tp: int | None = Field(
        default=None,
        ge=1,
        le=128,
        description="tensor parallelism in dies, not cards; fixed at compile time",
        json_schema_extra=also_written("tensor_parallel", "tensor_parallel_size", "tp_size"),
    )
    b2s: bool | None = Field(
        default=None, description="true: for throughput; false or absent: for latency"
    )
    align_qkv: bool | None = Field(
        default=None,
        description="may be needed for grouped-query attention where the number of KV heads is not "
        "a multiple of tp",
    )
    build_visual: bool | None = Field(
        default=None, description="build the vision tower of a vision-language model"
    )
    enable_kv_share: bool | None = Field(
        default=None,
        deprecated=True,
        description="obsolete: compiler 3 sees shared KV heads itself",
    )


class CalibrationOptions(VamcPart):
    """`calib_args`: options of the GPTQ pass."""

    true_sequential: bool | None = Field(
        default=None, description="quantize the layers of a block one after the other"
    )


class WeightQuantization(VamcPart):
    """`frontend.quantize`: how the weights of a language model become int8."""

    type: Literal["w8a16_gptq", "w16kv8"] = Field(
        description="w8a16_gptq: int8 weights by GPTQ; w16kv8: 16-bit weights, int8 KV cache"
    )
    device: str | None = Field(
        default=None,
        pattern=r"^(cpu|cuda(:\d+)?)$",
        description="where the GPTQ pass runs, such as cuda:0; read by `vamc quant`",
    )
    calib_args: CalibrationOptions | None = Field(
        default=None, description="options of the GPTQ pass"
    )


class Frontend(VamcPart):
    """Which model is read, from what kind of file, in which shapes."""

    checkpoint: str = Field(
        min_length=1,
        max_length=4096,
        description="weight folder (huggingface) or model file",
        json_schema_extra=also_written("ckpt", "model", "weights", "model_path", "path"),
    )
    type: Literal["huggingface", "onnx", "pytorch", "keras", "tensorflow", "darknet"] | None = (
        Field(
            default=None, description="kind of checkpoint; told from the file's suffix when absent"
        )
    )
    shape: dict[str, FixedShape | ShapeRange] = Field(
        min_length=1,
        description="per input a static shape, a range of two shapes, or for a language model "
        "[[prefill], [total]] in tokens",
        json_schema_extra=also_written("shapes", "input_shape", "input_shapes"),
    )
    dtype: Literal["fp32", "fp16", "int64", "int32", "int8", "uint8"] | None = Field(
        default=None,
        description="element type of the inputs; fp32 when absent",
        json_schema_extra=also_written("precision", "data_type", "datatype", "input_dtype"),
    )
    model_kwargs: ModelOptions | None = Field(
        default=None, description="how a Hugging Face model is built"
    )
    quantize: WeightQuantization | None = Field(
        default=None,
        description="how the weights of a language model become int8",
        json_schema_extra=also_written(
            "quant", "quantization", "quant_config", "quantization_config"
        ),
    )
