"""VG7: does the vision tower of a vision-language model hold together?"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from vacc_gen.schema.checkpoint_facts import read_json
from vacc_gen.schema.lint import fixes as edits
from vacc_gen.schema.lint.diagnostics import Severity
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.rules._facts import is_vision, shapes_of
from vacc_gen.schema.lint.subject import Finding, Subject

PATCH_STEP = 16
OUTPUT_COLUMNS = 640


@rule("VG701", Severity.ERROR, "shapes of the vision tower disagree")
def tower_shapes(subject: Subject) -> Iterator[Finding]:
    """`pixel_values`, `attention_mask`, `cos` and `sin` are all about the same number of patches.

    Bad:
        frontend:
          shape:
            pixel_values: [4096, 1176]
            attention_mask: [1, 4096, 4096]
            cos: [4096, 80]
            sin: [2048, 80]
          model_kwargs:
            model_arch: vacc
            build_visual: true
    Good:
        frontend:
          shape:
            pixel_values: [4096, 1176]
            attention_mask: [1, 4096, 4096]
            cos: [4096, 80]
            sin: [4096, 80]
          model_kwargs:
            model_arch: vacc
            build_visual: true
    """
    shapes = shapes_of(subject) if is_vision(subject) else {}
    sizes: dict[tuple[str, int], int] = {}
    for name, axes in (
        ("pixel_values", (0,)),
        ("attention_mask", (1, 2)),
        ("cos", (0,)),
        ("sin", (0,)),
    ):
        shape = shapes.get(name, [])
        for axis in axes:
            if axis < len(shape) and isinstance(shape[axis], int):
                sizes[name, axis] = shape[axis]
    counts = list(sizes.values())
    if len(set(counts)) > 1:
        usual = max(set(counts), key=counts.count)
        (name, axis), size = next(item for item in sizes.items() if item[1] != usual)
        yield Finding(
            subject.span("frontend", "shape", name, axis),
            f"`{name}` has {size} patches, the other inputs have {usual}",
        )
    cos, sin = shapes.get("cos", []), shapes.get("sin", [])
    if len(cos) == len(sin) == 2 and cos[1] != sin[1]:
        yield Finding(
            subject.span("frontend", "shape", "sin", 1),
            f"`sin` is {sin[1]} wide, `cos` is {cos[1]}",
        )


@rule("VG702", Severity.ERROR, "patches that are not a multiple of 16", fix="none")
def patch_step(subject: Subject) -> Iterator[Finding]:
    """The number of patches, (height / 14) x (width / 14), is a multiple of 16.

    So says the vendor's vlm/qwen2_5_vl/README.md; height and width are multiples of 28.

    Bad:
        frontend:
          shape:
            pixel_values: [4090, 1176]
          model_kwargs:
            model_arch: vacc
            build_visual: true
    Good:
        frontend:
          shape:
            pixel_values: [4096, 1176]
          model_kwargs:
            model_arch: vacc
            build_visual: true
    """
    shape = shapes_of(subject).get("pixel_values") if is_vision(subject) else None
    if shape and len(shape) == 2 and isinstance(shape[0], int) and shape[0] % PATCH_STEP:
        mask = shapes_of(subject).get("attention_mask", [])
        if len(mask) == 3 and mask[1] != shape[0]:
            return  # VG701
        yield Finding(
            subject.span("frontend", "shape", "pixel_values", 0),
            f"{shape[0]} patches are not a multiple of {PATCH_STEP}",
        )


@rule("VG703", Severity.ERROR, "vision tower on several dies")
def tower_tp(subject: Subject) -> Iterator[Finding]:
    """The vision tower runs on one die (vendor's vlm/qwen2_5_vl/README.md); tp is for the language
    model, which is compiled from a config of its own.

    Bad:
        frontend:
          shape:
            pixel_values: [4096, 1176]
          model_kwargs:
            model_arch: vacc
            build_visual: true
            tp: 4
    Good:
        frontend:
          shape:
            pixel_values: [4096, 1176]
          model_kwargs:
            model_arch: vacc
            build_visual: true
    """
    tp = subject.get("frontend", "model_kwargs", "tp")
    if is_vision(subject) and tp is not None and tp > 1:
        yield Finding(
            subject.span("frontend", "model_kwargs", "tp"),
            f"tp {tp} for a vision tower, which runs on one die",
            "delete `tp` here",
        )


@rule("VG704", Severity.ERROR, "output_layout does not count the outputs")
def output_layout(subject: Subject) -> Iterator[Finding]:
    """`output_layout` has one entry for each output, numbered from 0.

    Bad:
        backend:
          compile:
            output_layout: ["0:YX", "0:YX"]
    Good:
        backend:
          compile:
            output_layout: ["0:YX", "1:YX"]
    """
    layout = subject.get("backend", "compile", "output_layout")
    for position, entry in enumerate(layout or ()):
        number = int(entry.split(":", 1)[0])
        if number != position:
            yield Finding(
                subject.span("backend", "compile", "output_layout", position),
                f"entry {position} is for output {number}",
                "outputs are counted from 0, one entry each",
            )
            return


@rule("VG708", Severity.WARNING, "layout that no published config has")
def unknown_layout(subject: Subject) -> Iterator[Finding]:
    """Behind the number of an output stands its layout, and every published one is YX.

    Bad:
        backend:
          compile:
            output_layout: ["0:XY"]
    Good:
        backend:
          compile:
            output_layout: ["0:YX"]
    """
    for position, entry in enumerate(subject.get("backend", "compile", "output_layout") or ()):
        number, _, layout = entry.partition(":")
        if re.sub("[\"']", "", layout) != "YX":
            yield Finding(
                subject.span("backend", "compile", "output_layout", position),
                f"no published config has the layout {layout}",
                f'write "{number}:YX", as they do, unless you know better',
            )


@rule("VG705", Severity.WARNING, "quotes inside the layout", fix="unsafe")
def quoted_layout(subject: Subject) -> Iterator[Finding]:
    r"""The layout's letters stand in quotes of their own, inside the text; the others' do not.

    Bad:
        backend:
          compile:
            output_layout: ['0:"YX"']
    Good:
        backend:
          compile:
            output_layout: ["0:YX"]
    """
    for position, entry in enumerate(subject.get("backend", "compile", "output_layout") or ()):
        if '"' in entry or "'" in entry:
            span = subject.span("backend", "compile", "output_layout", position)
            plain = re.sub("[\"']", "", entry)
            yield Finding(
                span,
                "quotes are part of this layout",
                f'write "{plain}"',
                edits.replace(span, f'"{plain}"', safe=False),
            )


def _tower_config(subject: Subject) -> Mapping[str, Any]:
    """Return what the checkpoint's config.json says of its vision tower; empty without one."""
    checkpoint = subject.get("frontend", "checkpoint") if is_vision(subject) else None
    if not isinstance(checkpoint, str):
        return {}
    config = read_json(subject.folder / checkpoint / "config.json")
    tower = config.get("vision_config") if isinstance(config, dict) else None
    return tower if isinstance(tower, dict) else {}


@rule("VG706", Severity.ERROR, "output_layout against the tower's width")
def layout_count(subject: Subject) -> Iterator[Finding]:
    """The tower's output is split every 640 columns (vendor's vlm/qwen2_5_vl/README.md), and
    `output_layout` has an entry for each part: 6 for a width of 3584, 4 for 2048.

    Bad:
        # build/visual.yaml
        frontend:
          checkpoint: ../weights
          shape: {pixel_values: [4096, 1176]}
          model_kwargs: {model_arch: vacc, build_visual: true}
        backend:
          compile:
            output_layout: ["0:YX", "1:YX", "2:YX", "3:YX", "4:YX", "5:YX"]
        ---
        # weights/config.json
        {"vision_config": {"out_hidden_size": 2048}}
    Good:
        # build/visual.yaml
        frontend:
          checkpoint: ../weights
          shape: {pixel_values: [4096, 1176]}
          model_kwargs: {model_arch: vacc, build_visual: true}
        backend:
          compile:
            output_layout: ["0:YX", "1:YX", "2:YX", "3:YX"]
        ---
        # weights/config.json
        {"vision_config": {"out_hidden_size": 2048}}
    """
    layout = subject.get("backend", "compile", "output_layout")
    width = _tower_config(subject).get("out_hidden_size")
    if not layout or type(width) is not int:
        return
    parts = math.ceil(width / OUTPUT_COLUMNS)
    if len(layout) != parts:
        yield Finding(
            subject.span("backend", "compile", "output_layout"),
            f"{len(layout)} entries, and an output {width} wide has {parts} parts",
            f"one entry for every {OUTPUT_COLUMNS} columns",
        )


@rule("VG707", Severity.ERROR, "blocks with full attention unlike the checkpoint's")
def full_attention_blocks(subject: Subject) -> Iterator[Finding]:
    """`fullatt_block_indexes` is that of the model's own config.json; here it is another.

    Bad:
        # build/visual.yaml
        frontend:
          checkpoint: ../weights
          shape: {pixel_values: [4096, 1176]}
          model_kwargs: {model_arch: vacc, build_visual: true}
        backend:
          compile:
            fullatt_block_indexes: [7, 15, 23]
        ---
        # weights/config.json
        {"vision_config": {"fullatt_block_indexes": [7, 15, 23, 31]}}
    Good:
        # build/visual.yaml
        frontend:
          checkpoint: ../weights
          shape: {pixel_values: [4096, 1176]}
          model_kwargs: {model_arch: vacc, build_visual: true}
        backend:
          compile:
            fullatt_block_indexes: [7, 15, 23, 31]
        ---
        # weights/config.json
        {"vision_config": {"fullatt_block_indexes": [7, 15, 23, 31]}}
    """
    ours = subject.get("backend", "compile", "fullatt_block_indexes")
    theirs = _tower_config(subject).get("fullatt_block_indexes")
    if ours and theirs and ours != theirs:
        yield Finding(
            subject.span("backend", "compile", "fullatt_block_indexes"),
            f"the checkpoint's config.json has {theirs}",
        )
