"""VG25 and VG75: do configs that belong together agree, and keep out of each other's way?"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from vacc_gen.schema.lint import fixes as edits
from vacc_gen.schema.lint.diagnostics import Fix, Severity
from vacc_gen.schema.lint.group import Group, GroupFinding
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.rules._facts import (
    PRECISIONS,
    basename,
    is_huggingface,
    is_vision,
    lengths_of,
    shapes_of,
    words,
)
from vacc_gen.schema.lint.subject import Finding, Subject


def _output(subject: Subject) -> str | None:
    """Return the folder that a config's output goes to, or None where that is not told."""
    name = subject.get("name")
    path = subject.get("workspace", "path") or subject.get("workspace", "work_dir")
    if not isinstance(name, str) or not isinstance(path, str):
        return None
    return os.path.normpath(subject.folder / path / name)


def _contradicts_itself(subject: Subject) -> bool:
    """Whether the name is wrong by what the file itself says (VG201)."""
    dtype = subject.get("backend", "dtype")
    said = [word for word in words(str(subject.get("name"))) if word in PRECISIONS]
    return bool(said) and dtype not in said


@rule("VG250", Severity.ERROR, "two configs write to the same folder", scope="group")
def same_output(group: Group) -> Iterator[GroupFinding]:
    """The output goes to `<workspace.path>/<name>`; of two configs with both alike, the one that is
    compiled last overwrites the other's.

    Relative paths are taken from the workspace for its configs, else from each file's own folder.

    Bad:
        # one.yaml
        name: bert_base_chinese_ner
        ---
        # two.yaml
        name: bert_base_chinese_ner
    Good:
        # one.yaml
        name: bert_base_chinese_ner_fp16
        ---
        # two.yaml
        name: bert_base_chinese_ner_int8
        backend:
          dtype: int8
        dataset:
          type: tvm
          path: ./calibration
          sampler:
            suffix: npz
            get_data_num: 50
    """
    outputs: dict[str, list[Subject]] = {}
    for subject in group.configs:
        output = _output(subject)
        if output is not None:
            outputs.setdefault(output, []).append(subject)
    for output, writers in outputs.items():
        if len(writers) < 2 or any(_contradicts_itself(writer) for writer in writers):
            continue
        for subject in writers:
            others = [basename(one.document.path) for one in writers if one is not subject]
            yield (
                subject,
                Finding(
                    subject.span("name"),
                    f"{', '.join(others)} writes to the same folder, {basename(output)}",
                    "give each config a name or a workspace.path of its own",
                ),
            )


def _own_words(subject: Subject) -> str:
    """Return what file and folders say that a config is about."""
    return " ".join(Path(subject.document.path.lower()).parts[-4:])


def _fits_its_file(subject: Subject) -> bool:
    named = [word for word in words(str(subject.get("name"))) if len(word) > 2]
    about = "".join(words(_own_words(subject)))
    models = [word for word in named if word not in (*PRECISIONS, "official", "base", "chat")]
    return any(word in about for word in models if not word.isdigit())


@rule("VG251", Severity.WARNING, "name of another model's config", scope="group")
def copied_name(group: Group) -> Iterator[GroupFinding]:
    """A config has the name of another one in another folder, and its own file and folder are
    called otherwise: it was copied, and the name was left.

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
    by_name: dict[str, list[Subject]] = {}
    for subject in group.configs:
        name = subject.get("name")
        if isinstance(name, str):
            by_name.setdefault(name, []).append(subject)
    for name, bearers in by_name.items():
        rightful = [one for one in bearers if _fits_its_file(one)]
        for subject in bearers:
            if rightful and subject not in rightful:
                yield (
                    subject,
                    Finding(
                        subject.span("name"),
                        f"{name} is the name of another model's config",
                        f"it belongs to {rightful[0].document.path}",
                    ),
                )


_PRECISION_IN_FILE = re.compile(r"[-_.]?(fp16|int8|kv8)(?=[-_.]|$)", re.IGNORECASE)


def _twins(subjects: list[Subject]) -> Iterator[tuple[Subject, Subject]]:
    """Yield pairs of files whose names differ in the precision alone: hf_x_fp16, hf_x_int8."""
    first: dict[str, Subject] = {}
    for subject in subjects:
        stem = basename(subject.document.path)
        without, count = _PRECISION_IN_FILE.subn("", stem)
        if count:
            if without in first:
                yield first[without], subject
            first.setdefault(without, subject)


@rule("VG252", Severity.WARNING, "twins that disagree", scope="group")
def twins_disagree(group: Group) -> Iterator[GroupFinding]:
    """Two files that are called the same up to the precision are of the same model, and here they
    have another checkpoint, another shape or another tp.

    Bad:
        # hf_falcon_fp16.yaml
        name: falcon-7b-fp16
        frontend:
          model_kwargs:
            model_arch: vacc
            tp: 4
        ---
        # hf_falcon_int8.yaml
        name: falcon-7b-int8
        backend:
          dtype: int8
        frontend:
          quantize:
            type: w8a16_gptq
          model_kwargs:
            model_arch: vacc
            tp: 8
    Good:
        # hf_falcon_fp16.yaml
        name: falcon-7b-fp16
        frontend:
          model_kwargs:
            model_arch: vacc
            tp: 4
        ---
        # hf_falcon_int8.yaml
        name: falcon-7b-int8
        backend:
          dtype: int8
        frontend:
          quantize:
            type: w8a16_gptq
          model_kwargs:
            model_arch: vacc
            tp: 4
    """
    for subjects in group.by_folder():
        for one, other in _twins(subjects):
            if not is_huggingface(one) or not is_huggingface(other):
                continue
            for steps in (
                ("frontend", "checkpoint"),
                ("frontend", "shape"),
                ("frontend", "model_kwargs", "tp"),
            ):
                ours, theirs = other.get(*steps), one.get(*steps)
                if ours is None or theirs is None or _same(ours, theirs):
                    continue
                file = basename(one.document.path)
                yield (
                    other,
                    Finding(
                        other.key_span(*steps),
                        f"`{steps[-1]}` is not that of {file}",
                        f"there it is {theirs}",
                    ),
                )


def _same(ours: object, theirs: object) -> bool:
    if isinstance(ours, str) and isinstance(theirs, str):
        return basename(ours) == basename(theirs)
    return ours == theirs


def _parts(group: Group) -> Iterator[tuple[Subject, Subject]]:
    """Yield vision towers with the language models of the same checkpoint in the same folder."""
    for subjects in group.by_folder():
        languages: dict[str, Subject] = {}
        for subject in subjects:
            checkpoint = subject.get("frontend", "checkpoint")
            if isinstance(checkpoint, str) and lengths_of(subject) is not None:
                languages.setdefault(basename(checkpoint), subject)
        for subject in subjects:
            checkpoint = subject.get("frontend", "checkpoint")
            if is_vision(subject) and isinstance(checkpoint, str):
                language = languages.get(basename(checkpoint))
                if language is not None:
                    yield subject, language


@rule("VG750", Severity.WARNING, "pins unlike the other half's", scope="group", fix="unsafe")
def pins_unlike(group: Group) -> Iterator[GroupFinding]:
    """The two halves of a vision-language model are compiled with the same packages; one pins them
    and the other does not, or pins others.

    Bad:
        # visual.yaml
        name: vl_visual_fp16
        frontend:
          shape: {pixel_values: [4096, 1176]}
          model_kwargs: {model_arch: vacc, build_visual: true}
        ---
        # llm.yaml
        name: vl_llm_fp16
        workspace:
          path: ./out
          pyenv: {transformers: 4.51.3}
    Good:
        # visual.yaml
        name: vl_visual_fp16
        frontend:
          shape: {pixel_values: [4096, 1176]}
          model_kwargs: {model_arch: vacc, build_visual: true}
        workspace:
          path: ./out
          pyenv: {transformers: 4.51.3}
        ---
        # llm.yaml
        name: vl_llm_fp16
        workspace:
          path: ./out
          pyenv: {transformers: 4.51.3}
    """
    for tower, language in _parts(group):
        ours, theirs = tower.get("workspace", "pyenv"), language.get("workspace", "pyenv")
        if theirs is None or ours == theirs or tower.node("workspace") is None:
            continue
        what = "is missing" if ours is None else f"is {_pins(ours)}"
        key = ("workspace", "pyenv") if ours else ("workspace",)
        yield (
            tower,
            Finding(
                tower.key_span(*key),
                f"`pyenv` {what}; {basename(language.document.path)} pins {_pins(theirs)}",
                "compile both halves with the same packages",
                None if ours else _add_pins(tower, theirs),
            ),
        )


def _pins(pins: dict[str, str]) -> str:
    return ", ".join(f"{package} {version}" for package, version in pins.items())


def _add_pins(tower: Subject, pins: dict[str, str]) -> Fix | None:
    section = tower.node("workspace")
    flow = ", ".join(f"{package}: {version}" for package, version in pins.items())
    if section is None:
        return None
    return edits.insert(tower.document, section, f"pyenv: {{{flow}}}", safe=False)


@rule("VG751", Severity.ERROR, "more image tokens than the prefill holds", scope="group")
def too_many_patches(group: Group) -> Iterator[GroupFinding]:
    """Four patches make one token, and all of them have to fit into the prefill of the language
    model (vendor's vlm/qwen2_5_vl/README.md).

    Bad:
        # visual.yaml
        name: vl_visual_fp16
        frontend:
          shape: {pixel_values: [8192, 1176]}
          model_kwargs: {model_arch: vacc, build_visual: true}
        ---
        # llm.yaml
        name: vl_llm_fp16
        frontend:
          shape: {input_ids: [[1024], [2048]]}
    Good:
        # visual.yaml
        name: vl_visual_fp16
        frontend:
          shape: {pixel_values: [2048, 1176]}
          model_kwargs: {model_arch: vacc, build_visual: true}
        ---
        # llm.yaml
        name: vl_llm_fp16
        frontend:
          shape: {input_ids: [[1024], [2048]]}
    """
    for tower, language in _parts(group):
        shape, lengths = shapes_of(tower).get("pixel_values"), lengths_of(language)
        if not shape or not isinstance(shape[0], int) or lengths is None:
            continue
        tokens, prefill = shape[0] // 4, lengths.prefill.value
        if tokens >= prefill:
            yield (
                tower,
                Finding(
                    tower.span("frontend", "shape", "pixel_values", 0),
                    f"{shape[0]} patches are {tokens} tokens, and the prefill of "
                    f"{basename(language.document.path)} is {prefill}",
                    "a quarter of the patches must be less than the prefill",
                ),
            )
