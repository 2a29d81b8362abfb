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
from vacc_gen.schema.compile_yaml.graph import Graph
from vacc_gen.schema.compile_yaml.part import ConfigPart, also_written

Version = Annotated[str, Field(pattern=r"^\d[\w.+!*-]*$")]
"""A version as pip knows it, in quotes where it would be a number: 4.51.3, "4.45"."""


class Workspace(ConfigPart):
    """Where the compiler writes, and how it runs."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": ["path"]}, {"required": ["work_dir"]}]}
    )

    path: str | None = Field(
        default=None,
        min_length=1,
        max_length=4096,
        description="folder for the output; artefacts land in <path>/<name>/mod*",
        json_schema_extra=also_written("dir", "output", "output_dir", "out_dir"),
    )
    workers: int | None = Field(
        default=None,
        ge=1,
        description="processes that the compiler may start",
        json_schema_extra=also_written("num_workers", "jobs"),
    )
    pyenv: dict[str, Version] | None = Field(
        default=None, description="pip pins of an isolated environment: package name to version"
    )
    env_recheck: bool | None = Field(
        default=None,
        description="check the environment again; meaning not published, typed from use",
    )
    work_dir: str | None = Field(
        default=None,
        min_length=1,
        deprecated=True,
        description="name of `path` in the older `vamc build`",
    )
    enable_ir: bool | None = Field(
        default=None, deprecated=True, description="of the older `vamc build`"
    )
    save_log: bool | None = Field(
        default=None, deprecated=True, description="of the older `vamc build`"
    )

    @model_validator(mode="after")
    def _has_a_folder(self) -> Workspace:
        if self.path is None and self.work_dir is None:
            raise PydanticCustomError("missing_key", "`path` is missing", {"key": "path"})
        return self


class CompileConfig(ConfigPart):
    """One compile config: one model, one precision, one set of shapes."""

    name: str = Field(
        min_length=1,
        max_length=255,
        pattern=r"^[^/\\]+$",
        description="output folder below workspace.path, by custom with precision, tp and lengths",
        json_schema_extra=also_written("model", "model_name"),
    )
    frontend: Frontend = Field(
        description="the model that is read", json_schema_extra=also_written("model", "front_end")
    )
    backend: Backend = Field(
        description="what is made of it", json_schema_extra=also_written("back_end")
    )
    graph: Graph | None = Field(default=None, description="ops that are added to the graph")
    dataset: Dataset | None = Field(
        default=None,
        description="calibration data for int8",
        json_schema_extra=also_written("data", "calibration"),
    )
    workspace: Workspace = Field(
        description="where the output goes", json_schema_extra=also_written("work_space")
    )
