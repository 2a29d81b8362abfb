"""VG6: does the language model split over the dies, and fit?

These rules need the model's geometry: from the checkpoint when it is there, else from a preset of
that name. Without either they are silent.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from vacc_gen.schema.checkpoint_facts import MAX_JSON_BYTES, read_regular
from vacc_gen.schema.lint import fixes as edits
from vacc_gen.schema.lint.diagnostics import Severity
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.rules._facts import lengths_of
from vacc_gen.schema.lint.subject import Finding, Subject


@rule("VG601", Severity.WARNING, "KV heads do not split over tp", fix="unsafe")
def kv_heads(subject: Subject) -> Iterator[Finding]:
    """With fewer KV heads than dies, or a number that tp does not divide, `align_qkv: true` may be
    needed (vendor's llm/README.md).

    Bad:
        frontend:
          checkpoint: /path/to/falcon-40b
          model_kwargs:
            tp: 16
    Good:
        frontend:
          checkpoint: /path/to/falcon-40b
          model_kwargs:
            tp: 8
    """
    tp = subject.get("frontend", "model_kwargs", "tp")
    if not tp or lengths_of(subject) is None or subject.geometry is None:
        return
    heads = subject.geometry.get("kv_heads")
    if heads and heads % tp and subject.lacks("frontend", "model_kwargs", "align_qkv"):
        section = subject.node("frontend", "model_kwargs")
        plural = "" if heads == 1 else "s"
        yield Finding(
            subject.span("frontend", "model_kwargs", "tp"),
            f"{heads} KV head{plural} cannot be split over tp {tp}",
            "`align_qkv: true` in `frontend.model_kwargs` may be needed",
            edits.insert(subject.document, section, "align_qkv: true", safe=False)
            if section
            else None,
        )


@rule("VG602", Severity.WARNING, "attention heads do not split over tp")
def attention_heads(subject: Subject) -> Iterator[Finding]:
    """Each die computes a share of the attention heads, and these cannot be shared out evenly.

    The published falcon-7b configs are of this kind: 71 heads on 4 dies. What the compiler does
    with the rest is not published.

    Bad:
        frontend:
          checkpoint: /path/to/falcon-7b-instruct
          model_kwargs:
            tp: 4
            align_qkv: true
    Good:
        frontend:
          checkpoint: /path/to/falcon-7b-instruct
          model_kwargs:
            tp: 1
            align_qkv: true
    """
    tp = subject.get("frontend", "model_kwargs", "tp")
    if not tp or lengths_of(subject) is None or subject.geometry is None:
        return
    heads = subject.geometry.get("attention_heads")
    if heads and heads % tp:
        yield Finding(
            subject.span("frontend", "model_kwargs", "tp"),
            f"{heads} attention heads cannot be split over tp {tp}",
            "what the compiler does then is not published",
        )


@rule("VG603", Severity.WARNING, "longer than the model's positions")
def max_positions(subject: Subject) -> Iterator[Finding]:
    """The model was trained on shorter texts than `total`, and has no positions for the rest.

    Bad:
        frontend:
          checkpoint: /path/to/falcon-7b-instruct
          shape:
            input_ids: [[1024], [4096]]
          model_kwargs:
            align_qkv: true
            tp: 1
    Good:
        frontend:
          checkpoint: /path/to/falcon-7b-instruct
          shape:
            input_ids: [[1024], [2048]]
          model_kwargs:
            align_qkv: true
            tp: 1
    """
    lengths = lengths_of(subject)
    if lengths is None or lengths.total is None or subject.geometry is None:
        return
    most = subject.geometry.get("max_positions")
    if most and lengths.total.value > most:
        yield Finding(
            lengths.total.span,
            f"total {lengths.total.value} is longer than the model's {most} positions",
        )


@rule("VG604", Severity.ERROR, "checkpoint that cannot be read", scope="text")
def unreadable_checkpoint(subject: Subject) -> Iterator[Finding]:
    """The weight folder is there, and its config.json is not, or cannot be read.

    A folder that is not there yet says nothing.

    Bad:
        # vacc.yaml
        version: 2
        model: {preset: falcon-7b, checkpoint: weights}
        ---
        # weights/config.json
        {"model_type": "falcon",
    Good:
        # vacc.yaml
        version: 2
        model: {preset: falcon-7b, checkpoint: weights}
        ---
        # weights/config.json
        {"model_type": "falcon"}
    """
    steps = ("model", "checkpoint") if subject.kind == "recipe" else ("frontend", "checkpoint")
    checkpoint = subject.get(*steps)
    if not isinstance(checkpoint, str) or "\x00" in checkpoint:
        return
    if subject.kind != "recipe" and subject.get("frontend", "type") != "huggingface":
        return
    folder = subject.folder / checkpoint
    if os.path.isdir(folder):  # noqa: PTH112  # Path.is_dir raises for some names
        fault = _config_fault(folder)
        if fault is not None:
            absent = Severity.WARNING if fault == _ABSENT else None  # it may be on its way
            message = f"the checkpoint's config.json {fault}"
            yield Finding(subject.span(*steps), message, severity=absent)


_ABSENT = "is not there"


def _config_fault(folder: Path) -> str | None:
    try:
        source = read_regular(folder / "config.json", MAX_JSON_BYTES)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if source is None:
        return _ABSENT
    try:
        value = json.loads(source)
    except (ValueError, RecursionError):
        return "is not valid JSON"
    return None if isinstance(value, dict) else "is not a JSON object"
