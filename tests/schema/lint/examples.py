"""Runs the examples in the rules' docstrings as the files that they stand for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from vacc_gen.generator.cli.checking import PresetModels
from vacc_gen.schema.lint.check import Selection, check_paths, check_text
from vacc_gen.schema.lint.diagnostics import Diagnostic
from vacc_gen.schema.lint.rule import Rule
from vacc_gen.schema.lint.rules_page import unescaped

AS_WRITTEN = frozenset(("VG115", "VG116"))
"""Rules about notation, which is lost where an example is made a whole config."""

EVERYTHING = Selection(extend=("ALL",))
KNOWN = PresetModels()

LANGUAGE_MODEL = {
    "name": "falcon-7b",
    "frontend": {
        "checkpoint": "/path/to/falcon-7b",
        "type": "huggingface",
        "shape": {"input_ids": [[1024], [2048]]},
    },
    "backend": {"type": "tvm_vacc", "dtype": "fp16"},
    "workspace": {"path": "./vacc_deploy"},
}
IMAGE_MODEL = {
    "name": "resnet50",
    "frontend": {"checkpoint": "/path/to/resnet50.onnx", "shape": {"input": [1, 3, 224, 224]}},
    "backend": {"type": "tvm_vacc", "dtype": "fp16"},
    "workspace": {"path": "./vacc_deploy"},
}
RECIPE = {"version": 2, "model": {"preset": "falcon-7b", "checkpoint": "/path/to/falcon-7b"}}

_FILE = re.compile(r"^# ([\w./-]+\.\w+)\n")


def overlaid(base: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    """Return a config with what an example says; shapes are replaced, sections are merged."""
    made = dict(base)
    for key, value in example.items():
        if key != "shape" and isinstance(value, dict) and isinstance(made.get(key), dict):
            made[key] = overlaid(made[key], value)
        else:
            made[key] = value
    return made


def completed(text: str) -> str:
    """Return an example as the whole config that it is a part of."""
    values = yaml.safe_load(text)
    frontend = values.get("frontend") or {}
    if "version" in values or "calibration" in values or "environment" in values:
        base = RECIPE
    elif {"sampler", "process_ops"} & set(values.get("dataset") or {}) or re.search(
        r"\.\w+$", str(frontend.get("checkpoint", ""))
    ):
        base = IMAGE_MODEL
    else:
        base = LANGUAGE_MODEL
    return yaml.safe_dump(overlaid(base, values), sort_keys=False)


def findings(rule: Rule, example: str, folder: Path) -> list[Diagnostic]:
    """Check an example, and return the findings of one rule."""
    if _FILE.match(example):
        for part in re.split(r"^---\n", example + "\n", flags=re.MULTILINE):
            named = _FILE.match(part)
            assert named, part
            path, text = folder / named.group(1), part[named.end() :]
            path.parent.mkdir(parents=True, exist_ok=True)
            is_config = path.suffix == ".yaml"
            path.write_text(completed(text) if is_config else text, encoding="utf-8")
        found = check_paths([str(folder)], KNOWN, EVERYTHING).diagnostics
    elif rule.code in AS_WRITTEN:
        rest = {k: v for k, v in LANGUAGE_MODEL.items() if f"{k}:" not in example}
        text = f"{example}\n{yaml.safe_dump(rest)}"
        found = check_text(text, "example.yaml", KNOWN, EVERYTHING)
    elif rule.code < "VG1":
        found = check_text(unescaped(example), "example.yaml", KNOWN, EVERYTHING)
    else:
        text = completed(example)
        path = "vacc.yaml" if yaml.safe_load(text).get("version") else "build/example.yaml"
        found = check_text(text, str(folder / path), KNOWN, EVERYTHING)
    return [one for one in found if one.code == rule.code]
