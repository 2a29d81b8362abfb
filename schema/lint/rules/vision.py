"""VG7: do the options of a vision tower, and its two halves' configs, go together?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from vacc_gen.schema.checkpoint import CONFIG_FILE
from vacc_gen.schema.json_files import read_json
from vacc_gen.schema.lint.diagnostics import Finding, Severity, as_written
from vacc_gen.schema.lint.files import ConfigFile, FileFinding
from vacc_gen.schema.lint.rule import rule

PATCH_STEP = 16
OUTPUT_COLUMNS = 640
_LAYOUT = ("backend", "compile", "output_layout")
_PATCH_AXES = {"pixel_values": (0,), "attention_mask": (1, 2), "cos": (0,), "sin": (0,)}
"""By input, the axes that are as long as there are patches."""


@rule("VG701", Severity.ERROR, "patches of the vision tower")
def patches(file: ConfigFile) -> Iterator[Finding]:
    """`pixel_values`, `attention_mask`, `cos` and `sin` have one number of patches.

    It is (height / 14) x (width / 14), and a multiple of 16 (vendor's vlm/qwen2_5_vl/README.md).

    Bad:
        frontend: {shape: {cos: [4096, 80], sin: [2048, 80]}, model_kwargs: {build_visual: true}}
    Good:
        frontend: {shape: {cos: [4096, 80], sin: [4096, 80]}, model_kwargs: {build_visual: true}}
    """
    shapes = file.fixed_shapes if file.is_vision_tower else {}
    numbers = {
        (name, axis): shape[axis]
        for name, shape in shapes.items()
        for axis in _PATCH_AXES.get(name, ())
        if axis < len(shape)
    }
    if len({*numbers.values()}) > 1:
        usual = Counter(numbers.values()).most_common(1)[0][0]
        name, axis = next(place for place, number in numbers.items() if number != usual)
        message = f"`{name}` has {numbers[name, axis]} patches, but the other inputs have {usual}"
        yield Finding(file.at("frontend", "shape", name, axis), message)
    elif numbers:
        (name, axis), number = next(iter(numbers.items()))
        if number % PATCH_STEP:
            message = f"{number} patches are not a multiple of {PATCH_STEP}"
            hint = f"the next multiple is {number + -number % PATCH_STEP}"
            yield Finding(file.at("frontend", "shape", name, axis), message, hint)


@rule("VG703", Severity.ERROR, "vision tower on several dies")
def tower_tp(file: ConfigFile) -> Iterator[Finding]:
    """The vision tower runs on one die (vendor's vlm/qwen2_5_vl/README.md).

    Bad:
        frontend: {model_kwargs: {build_visual: true, tp: 4}}
    Good:
        frontend: {model_kwargs: {build_visual: true}}
    """
    tp = file.options.tp or 1
    if file.is_vision_tower and tp > 1:
        span = file.at("frontend", "model_kwargs", "tp")
        yield Finding(span, f"`tp` is {tp}, but a vision tower runs on one die", "delete `tp`")


@rule("VG705", Severity.ERROR, "output_layout that does not fit the outputs")
def output_layout(file: ConfigFile) -> Iterator[Finding]:
    """An entry has the number of an output, from 0, and its layout.

    A vision tower has an output for every 640 columns: 6 for a width of 3584, 4 for 2048 (vendor's
    vlm/qwen2_5_vl/README.md). Another layout than YX, which all published configs have, is a
    warning; quotes inside the text are part of it.

    Bad:
        # visual.yaml
        frontend: {checkpoint: weights, model_kwargs: {model_arch: vacc, build_visual: true}}
        backend: {compile: {output_layout: ["0:YX", "1:XY", "2:YX"]}}
        ---
        # weights/config.json
        {"vision_config": {"out_hidden_size": 2048}}
    Good:
        # visual.yaml
        frontend: {checkpoint: weights, model_kwargs: {model_arch: vacc, build_visual: true}}
        backend: {compile: {output_layout: ["0:YX", "1:YX", "2:YX", "3:YX"]}}
    """
    options = file.config.backend.compile
    entries = (options.output_layout or []) if options else []
    for position, entry in enumerate(entries):
        if entry != f"{position}:YX":
            message = f"the entry of output {position} is {as_written(entry)}"
            hint = f'write "{position}:YX", as in every published config'
            severity = Severity.WARNING if entry.startswith(f"{position}:") else None
            yield Finding(file.at(*_LAYOUT, position), message, hint, None, severity)
    if not entries or not file.is_vision_tower:
        return
    checkpoint = read_json(file.folder / file.config.frontend.checkpoint / CONFIG_FILE) or {}
    tower = checkpoint.get("vision_config")
    width = tower.get("out_hidden_size") if isinstance(tower, dict) else None
    parts = math.ceil(width / OUTPUT_COLUMNS) if type(width) is int else len(entries)
    if len(entries) != parts:
        message = f"the tower's output has {parts} parts, but `output_layout` has {len(entries)}"
        hint = f"the output is {width} wide; write an entry for every {OUTPUT_COLUMNS} columns"
        yield Finding(file.at(*_LAYOUT), message, hint)


def _halves(configs: list[ConfigFile]) -> Iterator[tuple[ConfigFile, ConfigFile]]:
    """Yield vision towers with the language model of the same checkpoint in the same folder."""
    languages = {
        (config.path.parent, config.checkpoint_name): config
        for config in configs
        if config.lengths is not None
    }
    for tower in configs:
        language = languages.get((tower.path.parent, tower.checkpoint_name))
        if tower.is_vision_tower and language is not None:
            yield tower, language


@rule("VG750", Severity.WARNING, "pins unlike the other half's", scope="configs")
def pins_unlike(configs: list[ConfigFile]) -> Iterator[FileFinding]:
    """One half of a vision-language model pins packages, and the other does not, or pins others.

    Bad:
        # visual.yaml
        name: vl_visual_fp16
        frontend: {shape: {pixel_values: [2048, 1176]}, model_kwargs: {build_visual: true}}
        ---
        # llm.yaml
        workspace: {pyenv: {transformers: 4.51.3}}
    Good:
        # visual.yaml
        name: vl_visual_fp16
        frontend: {shape: {pixel_values: [2048, 1176]}, model_kwargs: {build_visual: true}}
        workspace: {pyenv: {transformers: 4.51.3}}
    """
    for tower, language in _halves(configs):
        own, wanted = (half.config.workspace.pyenv for half in (tower, language))
        if wanted and own != wanted:
            state = f"is {_pins(own)}" if own else "is missing"
            message = f"`pyenv` {state}; {language.path.name} has {_pins(wanted)}"
            hint = "compile both halves with the same packages"
            yield tower, Finding(tower.key_at("workspace", "pyenv"), message, hint)


def _pins(pins: dict[str, str]) -> str:
    return ", ".join(f"{package} {version}" for package, version in pins.items())


@rule("VG751", Severity.ERROR, "more image tokens than the prefill holds", scope="configs")
def too_many_patches(configs: list[ConfigFile]) -> Iterator[FileFinding]:
    """Four patches make a token; all must fit the prefill (vendor's vlm/qwen2_5_vl/README.md).

    Bad:
        # visual.yaml
        name: vl_visual_fp16
        frontend: {shape: {pixel_values: [8192, 1176]}, model_kwargs: {build_visual: true}}
        ---
        # llm.yaml
        name: vl_llm_fp16
    Good:
        # visual.yaml
        name: vl_visual_fp16
        frontend: {shape: {pixel_values: [2048, 1176]}, model_kwargs: {build_visual: true}}
    """
    for tower, language in _halves(configs):
        shape, lengths = tower.fixed_shapes.get("pixel_values"), language.lengths
        if shape and lengths and shape[0] // 4 >= lengths.prefill:
            have = f"{shape[0]} patches are {shape[0] // 4} tokens"
            message = f"{have}, and the prefill of {language.path.name} is {lengths.prefill}"
            hint = "a quarter of the patches must be less than the prefill"
            yield tower, Finding(tower.at("frontend", "shape", "pixel_values", 0), message, hint)
