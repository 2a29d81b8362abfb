"""VG7: do the options of a vision tower, of a vision-language model, go together?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vacc_gen.schema.json_files import read_json
from vacc_gen.schema.lint.diagnostics import Finding, Severity, as_written
from vacc_gen.schema.lint.files import ConfigFile
from vacc_gen.schema.lint.rule import rule

PATCH_STEP = 16
OUTPUT_COLUMNS = 640
_LAYOUT = ("backend", "compile", "output_layout")
_PATCH_AXES = {"pixel_values": (0,), "attention_mask": (1, 2), "cos": (0,), "sin": (0,)}
"""By input, the axes that are as long as there are patches."""


def _patches(file: ConfigFile) -> dict[tuple[str, int], int]:
    """Return the number of patches by input and axis; empty where it is no vision tower."""
    shapes = file.fixed_shapes if file.is_vision_tower else {}
    return {
        (name, axis): shapes[name][axis]
        for name, axes in _PATCH_AXES.items()
        for axis in axes
        if axis < len(shapes.get(name, ()))
    }


@rule("VG701", Severity.ERROR, "shapes of the vision tower disagree")
def tower_shapes(file: ConfigFile) -> Iterator[Finding]:
    """`pixel_values`, `attention_mask`, `cos` and `sin` all have the same number of patches.

    Bad:
        frontend: {shape: {cos: [4096, 80], sin: [2048, 80]}, model_kwargs: {build_visual: true}}
    Good:
        frontend: {shape: {cos: [4096, 80], sin: [4096, 80]}, model_kwargs: {build_visual: true}}
    """
    patches = _patches(file)
    usual = Counter(patches.values()).most_common(1)[0][0] if patches else 0
    for (name, axis), number in patches.items():
        if number != usual:
            span = file.at("frontend", "shape", name, axis)
            yield Finding(span, f"`{name}` has {number} patches, but the other inputs have {usual}")
            return


@rule("VG702", Severity.ERROR, "patches that are not a multiple of 16")
def patch_step(file: ConfigFile) -> Iterator[Finding]:
    """The number of patches, (height / 14) x (width / 14), is a multiple of 16.

    Source: the vendor's vlm/qwen2_5_vl/README.md. Height and width are multiples of 28.

    Bad:
        frontend: {shape: {pixel_values: [4090, 1176]}, model_kwargs: {build_visual: true}}
    Good:
        frontend: {shape: {pixel_values: [4096, 1176]}, model_kwargs: {build_visual: true}}
    """
    patches = _patches(file)
    for (name, axis), number in patches.items():
        if number % PATCH_STEP and {*patches.values()} == {number}:  # several numbers: VG701
            span = file.at("frontend", "shape", name, axis)
            hint = f"the next multiple is {number + -number % PATCH_STEP}"
            yield Finding(span, f"{number} patches are not a multiple of {PATCH_STEP}", hint)
            return


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


def _layouts(file: ConfigFile) -> Sequence[str]:
    """Return the entries of `output_layout`, such as `0:YX`."""
    options = file.config.backend.compile
    return (options.output_layout or ()) if options else ()


@rule("VG705", Severity.WARNING, "unusual output_layout")
def output_layout(file: ConfigFile) -> Iterator[Finding]:
    """An entry is the number of an output, from 0, and its layout, which is YX when published.

    Quotes inside the text are part of the layout. A wrong number is an error.

    Bad:
        backend: {compile: {output_layout: ["0:YX", "0:XY"]}}
    Good:
        backend: {compile: {output_layout: ["0:YX", "1:YX"]}}
    """
    for position, entry in enumerate(_layouts(file)):
        if entry != f"{position}:YX":
            message = f"the entry of output {position} is {as_written(entry)}"
            hint = f'write "{position}:YX", as in every published config'
            severity = None if entry.startswith(f"{position}:") else Severity.ERROR
            yield Finding(file.at(*_LAYOUT, position), message, hint, None, severity)


def _tower_config(file: ConfigFile) -> Mapping[str, Any]:
    """Return what the checkpoint's config.json says about its vision tower; empty without one."""
    if not file.is_vision_tower:
        return {}
    config = read_json(file.folder / file.config.frontend.checkpoint / "config.json") or {}
    tower = config.get("vision_config")
    return tower if isinstance(tower, dict) else {}


@rule("VG706", Severity.ERROR, "output_layout against the tower's width")
def layout_count(file: ConfigFile) -> Iterator[Finding]:
    """`output_layout` has an entry for every 640 columns of the tower's output.

    6 for a width of 3584, 4 for 2048 (vendor's vlm/qwen2_5_vl/README.md).

    Bad:
        # visual.yaml
        frontend: {checkpoint: weights, model_kwargs: {build_visual: true}}
        backend: {compile: {output_layout: ["0:YX", "1:YX", "2:YX"]}}
        ---
        # weights/config.json
        {"vision_config": {"out_hidden_size": 2048}}
    Good:
        backend: {compile: {output_layout: ["0:YX", "1:YX", "2:YX", "3:YX"]}}
    """
    entries, width = len(_layouts(file)), _tower_config(file).get("out_hidden_size")
    if not entries or type(width) is not int:
        return
    parts = math.ceil(width / OUTPUT_COLUMNS)
    if entries != parts:
        message = f"the tower's output has {parts} parts, but `output_layout` has {entries}"
        hint = f"the output is {width} wide; write an entry for every {OUTPUT_COLUMNS} columns"
        yield Finding(file.at(*_LAYOUT), message, hint)
