"""The examples in the rules' docstrings, as the files that they stand for."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from vacc_gen.presets import KNOWN
from vacc_gen.schema.lint.check import CheckResult, check_paths, check_text
from vacc_gen.schema.lint.diagnostics import Diagnostic
from vacc_gen.schema.lint.document import Kind, kind_of, load
from vacc_gen.schema.lint.rule import Rule
from vacc_gen.schema.recipe import Recipe

LANGUAGE_MODEL = {
    "name": "falcon-7b",
    "frontend": {
        "checkpoint": "/path/to/falcon-7b",
        "type": "huggingface",
        "shape": {"input_ids": [[1024], [2048]]},
        "model_kwargs": {"model_arch": "vacc", "tp": 4},
    },
    "backend": {"type": "tvm_vacc", "dtype": "fp16"},
    "workspace": {"path": "./vacc_deploy"},
}
IMAGE_MODEL = {
    **LANGUAGE_MODEL,
    "name": "resnet50",
    "frontend": {
        "checkpoint": "/path/to/resnet50.onnx",
        "type": "onnx",
        "shape": {"input": [1, 3, 224, 224]},
    },
}
VISION_TOWER = {
    **LANGUAGE_MODEL,
    "frontend": {
        "checkpoint": "/path/to/falcon-7b",
        "type": "huggingface",
        "shape": {"pixel_values": [4096, 1176]},
        "model_kwargs": {"model_arch": "vacc"},
    },
}
FILES = {"path": "./calibration", "sampler": {"suffix": "jpg", "get_data_num": 50}}
RECIPE = {"version": 2, "model": {"preset": "falcon-7b", "checkpoint": "/path/to/falcon-7b"}}
SNAPSHOTS = Path(__file__).parent / "snapshots"
_AS_THEY_ARE = ("VG0", "VG12")
"""Rules about the text, or about what kind of file it is."""
_WHOLE = ("shape", "model_kwargs")
"""Sections that an example has whole."""
_FILE = re.compile(r"^# ([\w./-]+\.\w+)\n")


def written(rule: Rule, example: str, folder: Path) -> CheckResult:
    """Write an example as the files that it stands for, over those there, and check the folder."""
    as_it_is = rule.code.startswith(_AS_THEY_ARE)
    folder.mkdir(exist_ok=True)
    if not _FILE.match(example):
        text = _as_ours(unescaped(example)) if as_it_is else completed(example)
        name = "vacc.yaml" if text.startswith("version:") else "example.yaml"
        (folder / name).write_text(text, encoding="utf-8")
        return check_paths([str(folder / name)], KNOWN)
    named = []
    for part in re.split(r"^---\n", example + "\n", flags=re.MULTILINE):
        match = _FILE.match(part)
        assert match, part
        path, text = folder / match.group(1), part[match.end() :]
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".safetensors":
            text = unescaped(text.rstrip()).rstrip()
        is_partial = path.suffix == ".yaml" and not as_it_is
        path.write_text(completed(text) if is_partial else text, encoding="utf-8")
        named.append(str(path))
    return check_paths(named if as_it_is else [str(folder)], KNOWN)


def _as_ours(text: str) -> str:
    """Return a text with the sections by which it is known as a compile config."""
    document = load(text, "example.yaml")
    if document.root is None or kind_of(document) is not Kind.OTHER:
        return text
    sections = {key: value for key, value in LANGUAGE_MODEL.items() if key != "name"}
    return text + yaml.safe_dump(sections, sort_keys=False)


def unescaped(example: str) -> str:
    r"""Return an example as a file: `\t`, `\r`, `\x20`, `\x00`, `\ufeff` stand for themselves."""
    return example.encode("ascii", "backslashreplace").decode("unicode_escape") + "\n"


def findings(code: str, example: str) -> list[str]:
    """Return a rule's findings in the completed example: place, severity, message and hint."""
    found = check_text(completed(example), "example.yaml", KNOWN)
    return [_in_a_line(one) for one in found if one.code == code]


def findings_in(folder: Path, files: Mapping[str, str], codes: str | tuple[str, ...]) -> list[str]:
    """Write files below a folder, and return what rules with such codes find there."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    found = check_paths([str(folder)], KNOWN).diagnostics
    found = [one for one in found if one.code.startswith(codes)]
    lines = [f"{one.path}:{_in_a_line(one)} [{one.code}]" for one in found]
    return [line.replace(f"{folder}/", "") for line in lines]


def _in_a_line(found: Diagnostic) -> str:
    place = f"{found.line}:{found.column}"
    return f"{place} {found.severity.value}: {found.message} | {found.hint}"


def assert_on_record(name: str, text: str) -> None:
    """Compare a text with the snapshot of this name; `UPDATE_GOLDEN=1` writes it again."""
    golden = SNAPSHOTS / name
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def assert_findings_on_record(name: str, found: Mapping[str, Sequence[str]]) -> None:
    """Compare findings, by what they are found in, with the snapshot of this name."""
    shown = ""
    for case, lines in found.items():
        shown += f"{case.strip()}\n" + "".join(f"    {line}\n" for line in lines or ["-"])
    assert_on_record(name, shown)


def completed(text: str) -> str:
    """Return an example as the whole config that it is a part of."""
    values = yaml.safe_load(text)
    frontend = values.get("frontend") or {}
    if Recipe.model_fields.keys() & values.keys():
        base = RECIPE
    elif "build_visual" in (frontend.get("model_kwargs") or {}):
        base = VISION_TOWER
    elif {"sampler", "process_ops"} & set(values.get("dataset") or {}) or re.search(
        r"\.\w+$", str(frontend.get("checkpoint", ""))
    ):
        base = IMAGE_MODEL
    else:
        base = LANGUAGE_MODEL
    if "process_ops" in (values.get("dataset") or {}):
        values["dataset"] = {**FILES, **values["dataset"]}
        values["dataset"]["process_ops"] = _whole(values["dataset"]["process_ops"])
    return yaml.safe_dump(_overlaid(base, values), sort_keys=False)


def _whole(ops: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return ops that make an input of an image; an example may show only those in the middle."""
    if any(op["type"] in ("DecodeImage", "ToTensor") for op in ops):
        return ops
    resize = {"type": "Resize", "size": [224, 224]}
    return [{"type": "DecodeImage"}, resize, *ops, {"type": "ToTensor"}]


def _overlaid(base: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    """Return a config with what an example says; sections are merged, but for those of `_WHOLE`."""
    made = dict(base)
    for key, value in example.items():
        if key not in _WHOLE and isinstance(value, dict) and isinstance(made.get(key), dict):
            made[key] = _overlaid(made[key], value)
        else:
            made[key] = value
    return made
