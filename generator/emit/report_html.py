"""report.html: a build's report as one page that loads nothing, for any screen.

The page is made of report.json alone: the same report, the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from vacc_gen.generator.emit.plots import METHODS, Bars, LayerPlot, Value, change_bars, layer_plot
from vacc_gen.generator.emit.template import render_html
from vacc_gen.generator.progress import size_text, time_text

Report = Mapping[str, Any]
"""What report.json holds; docs/report.md says what its fields mean."""

STATUS_KINDS = {"done": "good", "reused": "good", "failed": "bad", "skipped": "soft"}
REFERENCES = {"torch": "torch, fp32"}
BASES = ("fp16", "torch")
"""What others are compared with: the first of these that was measured, or else the first at all."""

METHODS_TOLD = {"gptq": "GPTQ", "round_to_nearest": "rounding to nearest"}
PER_CHANNEL = -1
"""The group size that stands for one scale an output channel."""

DIGEST_CHARS = 12


@dataclass(frozen=True)
class Cell:
    """One cell of a table; `kind` is its style."""

    text: str
    kind: str = ""
    code: bool = False


@dataclass(frozen=True)
class Head:
    """The head of a column."""

    text: str
    number: bool = False


@dataclass(frozen=True)
class Table:
    """A table with a head."""

    heads: tuple[Head, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Errors:
    """The errors of one precision's linear layers."""

    precision: str
    plots: tuple[LayerPlot, ...]
    table: Table


def report_html(report: Report) -> str:
    """Return the page for `report`, which may be that of a failed build."""
    stages: Sequence[Report] = report["stages"]
    page = {
        "title": f"Build of {report['model']}" if "model" in report else "Build report",
        "subtitle": _subtitle(report),
        "failures": [
            {"stage": _stage_name(stage), "reason": stage.get("reason", "")}
            for stage in stages
            if stage["status"] == "failed"
        ],
        "models": _models(stages),
        "model_notes": _cache_notes(stages),
        "perplexity": _perplexity(report["perplexity"]),
        "perplexity_notes": _activation_notes(report["perplexity"]),
        "parity": _parity(report["parity"]["precisions"]),
        "errors": _errors(stages),
        "readback": _readback(stages),
        "stages": _stage_table(stages),
        "notes": [note for stage in stages for note in stage.get("notes", ())],
        "artifacts": _artifacts(report["artifacts"]),
        "artifacts_total": _artifacts_total(report["artifacts"]),
    }
    return render_html("report.html.jinja", page=page)


def _subtitle(report: Report) -> str:
    seconds = sum(stage["seconds"] for stage in report["stages"])
    backend = {"onnxruntime": "ONNX Runtime (embedded)"}.get(report["backend"], report["backend"])
    return f"{backend}, {time_text(seconds)}"


def _models(stages: Iterable[Report]) -> Table | None:
    """One row for each precision that was made: what its weights and its cache take."""
    made = {stage["precision"]: stage for stage in stages if "weights_bytes" in stage}
    rows = []
    for precision, stage in made.items():
        cache = stage.get("kv_cache") or {}
        rows.append(
            (
                Cell(precision),
                _number(size_text(stage["weights_bytes"])),
                _number(f"{size_text(cache['bytes'])} {cache['dtype']}" if cache else ""),
                Cell(_weights_told(stage.get("quantization") or {})),
            )
        )
    return _table("precision, weights#, KV cache#, weights made by", rows)


def _cache_notes(stages: Iterable[Report]) -> list[str]:
    notes = []
    for stage in stages:
        source = (stage.get("kv_cache") or {}).get("calibrated_on")
        if source:
            notes.append(
                f"The int8 KV cache of {stage['precision']} is calibrated on {source['tokens']:,} "
                f"tokens of {source['source']}."
            )
    return notes


def _weights_told(quantization: Report) -> str:
    """How int weights were made; nothing of weights that are floats."""
    if not quantization:
        return ""
    size = quantization["group_size"]
    groups = "a scale a channel" if size == PER_CHANNEL else f"groups of {size}"
    method, activations = METHODS_TOLD[quantization["method"]], quantization["activations"]
    return f"{method}, {groups}, {activations} activations"


def _perplexity(perplexity: Report) -> Bars | None:
    """That on windows of text; where there is none, that of the few decoded tokens."""
    windows: Report | None = perplexity.get("windows")
    if windows is None:
        values = {name: value for name, value in perplexity.items() if _is_number(value)}
        return _bars("Of the decoded tokens.", [Value(n, "", v, True) for n, v in values.items()])
    values_told = [
        Value(score["precision"], _score_detail(score), score["perplexity"], score["built"])
        for score in windows["scores"]
        if _is_number(score["perplexity"])
    ]
    caption = f"On {windows['windows']} windows of {windows['window_tokens']} tokens."
    return _bars(caption, values_told)


def _bars(caption: str, values: Sequence[Value]) -> Bars | None:
    if not values:
        return None
    base = next((v for name in BASES for v in values if v.name == name), values[0])
    told = f"{base.name} ({base.detail})" if base.detail else base.name
    caption += f" Bars show by how much a model is above or below {told}"
    caption += "." if all(v.is_built for v in values) else "; pale ones were not built."
    return change_bars(values, base, caption)


def _score_detail(score: Report) -> str:
    """What sets it apart from other scores of its precision."""
    if score["weights"] == "float":
        return ""
    return f"{METHODS_TOLD[score['weights']]}, {score['activations']} activations"


def _activation_notes(perplexity: Report) -> list[str]:
    """What int8 activations cost each precision that has them, or would cost it."""
    scores: Sequence[Report] = (perplexity.get("windows") or {}).get("scores", ())
    notes = []
    for built in scores:
        other = next((score for score in scores if built["built"] and _differs(score, built)), None)
        if other is None or not all(_is_number(one["perplexity"]) for one in (built, other)):
            continue
        has_int8 = built["activations"] == "int8"
        int8, exact = (built, other) if has_int8 else (other, built)
        change = f"{100 * (int8['perplexity'] / exact['perplexity'] - 1):+.3f} %"
        notes.append(
            f"{built['precision']} computes with int8 activations (accuracy_level 4): perplexity "
            f"{change} against exact arithmetic with the same weights."
            if has_int8
            else f"{built['precision']} computes with exact activations; int8 ones (accuracy_level "
            f"4) would change perplexity by {change} with the same weights."
        )
    return notes


def _differs(score: Report, other: Report) -> bool:
    """Whether two scores are of the same weights, and activations alone set them apart."""
    same = all(score[key] == other[key] for key in ("precision", "weights"))
    return same and bool(score["activations"] != other["activations"])


def _readback(stages: Iterable[Report]) -> Table | None:
    """What each precision's ONNX files were found to hold."""
    rows = []
    for stage in stages:
        found: Report = stage.get("readback") or {}
        if not found:
            continue
        if "matrices" in found:
            bits = ", ".join(f"{count} of {bits} bits" for bits, count in found["bits"].items())
            what, each = f"{found['matrices']} matrices: {bits}", "blocks of "
            each += ", ".join(map(str, found["group_sizes"]))
            zero, changed = str(found["zero"]), f"{100 * found['largest_error']:.3g} %"
        else:
            what, each = f"{found['caches']} inputs and outputs of 8 bits", "KV heads"
            zero = changed = ""
        problems = len(found["problems"])
        rows.append(
            (
                Cell(stage["precision"]),
                Cell(f"differs: {problems}", "bad") if problems else Cell("as meant", "good"),
                Cell(what),
                Cell(f"{found['scales']:,}, of {each}"),
                _number(zero),
                _number(str(found["left_in_float"])),
                _number(changed),
            )
        )
    return _table("precision, result, read back, scales, zero#, in floats#, changed#", rows)


def _parity(precisions: Mapping[str, Report]) -> Table | None:
    rows = []
    for precision, parity in precisions.items():
        allowed = parity["max_abs_diff_allowed"]
        equal = parity["greedy_tokens_equal"]
        first = parity.get("first_difference")
        if equal:
            greedy = f"all {parity['greedy_tokens']} equal"
        elif first:
            greedy = (
                f"from token {first['position'] + 1}: {first['token']!r}, there "
                f"{first['reference_token']!r}, preferred by {first['logit_gap']:.2g}"
            )
        else:
            greedy = "not equal"
        rows.append(
            (
                Cell(precision),
                Cell(REFERENCES.get(parity["reference"]) or parity["reference"]),
                *(
                    Cell(f"{diff:.4f}", "number good" if diff <= allowed else "number bad")
                    for diff in (parity["prefill_max_abs_diff"], parity["decode_max_abs_diff"])
                ),
                _number(f"{allowed:g}"),
                Cell(greedy, "words"),
            )
        )
    return _table("precision, reference, prefill#, decode#, allowed#, greedy tokens", rows)


def _errors(stages: Iterable[Report]) -> list[Errors]:
    """Plots and figures of each precision whose linear layers were measured."""
    parts = []
    for stage in stages:
        measured: Sequence[Report] = stage.get("linear_errors") or ()
        by_linear: dict[str, dict[str, dict[int, float]]] = {}
        for one in measured:
            of_methods = by_linear.setdefault(one["linear"], {method: {} for method in METHODS})
            for method in METHODS:
                # Kept as a share of energy; a root mean square reads as "so many percent off".
                of_methods[method][one["layer"]] = math.sqrt(one[method])
        if by_linear:
            rows = [
                (
                    _number(str(one["layer"])),
                    Cell(one["linear"], code=True),
                    *(_number(f"{100 * math.sqrt(one[method]):.3g} %") for method in METHODS),
                )
                for one in measured
            ]
            table = _table("layer#, linear, GPTQ#, nearest#", rows)
            assert table is not None
            plots = tuple(layer_plot(linear, errors) for linear, errors in by_linear.items())
            parts.append(Errors(stage["precision"], plots, table))
    return parts


def _stage_table(stages: Iterable[Report]) -> Table | None:
    rows = []
    for stage in stages:
        status = stage["status"]
        ran = status != "skipped"
        rows.append(
            (
                Cell(stage["name"]),
                Cell(stage["precision"] or ""),
                Cell(status, STATUS_KINDS.get(status, "")),
                _number(time_text(stage["seconds"]) if ran else ""),
                _number(size_text(stage["peak_rss_bytes"]) if ran else ""),
                _number(size_text(stage["output_bytes"]) if stage["output_bytes"] else ""),
                Cell(stage.get("reason") or stage.get("log") or "", "words soft"),
            )
        )
    return _table("stage, precision, result, time#, peak memory#, written#, note", rows)


def _artifacts(artifacts: Iterable[Report]) -> Table | None:
    rows = [
        (
            Cell(artifact["path"], code=True),
            _number(size_text(artifact["bytes"])),
            Cell(artifact["sha256"][:DIGEST_CHARS], "soft", code=True),
        )
        for artifact in artifacts
    ]
    return _table("file, size#, sha256 begins", rows)


def _artifacts_total(artifacts: Sequence[Report]) -> str:
    folders = {str(PurePosixPath(artifact["path"]).parent) for artifact in artifacts}
    total = size_text(sum(artifact["bytes"] for artifact in artifacts))
    return f"{len(artifacts)} files in {len(folders)} folders, {total}."


def _stage_name(stage: Report) -> str:
    precision = f" of {stage['precision']}" if stage["precision"] else ""
    return f"{stage['name']}{precision} failed"


def _table(heads: str, rows: Sequence[tuple[Cell, ...]]) -> Table | None:
    """A table with `heads`, of which those that end in # are of numbers; None without rows."""
    if not rows:
        return None
    named = [head.strip() for head in heads.split(",")]
    return Table(tuple(Head(head.rstrip("#"), head.endswith("#")) for head in named), tuple(rows))


def _number(text: str) -> Cell:
    return Cell(text, "number")


def _is_number(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)
