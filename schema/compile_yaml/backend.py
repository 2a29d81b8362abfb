"""`backend` of a compile YAML: the target and its build, relay and quantizer options."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vacc_gen.schema.strict import UNPUBLISHED, ConfigPart, Unverified, WholeNumber, optional

Index = Annotated[int, Field(ge=0)]
Split = Annotated[str, Field(pattern=r"^\s*\d+(\s*,\s*\d+)*\s*$")]
Sizes = list[Annotated[int, Field(ge=1)]]
Outputs = list[Annotated[int, Field(ge=-1)]]
Layout = Annotated[str, Field(pattern=r"^\d+:\S+$")]
Switch = Annotated[Literal[0, 1], WholeNumber]

_MOVED = "an option of `backend.compile`"
_DELETE = "delete it here; it belongs in `backend.compile`"

CalibrateMode = Literal["percentile", "kl_divergence", "max", "mse"]


class CompileOptions(ConfigPart):
    """`backend.compile`: options of the build and of relay."""

    data_type: Annotated[Literal[0, 2], WholeNumber] | None = optional(
        "0: fp16 build; 2: int8 build (language models use 0 for both)"
    )
    cluster_mode: Switch | None = optional("build option; " + UNPUBLISHED)
    data_transport_mode: int | None = optional(
        "build option; 1 by default, 3 with post-processing on the device", ge=0, le=3
    )
    gather_data_vccl_dsp_enable: bool | None = optional("compiles an LLM in less memory")
    opt_level: int | None = optional("relay option", ge=0, le=4)
    enable_float_to_half: bool | None = optional("relay option")
    stream_mode: bool | None = optional("relay option")
    mem_inplace: bool | None = optional("build option")
    attention_split_num: int | None = optional("of encoders: 4 for 2048 tokens, 8 for 4096", ge=1)
    ffn_split_num: int | None = optional(UNPUBLISHED, ge=1)
    llm_build: bool | None = optional("set for vision towers; " + UNPUBLISHED)
    fullatt_block_indexes: list[Index] | None = optional("vision blocks with full attention")
    output_layout: list[Layout] | None = optional('one "<output index>:<layout>" for each output')
    output_ddr: Outputs | None = optional(UNPUBLISHED)
    real_output_shape: list[Sizes] | None = optional(UNPUBLISHED)
    split_convergence_points: list[Split] | None = optional("where a large graph is cut")
    partition_convergence_dsp_enable: bool | None = optional(UNPUBLISHED)
    dense_special_config: Sizes | None = optional(UNPUBLISHED)
    nearest_interpol_on_dsp: bool | None = optional(UNPUBLISHED)
    switch_lhs_rhs: bool | None = optional(UNPUBLISHED)
    enable_graph_partition: bool | None = optional(UNPUBLISHED)
    enable_dense_to_matmul: bool | None = optional(UNPUBLISHED)
    enable_inputs_align: bool | None = optional(UNPUBLISHED)
    enable_groundingdino_axis_change: bool | None = optional(UNPUBLISHED)
    enable_groundingdino_cut_layernorm: bool | None = optional(UNPUBLISHED)
    enable_transform_vision_language_pan: bool | None = optional(UNPUBLISHED)


class QuantizeOptions(ConfigPart):
    """`backend.quantize`: options of the post-training quantizer."""

    calibrate_mode: CalibrateMode | None = optional("how the data's ranges are taken")
    quantize_per_channel: bool | None = optional("a scale for each channel, not for each tensor")
    calibrate_range: float | None = optional("share of the values in the range", gt=0, le=1)
    overflow_adaptive: Switch | None = optional(UNPUBLISHED)
    calibrate_chunk_by: int | None = optional(UNPUBLISHED, ge=-1)
    weight_scale: Literal["max", "power2"] | None = optional("how weight scales are chosen")
    quantize_mode: Literal["manual", "auto", "force_auto"] | None = optional(UNPUBLISHED)
    requant_suppress: bool | None = optional(UNPUBLISHED)
    skip_conv_layers: list[Index] | None = optional("convolutions that stay in floating point")
    skip_matmul_layers: list[Index] | None = optional("products that stay in floating point")
    exclude_layers: list[Index] | None = optional("layers that stay in floating point, by index")
    ops_usingfp: list[str] | None = optional("op names that stay in floating point")
    quantize_operators: list[str] | None = optional("relay ops to quantize; a leading ! excludes")
    quantize_dsp_ops: list[str] | None = optional(UNPUBLISHED)
    dense_special_config: Sizes | None = optional(_MOVED, deprecated=_DELETE)
    nearest_interpol_on_dsp: bool | None = optional(_MOVED, deprecated=_DELETE)
    output_ddr: Outputs | None = optional(_MOVED, deprecated=_DELETE)
    stream_mode: bool | None = optional(_MOVED, deprecated=_DELETE)


class DynamicParams(ConfigPart):
    """`backend.dynamic_params`: options for inputs of changing shape."""

    is_elic_gs: bool | None = optional(UNPUBLISHED)
    enable_graph_partition: bool | None = optional(UNPUBLISHED)


class Backend(ConfigPart):
    """What is made of the model."""

    type: Literal["tvm_vacc", "tvm_runmodel"] = Field(
        description="tvm_vacc compiles; tvm_runmodel runs the model without compiling it"
    )
    dtype: Literal["fp16", "int8"] = Field(description="precision of the compiled model")
    compile: CompileOptions | None = optional("options of the build and of relay")
    quantize: QuantizeOptions | None = optional("options of the post-training quantizer")
    merge_params: bool | None = optional("one parameter file; set for language models")
    remove_params: bool | None = optional(UNPUBLISHED)
    dynamic_params: DynamicParams | None = optional("options for inputs of changing shape")
    merge_shapes: Unverified = None
    device: Unverified = None
    dynamic_compile: Unverified = None
