"""The YAML of the older `vamc build`, typed; presets/older_keys.yaml has today's keys beside its.

Typed from what the vendor published before `vamc compile`, in more forms than one: a key beyond
these is let through, for `vacc-gen convert` to name, except in a preprocessing step.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from vacc_gen.schema.compile_yaml.backend import CalibrateMode, CompileOptions, QuantizeOptions
from vacc_gen.schema.compile_yaml.config import ExtraOps, Shape
from vacc_gen.schema.compile_yaml.dataset import ProcessOp
from vacc_gen.schema.strict import ConfigPart, optional

PRECISIONS: dict[Any, str] = {True: "int8", False: "fp16"}
VALUES = {"engine.type": {"vacc": "tvm_vacc"}, "engine.common.do_quantization": PRECISIONS}
"""What values are called today, of the keys of which they are called otherwise."""


class OlderPart(ConfigPart):
    """A section with keys that are not known."""

    model_config = ConfigDict(extra="allow")


class OlderModel(OlderPart):
    """`model`: what is read."""

    name: str = Field(min_length=1, max_length=255, pattern=r"^[^/\\]+$")
    inputs: dict[str, Shape] = Field(min_length=1)
    checkpoint: str = Field(min_length=1, max_length=4096)


class OlderCompileOptions(CompileOptions, OlderPart):
    """`engine.common`: options of the build, and at first the precision."""

    do_quantization: bool | None = None


class OlderQuantizeOptions(QuantizeOptions, OlderPart):
    """`engine.calibration`: options of the quantizer, two of them by their first names, too."""

    quant_mode: CalibrateMode | None = None
    per_channel: bool | None = None


class Engine(OlderPart):
    """`engine`: what is made of the model."""

    type: Literal["vacc"]
    dtype: Literal["fp16", "int8"] | None = None
    common: OlderCompileOptions | None = None
    add_extra_ops_to_graph: ExtraOps | None = None
    calibration: OlderQuantizeOptions | None = None

    @model_validator(mode="after")
    def _has_one_precision(self) -> Engine:
        first = self.common.do_quantization if self.common else None
        if len({self.dtype, None if first is None else PRECISIONS[first]} - {None}) != 1:
            raise ValueError("`dtype` or `common.do_quantization` has to give one precision")
        return self


class OlderSampler(OlderPart):
    """`dataset.sampler`: which files are used."""

    suffix: str | None = optional("of the files", pattern=r"^\.?[A-Za-z0-9]{1,10}$")
    get_data_num: int | None = optional("how many", ge=1)


class OlderDataset(OlderPart):
    """`dataset`: the calibration data."""

    path: str | None = optional("folder of the files", min_length=1, max_length=4096)
    sampler: OlderSampler | None = None
    transform_ops: list[ProcessOp] | None = optional("from a file to an input", min_length=1)


class OlderWorkspace(OlderPart):
    """`workspace`: where the compiler writes."""

    work_dir: str = Field(min_length=1, max_length=4096)


class OlderConfig(OlderPart):
    """One config of `vamc build`."""

    model: OlderModel
    engine: Engine
    dataset: OlderDataset | None = None
    workspace: OlderWorkspace
