"""From a recipe and its preset to what will be made. Pure: reads and writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from vacc_gen.generator import vision
from vacc_gen.schema.checkpoint import name_of
from vacc_gen.schema.errors import CheckpointError, UsageError
from vacc_gen.schema.geometry import Geometry, geometry_from_config, parameter_count
from vacc_gen.schema.precision import EMBEDDED_ONLY, Precision
from vacc_gen.schema.preset import ModelPreset
from vacc_gen.schema.recipe import LENGTH_STEP_TOKENS, PLACEHOLDER, Recipe

DEPLOY_PATH = "./vacc_deploy"
"""`workspace.path` of every published config of a language model."""

QUANTIZE_TYPE = {Precision.INT8: "w8a16_gptq", Precision.KV8: "w16kv8"}
"""`frontend.quantize.type` by precision, as published for 28 and 3 models."""

LARGE_MODEL_PARAMETERS = 32_000_000_000
"""Above it the compiler wants VACC_STACK_SIZE=256 (vendor's llm/README.md)."""


@dataclass(frozen=True)
class CompileJob:
    precision: Precision
    name: str
    """`<model.name or basename of checkpoint>-<fp16|int8|int4>-tp<N>-<prefill>-<total>[-kv8]`."""
    config_path: PurePosixPath
    """Relative to the workspace, such as `build/hf_falcon_fp16.yaml`."""
    config: dict[str, object]
    """In the order in which it is written."""

    @property
    def deploy_path(self) -> PurePosixPath:
        """Where the compiler puts what it makes, relative to the workspace."""
        workspace = self.config["workspace"]
        assert isinstance(workspace, dict)
        return PurePosixPath(workspace["path"], self.name)

    @property
    def is_for_vamc(self) -> bool:
        """Whether the vendor's compiler makes it; if not, its config is never written."""
        return self.precision not in EMBEDDED_ONLY


@dataclass(frozen=True)
class Plan:
    recipe: Recipe
    preset: ModelPreset
    geometry: Geometry
    jobs: tuple[CompileJob, ...]
    tower: CompileJob | None = None
    """The vision tower of a vision-language model, which is compiled beside its one job."""

    @property
    def vamc_jobs(self) -> tuple[CompileJob, ...]:
        return tuple(job for job in self.jobs if job.is_for_vamc)

    @property
    def configs(self) -> tuple[CompileJob, ...]:
        """Everything that has a compile config: the jobs, and the tower."""
        return (*self.vamc_jobs, *([self.tower] if self.tower else []))


def make_plan(recipe: Recipe, preset: ModelPreset, model_config: Mapping[str, Any] | None) -> Plan:
    """Decide what a workspace will hold.

    `model_config` is the checkpoint's config.json where that is there; it wins over the preset.

    Raises:
        CheckpointError: `model_config` is of another architecture, or a size in it is unusable.
        UsageError: a vision-language model in another precision than fp16, or with prompts that
            have no room for an image.
    """
    geometry = preset.geometry
    if model_config is not None:
        check_architecture(preset, model_config)
        geometry = geometry_from_config(model_config)
    tower = _tower_job(recipe, preset, geometry)
    jobs = [_compile_job(recipe, preset, word) for word in dict.fromkeys(recipe.precisions)]
    return Plan(recipe, preset, geometry, tuple(jobs), tower)


def check_architecture(preset: ModelPreset, model_config: Mapping[str, Any]) -> None:
    """Raise CheckpointError where config.json is of another family than the preset."""
    model_type = model_config.get("model_type")
    if model_type not in preset.model_types:
        raise CheckpointError(
            f"config.json: model_type is {model_type!r}; that of {preset.name} is "
            f"{' or '.join(preset.model_types)}",
            hint="choose the preset of that model; `vacc-gen presets list` names them",
        )


def is_placeholder(path: str) -> bool:
    return path.startswith(PLACEHOLDER)


def needs_large_stack(plan: Plan) -> bool:
    # For the language half of a vision-language model, vlm/qwen2_5_vl/README.md says.
    return plan.tower is not None or parameter_count(plan.geometry) > LARGE_MODEL_PARAMETERS


def quantizes_first(plan: Plan, job: CompileJob) -> bool:
    """Whether `vamc quant` runs before `vamc compile`; other precisions have no such pass."""
    return plan.recipe.quantization.separate_pass and job.precision is Precision.INT8


def model_name(recipe: Recipe, preset: ModelPreset) -> str:
    """What compiled models are called after, fit for the name of a folder."""
    name = recipe.model.name or name_of(recipe.model.checkpoint)
    if name in ("", ".."):  # "." and "../.." have no name of their own
        name = preset.name
    return "".join(mark if mark.isprintable() and mark != "\\" else "_" for mark in name)


def _compile_job(recipe: Recipe, preset: ModelPreset, precision: Precision) -> CompileJob:
    is_kv8, target = precision is Precision.KV8, recipe.target
    # The kv8 configs that are published say int8 in their names and in `backend.dtype`.
    dtype = "int8" if is_kv8 else precision.value
    name = f"{model_name(recipe, preset)}-{dtype}-tp{target.tp}-{target.prefill}-{target.total}"
    name += "-kv8" if is_kv8 else ""
    # Published configs of language models say 0 for int8 as well: weights alone are int8.
    compile_options: dict[str, object] = {"data_type": 0, "gather_data_vccl_dsp_enable": True}
    workspace: dict[str, object] = {"path": DEPLOY_PATH}
    path = f"hf_{preset.family}_{precision.value}.yaml"
    backend: dict[str, object] = {"type": "tvm_vacc", "dtype": dtype, "merge_params": True}
    if preset.vision is not None:
        compile_options |= vision.LANGUAGE_SPLITS
        workspace = vision.workspace_section(vision.exact_pins(recipe.environment))
        path = f"{preset.family}_llm.yaml"
        backend["remove_params"] = False
    config: dict[str, object] = {
        "name": name,
        "frontend": _frontend(recipe, precision),
        "backend": {**backend, "compile": compile_options},
    }
    calibration = recipe.calibration
    if calibration is not None and precision is Precision.INT8:
        config["dataset"] = {
            "type": "huggingface",
            "name": calibration.set,
            "path": calibration.path,
            "nsamples": calibration.samples,
            "seqlen": calibration.seqlen,
        }
    config["workspace"] = {**workspace, "workers": target.workers}
    return CompileJob(precision, name, PurePosixPath("build", path), config)


def _tower_job(recipe: Recipe, preset: ModelPreset, geometry: Geometry) -> CompileJob | None:
    tower = preset.vision
    if tower is None:
        return None
    others = [word.value for word in recipe.precisions if word is not Precision.FP16]
    if others:
        raise UsageError(
            f"{preset.name} reads images, and is compiled in fp16 alone, not in "
            f"{' or '.join(others)}"
        )
    tokens = tower.patches // vision.PATCHES_PER_TOKEN
    if recipe.target.prefill <= tokens:
        raise UsageError(
            f"an image of {preset.name} may take {tokens} tokens, which a prompt of "
            f"{recipe.target.prefill} has no room for",
            hint=f"a prefill of {tokens + LENGTH_STEP_TOKENS} or more",
        )
    name = f"{model_name(recipe, preset)}-visual-fp16-{tower.patches}"
    pins = vision.exact_pins(recipe.environment)
    config = vision.tower_config(name, recipe.model.checkpoint, tower, geometry, pins)
    path = PurePosixPath("build", f"{preset.family}_visual.yaml")
    return CompileJob(Precision.FP16, name, path, config)


def _frontend(recipe: Recipe, precision: Precision) -> dict[str, object]:
    target = recipe.target
    model_kwargs: dict[str, object] = {"tp": target.tp}
    if target.optimize_for == "throughput":
        model_kwargs["b2s"] = True
    model_kwargs["model_arch"] = "vacc"
    if target.align_qkv:
        model_kwargs["align_qkv"] = True
    frontend: dict[str, object] = {
        "checkpoint": recipe.model.checkpoint,
        "type": "huggingface",
        "shape": {"input_ids": [[target.prefill], [target.total]]},
        "model_kwargs": model_kwargs,
    }
    if precision in QUANTIZE_TYPE:
        quantize: dict[str, object] = {"type": QUANTIZE_TYPE[precision]}
        gptq = recipe.quantization
        if precision is Precision.INT8 and gptq.device is not None:
            quantize["device"] = gptq.device
        if precision is Precision.INT8 and gptq.true_sequential is not None:
            quantize["calib_args"] = {"true_sequential": gptq.true_sequential}
        frontend["quantize"] = quantize
    return frontend
