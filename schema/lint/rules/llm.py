"""VG6: does the language model split over the dies, and has it positions for the lengths?

VG601 and VG603 need the model's sizes: from the checkpoint when it is there, else from a preset of
that name. Without either they report nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from vacc_gen.schema.lint.diagnostics import Finding, Severity
from vacc_gen.schema.lint.files import ConfigFile
from vacc_gen.schema.lint.rule import rule


@rule("VG601", Severity.WARNING, "heads that do not split over tp")
def heads_over_tp(file: ConfigFile) -> Iterator[Finding]:
    """Each die computes a share of the KV heads and of the attention heads.

    The vendor publishes configs where tp divides the KV heads, where it is a multiple of them (2
    on 4 dies: chatglm2-6b) and where there is a single one (71 attention heads on 4 dies:
    falcon-7b). What the compiler makes of another split is not published.

    Bad:
        frontend: {checkpoint: /path/to/falcon-40b, model_kwargs: {model_arch: vacc, tp: 12}}
    Good:
        frontend: {checkpoint: /path/to/falcon-40b, model_kwargs: {model_arch: vacc, tp: 16}}
    """
    tp, geometry = file.options.tp, file.geometry
    if tp is None or geometry is None or geometry.kv_heads == 1 or file.lengths is None:
        return
    span, heads = file.at("frontend", "model_kwargs", "tp"), geometry.attention_heads
    if geometry.kv_heads % tp and tp % geometry.kv_heads and file.options.align_qkv is None:
        message = f"{geometry.kv_heads} KV heads cannot be split evenly over tp {tp}"
        hint = "`align_qkv: true` in `frontend.model_kwargs` may be needed (vendor's llm/README.md)"
        yield Finding(span, message, hint)
    elif heads % tp:
        hint = "no published config splits heads so; take a tp that divides them"
        yield Finding(span, f"{heads} attention heads cannot be split evenly over tp {tp}", hint)


@rule("VG603", Severity.WARNING, "longer than the model's positions")
def max_positions(file: ConfigFile) -> Iterator[Finding]:
    """The model was trained on shorter texts than `total`, and has no positions for the rest.

    Bad:
        frontend: {checkpoint: /path/to/falcon-7b, shape: {input_ids: [[1024], [4096]]}}
    Good:
        frontend: {checkpoint: /path/to/falcon-7b, shape: {input_ids: [[1024], [2048]]}}
    """
    total = file.lengths.total if file.lengths else None
    most = file.geometry.max_positions if file.geometry else None
    if total is not None and most is not None and total > most:
        message = f"total {total} is longer than the model's {most} positions"
        span = file.at("frontend", "shape", "input_ids", 1, 0)
        yield Finding(span, message, f"write at most {most}")
