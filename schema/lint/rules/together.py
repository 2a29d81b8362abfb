"""VG25 and VG75: do configs that belong together agree, and keep out of each other's way?"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from vacc_gen.schema.checkpoint import name_of
from vacc_gen.schema.lint.diagnostics import Finding, Severity
from vacc_gen.schema.lint.files import PRECISIONS, ConfigFile, FileFinding, words
from vacc_gen.schema.lint.rule import rule

_NOT_OF_A_MODEL = (*PRECISIONS, "official", "base", "chat")


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

    Bad:
        # one.yaml
        name: bert
        ---
        # two.yaml
        name: bert
    Good:
        # two.yaml
        name: bert_384
    """
    for output, writers in _grouped(configs, _output):
        if any(writer.other_precision_in_name for writer in writers):
            continue  # VG201
        for config in writers:
            others = ", ".join(other.path.name for other in writers if other is not config)
            message = f"{others} writes to the same folder, {name_of(output)}"
            hint = "give each config a name or a workspace.path of its own"
            yield config, Finding(config.at("name"), message, hint)


def _output(config: ConfigFile) -> str:
    """Return the folder that a config's output goes to."""
    workspace = config.config.workspace
    folder = workspace.path or workspace.work_dir or "."
    return os.path.normpath(config.folder / folder / config.config.name)


@rule("VG251", Severity.WARNING, "name of another model's config", scope="configs")
def copied_name(configs: list[ConfigFile]) -> Iterator[FileFinding]:
    """A copied config kept its name, which fits the other's file and folder and not its own.

    Bad:
        # pfld/pfld.yaml
        name: official_pfld_fp16
        ---
        # hrnet/hrnet.yaml
        name: official_pfld_fp16
    Good:
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
