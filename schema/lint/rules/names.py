"""VG2: does the name say what the config does, and is it that of no other config?"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter

from vacc_gen.schema.checkpoint import name_of
from vacc_gen.schema.lint.diagnostics import Finding, Fix, Severity, Span
from vacc_gen.schema.lint.files import LENGTH_STEP, PRECISIONS, ConfigFile, FileFinding, words
from vacc_gen.schema.lint.rule import rule


def _word_at(file: ConfigFile, word: str) -> Span:
    """Return where a word stands in the value of `name`; else where the value stands."""
    span = file.at("name")
    written = file.document.written(span)
    pattern = rf"(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z0-9])"
    found = re.search(pattern, written, re.IGNORECASE)
    if found is None or "\n" in written:
        return span
    return file.document.span_at(span.start + found.start(), span.start + found.end())


@rule("VG201", Severity.ERROR, "precision in the name contradicts backend.dtype", fix="unsafe")
def precision_in_name(file: ConfigFile) -> Iterator[Finding]:
    """The name says one precision and `backend.dtype` another; scripts load the model by its name.

    Bad:
        name: falcon-7b-int8
        backend: {dtype: fp16}
    Good:
        name: falcon-7b-fp16
        backend: {dtype: fp16}
    """
    said, dtype = file.other_precision_in_name, file.config.backend.dtype
    if said is not None:
        span = _word_at(file, said)
        is_word = file.document.written(span).lower() == said
        hint = f"`backend.dtype` is on line {file.at('backend', 'dtype').line}"
        fix = Fix(span, dtype, safe=False) if is_word else None
        yield Finding(span, f"the name says {said}, `backend.dtype` says {dtype}", hint, fix)


@rule("VG202", Severity.ERROR, "tp in the name contradicts model_kwargs.tp")
def tp_in_name(file: ConfigFile) -> Iterator[Finding]:
    """The server is started with as many dies as the name says, the model compiled for others.

    Bad:
        name: falcon-7b-fp16-tp8
        frontend: {model_kwargs: {model_arch: vacc, tp: 4}}
    Good:
        name: falcon-7b-fp16-tp4
        frontend: {model_kwargs: {model_arch: vacc, tp: 4}}
    """
    said, tp = file.tp_in_name, file.options.tp
    if said is not None and tp is not None and said != tp:
        line = file.at("frontend", "model_kwargs", "tp").line
        message = f"the name says tp{said}, `frontend.model_kwargs.tp` says {tp}"
        yield Finding(_word_at(file, f"tp{said}"), message, f"`tp` is on line {line}")


_LENGTHS = re.compile(r"(?<![A-Za-z0-9.])(?=((\d{2,7})[-_](\d{2,7}))(?![A-Za-z0-9]))")
"""Two numbers side by side; in `16-1024-2048` the second pair, too."""


@rule("VG203", Severity.ERROR, "lengths in the name contradict the shape")
def lengths_in_name(file: ConfigFile) -> Iterator[Finding]:
    """The name says other lengths than the model is compiled for.

    Bad:
        name: falcon-7b-fp16-2048-4096
        frontend: {shape: {input_ids: [[1024], [2048]]}}
    Good:
        name: falcon-7b-fp16-1024-2048
        frontend: {shape: {input_ids: [[1024], [2048]]}}
    """
    lengths = file.lengths
    if lengths is None or lengths.total is None or lengths.prefill > lengths.total:
        return  # VG303
    if lengths.prefill % LENGTH_STEP or lengths.total % LENGTH_STEP:
        return  # VG302
    said = [match.groups() for match in _LENGTHS.finditer(file.config.name)]
    if said and lengths not in [(int(first), int(second)) for _, first, second in said]:
        pair = said[-1][0]
        message = f"the name says {pair}, the shape says {lengths.prefill}-{lengths.total}"
        line = file.at("frontend", "shape", "input_ids").line
        yield Finding(_word_at(file, pair), message, f"the shape is on line {line}")


@rule("VG204", Severity.ERROR, "kv8 in the name contradicts frontend.quantize")
def kv8_in_name(file: ConfigFile) -> Iterator[Finding]:
    """`kv8` in the name stands for an 8-bit KV cache, `w16kv8`; without it the cache has 16 bits.

    Bad:
        name: falcon-7b-int8-kv8
        frontend: {quantize: {type: w8a16_gptq}}
        backend: {dtype: int8}
    Good:
        name: falcon-7b-int8-kv8
        frontend: {quantize: {type: w16kv8}}
        backend: {dtype: int8}
    """
    config, quantize = file.config, file.config.frontend.quantize
    if quantize is None and config.dataset is None and config.backend.dtype == "int8":
        return  # VG401 asks for `quantize`
    kind = quantize.type if quantize else None
    said = "kv8" in words(config.name)
    if said and kind != "w16kv8" and file.is_huggingface:
        what = f"is {kind}" if kind else "is absent"
        message = f"the name says kv8, `frontend.quantize.type` {what}"
        yield Finding(_word_at(file, "kv8"), message, "an 8-bit KV cache is `type: w16kv8`")
    elif kind == "w16kv8" and not said:
        message = "the KV cache has 8 bits (`w16kv8`), and the name does not say kv8"
        hint = "add -kv8 to the name, or the output overwrites the one with a 16-bit cache"
        yield Finding(file.at("name"), message, hint)


_NOT_OF_A_MODEL = (*PRECISIONS, "official", "base", "chat")


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
    for output, group in groupby(sorted(configs, key=_output), _output):
        writers = list(group)
        if len(writers) < 2 or any(writer.other_precision_in_name for writer in writers):
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
    by_name = attrgetter("config.name")
    for name, group in groupby(sorted(configs, key=by_name), by_name):
        bearers = [(config, _fits_its_file(config)) for config in group]
        rightful = next((config for config, fits in bearers if fits), None)
        for config, fits in bearers:
            if rightful is not None and not fits:
                message = f"{name} is the name of another model's config"
                hint = f"it fits {rightful.document.path}; name this one after its own model"
                yield config, Finding(config.at("name"), message, hint)


def _fits_its_file(config: ConfigFile) -> bool:
    """Whether a word of the name that tells its model is in the file's or the folders' names."""
    about = "".join(words(" ".join(config.path.parts[-4:])))
    named = [word for word in words(config.config.name) if len(word) > 2 and not word.isdigit()]
    return any(word in about for word in named if word not in _NOT_OF_A_MODEL)
