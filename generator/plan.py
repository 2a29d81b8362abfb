"""From a recipe and its preset to what will be made, compile configs above all.

Pure: reads and writes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from vacc_gen.generator.lock import requirements_of
from vacc_gen.schema.checkpoint import name_of
from vacc_gen.schema.errors import CheckpointError, UsageError
from vacc_gen.schema.geometry import Geometry, geometry_from_config, parameter_count
from vacc_gen.schema.precision import EMBEDDED_ONLY, Precision
from vacc_gen.schema.preset import EncoderPreset, ModelPreset, VisionTower
from vacc_gen.schema.recipe import LENGTH_STEP_TOKENS, PLACEHOLDER, Environment, Recipe

Config = dict[str, Any]
"""A compile config or a section of one, in the order in which it is written."""

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
    config: Config

    @property
    def deploy_path(self) -> PurePosixPath:
        """Where the compiler puts what it makes, relative to the workspace."""
        return PurePosixPath(self.config["workspace"]["path"], self.name)

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
    tower = None
    if preset.vision is not None:
        tower = _tower_job(recipe, preset, preset.vision, geometry)
    jobs = [_language_job(recipe, preset, word) for word in dict.fromkeys(recipe.precisions)]
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


def _language_job(recipe: Recipe, preset: ModelPreset, precision: Precision) -> CompileJob:
    """Return the job of a language model, or of the language half of a vision-language model."""
    target, calibration = recipe.target, recipe.calibration
    is_kv8 = precision is Precision.KV8
    # The kv8 configs that are published say int8 in their names and in `backend.dtype`.
    dtype = "int8" if is_kv8 else precision.value
    name = f"{model_name(recipe, preset)}-{dtype}-tp{target.tp}-{target.prefill}-{target.total}"
    name += "-kv8" if is_kv8 else ""
    config: Config = {
        "name": name,
        "frontend": _frontend(recipe, precision),
        "backend": {"type": "tvm_vacc", "dtype": dtype, "merge_params": True},
    }
    # Published configs of language models say 0 for int8 as well: weights alone are int8.
    options: Config = {"data_type": 0, "gather_data_vccl_dsp_enable": True}
    if preset.vision is None:
        path = f"hf_{preset.family}_{precision.value}.yaml"
        workspace: Config = {"path": "./vacc_deploy"}
    else:
        path = f"{preset.family}_llm.yaml"
        workspace = _vision_workspace(recipe.environment)
        config["backend"]["remove_params"] = False
        options |= {"attention_split_num": 16, "ffn_split_num": 16}
    config["backend"]["compile"] = options
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


def _frontend(recipe: Recipe, precision: Precision) -> Config:
    target, quantization = recipe.target, recipe.quantization
    model_kwargs: Config = {"tp": target.tp}
    if target.optimize_for == "throughput":
        model_kwargs["b2s"] = True
    model_kwargs["model_arch"] = "vacc"
    if target.align_qkv:
        model_kwargs["align_qkv"] = True
    frontend: Config = {
        "checkpoint": recipe.model.checkpoint,
        "type": "huggingface",
        "shape": {"input_ids": [[target.prefill], [target.total]]},
        "model_kwargs": model_kwargs,
    }
    if precision in QUANTIZE_TYPE:
        frontend["quantize"] = {"type": QUANTIZE_TYPE[precision]}
    if precision is Precision.INT8 and quantization.device is not None:
        frontend["quantize"]["device"] = quantization.device
    if precision is Precision.INT8 and quantization.true_sequential is not None:
        sequential = {"true_sequential": quantization.true_sequential}
        frontend["quantize"]["calib_args"] = sequential
    return frontend


# --- vision towers: the published configs of the Qwen2-VL line, whose towers have the same sizes

PATCH_PIXELS = 14 * 14
PATCH_VALUES = 3 * 2 * PATCH_PIXELS
"""3 channels of 2 frames."""
TOWER_HEAD_SIZE = 1280 // 16
PATCHES_PER_TOKEN = 4
"""2 x 2 patches become one token of the prompt."""
OUTPUT_WIDTH = 640
"""The compiler cuts the embeddings into outputs of so many columns (vlm/qwen2_5_vl/README.md)."""


def _tower_job(
    recipe: Recipe, preset: ModelPreset, tower: VisionTower, geometry: Geometry
) -> CompileJob:
    """Return the job of the half that turns the patches of one image into embeddings."""
    others = [word.value for word in recipe.precisions if word is not Precision.FP16]
    if others:
        raise UsageError(
            f"{preset.name} reads images, and is compiled in fp16 alone, not in "
            f"{' or '.join(others)}"
        )
    patches, tokens = tower.patches, tower.patches // PATCHES_PER_TOKEN
    if recipe.target.prefill <= tokens:
        raise UsageError(
            f"an image of {preset.name} may take {tokens} tokens, which a prompt of "
            f"{recipe.target.prefill} has no room for",
            hint=f"a prefill of {tokens + LENGTH_STEP_TOKENS} or more",
        )
    outputs = -(-geometry.hidden_size // OUTPUT_WIDTH)
    options: Config = {
        "data_type": 0,
        "data_transport_mode": 1,
        "attention_split_num": tower.attention_splits,
        "ffn_split_num": tower.ffn_splits,
        "llm_build": True,
        "output_layout": [f"{index}:YX" for index in range(outputs)],
    }
    if tower.full_attention_blocks:
        options["fullatt_block_indexes"] = list(tower.full_attention_blocks)
    name = f"{model_name(recipe, preset)}-visual-fp16-{patches}"
    config: Config = {
        "name": name,
        "frontend": {
            "checkpoint": recipe.model.checkpoint,
            "shape": {
                "pixel_values": [patches, PATCH_VALUES],
                "attention_mask": [1, patches, patches],
                "cos": [patches, TOWER_HEAD_SIZE],
                "sin": [patches, TOWER_HEAD_SIZE],
            },
            "type": "huggingface",
            "model_kwargs": {"model_arch": "vacc", "build_visual": True},
        },
        "backend": {"type": "tvm_vacc", "dtype": "fp16", "compile": options},
        "workspace": _vision_workspace(recipe.environment),
    }
    path = PurePosixPath("build", f"{preset.family}_visual.yaml")
    return CompileJob(Precision.FP16, name, path, config)


def _vision_workspace(environment: Environment) -> Config:
    """Return the section `workspace` of either half, without `workers`.

    It repeats those pins that name exactly one version.
    """
    versions = {pin.name: str(pin.versions) for pin in requirements_of(environment).pins}
    exact = {name: re.fullmatch(r"==([^,*]+)", text) for name, text in versions.items()}
    pins = {name: version[1] for name, version in exact.items() if version}
    return {"path": "vamc_results", **({"pyenv": pins} if pins else {}), "env_recheck": False}


# --- text encoders: published configs of embedding models and rerankers, which need no workspace

ENCODER_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
"""What the vendor's script exports, of BERT and of XLM-RoBERTa."""
ATTENTION_SPLITS = {2048: 4, 4096: 8, 8192: 16}
"""`attention_split_num` by length in tokens, from the comments of the published configs."""
USUAL_TOKENS = 512
SAMPLES = 10


def encoder_config(
    preset: EncoderPreset, precision: str | None = None, tokens: int | None = None
) -> Config:
    """Return an encoder's compile config, for texts of `tokens` tokens; its defaults where None.

    Raises:
        UsageError: there is no published config of that precision, or the length is impossible.
    """
    precision = Precision(precision or preset.precisions[0])
    most = preset.max_tokens
    tokens = min(USUAL_TOKENS, most) if tokens is None else tokens
    if precision not in preset.precisions:
        published = " and ".join(word.value for word in preset.precisions)
        raise UsageError(f"{preset.name} is published in {published}, not in {precision.value}")
    if tokens < LENGTH_STEP_TOKENS or tokens % LENGTH_STEP_TOKENS:
        raise UsageError(f"length {tokens} is not a multiple of {LENGTH_STEP_TOKENS}")
    if tokens > most:
        raise UsageError(f"{preset.name} reads texts of up to {most} tokens, not {tokens}")
    config: Config = {
        "name": f"{preset.name}-{tokens}-{precision.value}",
        "frontend": {"checkpoint": f"/path/to/{preset.name}"},
        "backend": {"type": "tvm_vacc", "dtype": precision.value},
    }
    frontend, backend = config["frontend"], config["backend"]
    if preset.reads == "huggingface":
        frontend["shape"] = {"input_ids": [[tokens], []]}
        frontend |= {"type": "huggingface", "model_kwargs": {"model_arch": "vacc"}}
        options: Config = {
            "data_type": 0,
            "gather_data_vccl_dsp_enable": True,
            "stream_mode": True,
        }
    else:  # a graph that the vendor's script exports
        frontend["checkpoint"] += f"-{tokens}-sim.onnx"
        frontend["shape"] = {name: [1, tokens] for name in ENCODER_INPUTS}
        # The published int8 configs say 0, which elsewhere stands for fp16 builds.
        options = {"cluster_mode": 0, "data_type": 2 if precision is Precision.INT8 else 0}
        for least, split in ATTENTION_SPLITS.items():
            if least <= tokens:
                options["attention_split_num"] = split
        if preset.task == "embedding":  # a reranker's output is a single number
            options["output_layout"] = ["0:YX"]
    backend["compile"] = options
    if precision is Precision.INT8:
        backend["quantize"] = {
            "calibrate_mode": "max",
            "quantize_per_channel": False,
            "overflow_adaptive": 1,
            "calibrate_range": 0.99999,
        }
        config["dataset"] = {
            "type": "tvm",
            "path": "/path/to/quant_dir",
            "sampler": {"suffix": "npz", "get_data_num": SAMPLES},
        }
    return {**config, "workspace": {"path": "./vacc_deploy"}}
