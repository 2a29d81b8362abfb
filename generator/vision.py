"""What the compile configs of a vision-language model say beyond those of a language model. Pure.

It is compiled in two halves: the language model, split over dies, and the vision tower, which turns
the patches of one image into embeddings on a die of its own. Both configs are the published ones of
the Qwen2-VL line, whose towers have the same sizes (`vision_config` in their config.json).

Legend:
    P patches of one image, at most    W hidden size of the language model
    a patch holds 3 channels of 2 frames of 14 x 14 pixels; its position, cos and sin of one head
    four patches, 2 x 2, become one token of the prompt
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from vacc_gen.generator.lock import requirements_of
from vacc_gen.schema.geometry import Geometry
from vacc_gen.schema.preset import VisionTower
from vacc_gen.schema.recipe import Environment

PATCH_PIXELS = 14 * 14
PATCH_VALUES = 3 * 2 * PATCH_PIXELS
HEAD_SIZE = 1280 // 16
PATCHES_PER_TOKEN = 4
OUTPUT_WIDTH = 640
"""The compiler cuts the embeddings into outputs of so many columns (vlm/qwen2_5_vl/README.md)."""

DEPLOY_PATH = "vamc_results"
"""`workspace.path` of the published configs."""

LANGUAGE_SPLITS = {"attention_split_num": 16, "ffn_split_num": 16}
"""What the published configs of the language halves add to `backend.compile`."""


def tower_config(
    name: str, checkpoint: str, tower: VisionTower, geometry: Geometry, pins: Mapping[str, str]
) -> dict[str, object]:
    """Return the compile config of a vision tower; `pins` are versions by package."""
    patches, outputs = tower.patches, -(-geometry.hidden_size // OUTPUT_WIDTH)
    compile_options: dict[str, object] = {
        "data_type": 0,
        "data_transport_mode": 1,
        "attention_split_num": tower.attention_splits,
        "ffn_split_num": tower.ffn_splits,
        "llm_build": True,
        "output_layout": [f"{index}:YX" for index in range(outputs)],
    }
    if tower.full_attention_blocks:
        compile_options["fullatt_block_indexes"] = list(tower.full_attention_blocks)
    return {
        "name": name,
        "frontend": {
            "checkpoint": checkpoint,
            "shape": {
                "pixel_values": [patches, PATCH_VALUES],
                "attention_mask": [1, patches, patches],
                "cos": [patches, HEAD_SIZE],
                "sin": [patches, HEAD_SIZE],
            },
            "type": "huggingface",
            "model_kwargs": {"model_arch": "vacc", "build_visual": True},
        },
        "backend": {"type": "tvm_vacc", "dtype": "fp16", "compile": compile_options},
        "workspace": workspace_section(pins),
    }


def workspace_section(pins: Mapping[str, str]) -> dict[str, object]:
    """Return the section `workspace` of either half, without `workers`."""
    pyenv = {"pyenv": dict(pins)} if pins else {}
    return {"path": DEPLOY_PATH, **pyenv, "env_recheck": False}


def exact_pins(environment: Environment) -> dict[str, str]:
    """Return the version by package of those pins that name exactly one."""
    versions = {pin.name: str(pin.versions) for pin in requirements_of(environment).pins}
    exact = {name: re.fullmatch(r"==([^,*]+)", text) for name, text in versions.items()}
    return {name: version[1] for name, version in exact.items() if version}
