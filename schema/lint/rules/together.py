"""VG25 and VG75: do configs that belong together agree, and keep out of each other's way?"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from vacc_gen.schema.lint.diagnostics import Finding, Severity, dotted
from vacc_gen.schema.lint.files import ConfigFile, last_part, words
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.tree import Steps
from vacc_gen.schema.lint.workspace import FileFinding

_PRECISIONS = ("fp16", "int8", "fp32", "bf16", "int4")
_NOT_OF_A_MODEL = (*_PRECISIONS, "official", "base", "chat")
_PRECISION_IN_FILE = re.compile(r"[-_.]?(fp16|int8|kv8)(?=[-_.]|$)", re.IGNORECASE)


def _grouped(
    configs: list[ConfigFile], key: Callable[[ConfigFile], Any]
) -> Iterator[tuple[Any, list[ConfigFile]]]:
    """Yield the groups of two configs or more that are alike in `key`."""
    groups: dict[Any, list[ConfigFile]] = defaultdict(list)
    for config in configs:
        groups[key(config)].append(config)
    return ((shared, group) for shared, group in groups.items() if len(group) > 1)


@rule("VG250", Severity.ERROR, "two configs write to the same folder", scope="configs")
def same_output(configs: list[ConfigFile]) -> Iterator[FileFinding]:
    """The output goes to `<workspace.path>/<name>`, where the second config overwrites the first's.

    Relative paths start in the workspace for its configs, else in each file's own folder. A name
    that says another precision than its config has is VG201.

    Bad:
        # one.yaml
        name: bert
        ---
        # two.yaml
        name: bert
    Good:
        # one.yaml
        name: bert_128
        ---
        # two.yaml
        name: bert_384
    """
    for output, writers in _grouped(configs, _output):
        if any(_names_another_precision(writer) for writer in writers):
            continue
        for config in writers:
            others = ", ".join(other.path.name for other in writers if other is not config)
            message = f"{others} writes to the same folder, {last_part(output)}"
            hint = "give each config a name or a workspace.path of its own"
            yield config, Finding(config.at("name"), message, hint)


def _output(config: ConfigFile) -> str:
    """Return the folder that a config's output goes to."""
    workspace = config.config.workspace
    folder = workspace.path or workspace.work_dir or "."
    return os.path.normpath(config.folder / folder / config.config.name)


def _names_another_precision(config: ConfigFile) -> bool:
    named = [word for word in words(config.config.name) if word in _PRECISIONS]
    return bool(named) and config.config.backend.dtype not in named


@rule("VG251", Severity.WARNING, "name of another model's config", scope="configs")
def copied_name(configs: list[ConfigFile]) -> Iterator[FileFinding]:
    """A config has the name of another one, which fits that one's file and folder and not its own.

    It was copied, and the name stayed.

    Bad:
        # pfld/pfld.yaml
        name: official_pfld_fp16
        ---
        # hrnet/hrnet.yaml
        name: official_pfld_fp16
    Good:
        # pfld/pfld.yaml
        name: official_pfld_fp16
        ---
        # hrnet/hrnet.yaml
        name: official_hrnet_fp16
    """
    for name, bearers in _grouped(configs, lambda config: config.config.name):
        rightful = [config for config in bearers if _fits_its_file(config)]
        for config in bearers:
            if rightful and config not in rightful:
                message = f"{name} is the name of another model's config"
                hint = f"it fits {rightful[0].document.path}; name this one after its own model"
                yield config, Finding(config.at("name"), message, hint)


def _fits_its_file(config: ConfigFile) -> bool:
    """Whether a word of the name that tells its model is in the file's or the folders' names."""
    about = "".join(words(" ".join(config.path.parts[-4:])))
    named = [word for word in words(config.config.name) if len(word) > 2 and not word.isdigit()]
    return any(word in about for word in named if word not in _NOT_OF_A_MODEL)


@rule("VG252", Severity.WARNING, "twins that disagree", scope="configs")
def twins_disagree(configs: list[ConfigFile]) -> Iterator[FileFinding]:
    """Files that are named the same up to the precision are of one model, and these two disagree.

    They have another checkpoint, other shapes or another tp. In a workspace the recipe says which
    of them is right, and only the other one is reported, by VG901 where it is the shape or the tp.

    Bad:
        # hf_falcon_fp16.yaml
        name: falcon-7b-fp16
        ---
        # hf_falcon_int8.yaml
        name: falcon-7b-int8
        frontend: {shape: {input_ids: [[512], [2048]]}, quantize: {type: w8a16_gptq}}
        backend: {dtype: int8}
    Good:
        # hf_falcon_fp16.yaml
        name: falcon-7b-fp16
        ---
        # hf_falcon_int8.yaml
        name: falcon-7b-int8
        frontend: {quantize: {type: w8a16_gptq}}
        backend: {dtype: int8}
    """
    for first, second in _twins(configs):
        values = _values_of_the_model(first), _values_of_the_model(second)
        for steps in values[0]:
            if steps in values[1] and values[0][steps] != values[1][steps]:
                for wrong, right in _accused(first, second, steps):
                    message = f"`{dotted(steps)}` is not that of {right.path.name}"
                    hint = f"there it is {_values_of_the_model(right)[steps]}"
                    yield wrong, Finding(wrong.key_at(*steps), message, hint)


def _twins(configs: list[ConfigFile]) -> Iterator[tuple[ConfigFile, ConfigFile]]:
    """Yield Hugging Face configs of a folder whose names differ in the precision alone."""
    named: dict[Path, ConfigFile] = {}
    for config in configs:
        without, count = _PRECISION_IN_FILE.subn("", config.path.stem)
        if count and config.is_huggingface:
            first = named.setdefault(config.path.with_name(without), config)
            if first is not config:
                yield first, config


def _values_of_the_model(config: ConfigFile) -> dict[Steps, Any]:
    """Return what is the same in every precision: the checkpoint's name, the shapes, the tp."""
    values: dict[Steps, Any] = {("frontend", "checkpoint"): config.checkpoint_name}
    values |= {("frontend", "shape", name): shape for name, shape in config.shapes.items()}
    if config.options.tp is not None:
        values["frontend", "model_kwargs", "tp"] = config.options.tp
    return values


def _accused(
    first: ConfigFile, second: ConfigFile, steps: Steps
) -> Iterator[tuple[ConfigFile, ConfigFile]]:
    """Yield the twin that is wrong with the other one: by the recipe, or else the second."""
    if first.recipe is None:
        yield second, first
    elif steps == ("frontend", "checkpoint"):
        wanted = last_part(first.recipe.recipe.model.checkpoint)
        pairs = ((first, second), (second, first))
        yield from (pair for pair in pairs if pair[0].checkpoint_name != wanted)


def _halves(configs: list[ConfigFile]) -> Iterator[tuple[ConfigFile, ConfigFile]]:
    """Yield vision towers with the language model of the same checkpoint in the same folder."""
    for _, group in _grouped(configs, lambda config: (config.path.parent, config.checkpoint_name)):
        languages = [config for config in group if config.lengths is not None]
        for tower in group:
            if tower.is_vision_tower and languages:
                yield tower, languages[0]


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
        ---
        # llm.yaml
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
        ---
        # llm.yaml
        name: vl_llm_fp16
    """
    for tower, language in _halves(configs):
        shape, lengths = tower.fixed_shapes.get("pixel_values"), language.lengths
        if shape and lengths and shape[0] // 4 >= lengths.prefill:
            have = f"{shape[0]} patches are {shape[0] // 4} tokens"
            message = f"{have}, and the prefill of {language.path.name} is {lengths.prefill}"
            hint = "a quarter of the patches must be less than the prefill"
            span = tower.at("frontend", "shape", "pixel_values", 0)
            yield tower, Finding(span, message, hint)
