"""`backend` of a compile YAML: the target and its build, relay and quantizer options."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vacc_gen.schema.compile_yaml.part import ConfigPart, Unverified, WholeNumber, also_written

Index = Annotated[int, Field(ge=0)]
Split = Annotated[str, Field(pattern=r"^\s*\d+(\s*,\s*\d+)*\s*$")]
Layout = Annotated[str, Field(pattern=r"^\d+:\S+$")]

_UNPUBLISHED = "meaning not published; typed from use"

CALIBRATE_MODES = ("percentile", "kl_divergence", "max", "mse")


class CompileOptions(ConfigPart):
    """`backend.compile`: options of the build and of relay."""

    data_type: Annotated[Literal[0, 2], WholeNumber] | None = Field(
        default=None,
        description="0: fp16 build; 2: int8 build (language models use 0 for both)",
    )
    cluster_mode: Annotated[Literal[0, 1], WholeNumber] | None = Field(
        default=None, description="build option; " + _UNPUBLISHED
    )
    data_transport_mode: int | None = Field(
        default=None,
        ge=0,
        le=3,
        description="build option; 1 by default, 3 with post-processing on the device",
    )
    gather_data_vccl_dsp_enable: bool | None = Field(
        default=None, description="lowers the memory that compiling a language model takes"
    )
    opt_level: int | None = Field(default=None, ge=0, le=4, description="relay option")
    enable_float_to_half: bool | None = Field(default=None, description="relay option")
    stream_mode: bool | None = Field(default=None, description="relay option")
    mem_inplace: bool | None = Field(default=None, description="build option")
    attention_split_num: int | None = Field(
        default=None, ge=1, description="4, 8, 16 for sequences of 2048, 4096, 8192 in encoders"
    )
    ffn_split_num: int | None = Field(default=None, ge=1, description=_UNPUBLISHED)
    llm_build: bool | None = Field(
        default=None, description="set for vision towers; " + _UNPUBLISHED
    )
    fullatt_block_indexes: list[Index] | None = Field(
        default=None, description="vision blocks with full attention, as in the model's config.json"
    )
    output_layout: list[Layout] | None = Field(
        default=None, description='one "<output index>:<layout>" for each output'
    )
    output_ddr: list[Annotated[int, Field(ge=-1)]] | None = Field(
        default=None, description=_UNPUBLISHED
    )
    real_output_shape: list[list[Annotated[int, Field(ge=1)]]] | None = Field(
        default=None, description=_UNPUBLISHED
    )
    split_convergence_points: list[Split] | None = Field(
        default=None, description="where a graph for large inputs is cut; specific to the model"
    )
    partition_convergence_dsp_enable: bool | None = Field(default=None, description=_UNPUBLISHED)
    dense_special_config: list[Annotated[int, Field(ge=1)]] | None = Field(
        default=None, description=_UNPUBLISHED
    )
    nearest_interpol_on_dsp: bool | None = Field(default=None, description=_UNPUBLISHED)
    switch_lhs_rhs: bool | None = Field(default=None, description=_UNPUBLISHED)
    enable_graph_partition: bool | None = Field(default=None, description=_UNPUBLISHED)
    enable_dense_to_matmul: bool | None = Field(default=None, description=_UNPUBLISHED)
    enable_inputs_align: bool | None = Field(default=None, description=_UNPUBLISHED)
    enable_groundingdino_axis_change: bool | None = Field(default=None, description=_UNPUBLISHED)
    enable_groundingdino_cut_layernorm: bool | None = Field(default=None, description=_UNPUBLISHED)
    enable_transform_vision_language_pan: bool | None = Field(
        default=None, description=_UNPUBLISHED
    )


class QuantizeOptions(ConfigPart):
    """`backend.quantize`: options of the post-training quantizer."""

    calibrate_mode: Literal["percentile", "kl_divergence", "max", "mse"] | None = Field(
        default=None,
        description="how ranges are taken from the calibration data",
        json_schema_extra=also_written(
            "calib_mode", "calibration_method", "calibration_mode", "calib_method"
        ),
    )
    quantize_per_channel: bool | None = Field(
        default=None,
        description="a scale for each channel, not for each tensor",
        json_schema_extra=also_written("per_channel", "quant_per_channel", "channel_wise"),
    )
    calibrate_range: float | None = Field(
        default=None, gt=0, le=1, description="share of the values that the range covers"
    )
    overflow_adaptive: Annotated[Literal[0, 1], WholeNumber] | None = Field(
        default=None, description=_UNPUBLISHED
    )
    calibrate_chunk_by: int | None = Field(default=None, ge=-1, description=_UNPUBLISHED)
    weight_scale: Literal["max", "power2"] | None = Field(
        default=None, description="how weight scales are chosen"
    )
    quantize_mode: Literal["manual", "auto", "force_auto"] | None = Field(
        default=None, description=_UNPUBLISHED
    )
    requant_suppress: bool | None = Field(default=None, description=_UNPUBLISHED)
    skip_conv_layers: list[Index] | None = Field(
        default=None, description="convolutions that stay in floating point, by index"
    )
    skip_matmul_layers: list[Index] | None = Field(
        default=None, description="matrix products that stay in floating point, by index"
    )
    exclude_layers: list[Index] | None = Field(
        default=None, description="layers that stay in floating point, by index"
    )
    ops_usingfp: list[str] | None = Field(
        default=None, description="op names that stay in floating point"
    )
    quantize_operators: list[str] | None = Field(
        default=None, description="relay op names to quantize; a leading ! excludes"
    )
    quantize_dsp_ops: list[str] | None = Field(default=None, description=_UNPUBLISHED)
    dense_special_config: list[Annotated[int, Field(ge=1)]] | None = Field(
        default=None, deprecated=True, description="an option of `backend.compile`"
    )
    nearest_interpol_on_dsp: bool | None = Field(
        default=None, deprecated=True, description="an option of `backend.compile`"
    )
    output_ddr: list[Annotated[int, Field(ge=-1)]] | None = Field(
        default=None, deprecated=True, description="an option of `backend.compile`"
    )
    stream_mode: bool | None = Field(
        default=None, deprecated=True, description="an option of `backend.compile`"
    )


class DynamicParams(ConfigPart):
    """`backend.dynamic_params`: options for inputs of changing shape."""

    is_elic_gs: bool | None = Field(default=None, description=_UNPUBLISHED)
    enable_graph_partition: bool | None = Field(default=None, description=_UNPUBLISHED)


class Backend(ConfigPart):
    """What is made of the model."""

    type: Literal["tvm_vacc", "tvm_runmodel"] = Field(
        description="tvm_vacc compiles; tvm_runmodel runs the model without compiling it"
    )
    dtype: Literal["fp16", "int8"] = Field(
        description="precision of the compiled model", json_schema_extra=also_written("precision")
    )
    compile: CompileOptions | None = Field(
        default=None,
        description="options of the build and of relay",
        json_schema_extra=also_written("build", "compile_options", "compile_config"),
    )
    quantize: QuantizeOptions | None = Field(
        default=None,
        description="options of the post-training quantizer",
        json_schema_extra=also_written("quant", "quantization", "quant_config", "quantize_config"),
    )
    merge_params: bool | None = Field(
        default=None, description="one parameter file; set for language models"
    )
    remove_params: bool | None = Field(default=None, description=_UNPUBLISHED)
    dynamic_params: DynamicParams | None = Field(
        default=None, description="options for inputs of changing shape"
    )
    merge_shapes: Unverified = None
    device: Unverified = None
    dynamic_compile: Unverified = None
