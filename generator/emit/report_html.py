"""report.html: a build's report as one page that loads nothing, for any screen.

The page is made from report.json alone: the same report gives the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from vacc_gen.generator.emit.files import render
from vacc_gen.generator.progress import size_text, time_text

Report = Mapping[str, Any]
"""What report.json holds; docs/report.md says what its fields mean."""

REFERENCES = {"torch": "torch in fp32"}
BASES = ("fp16", "torch")
"""What other perplexities are compared with: the first of these that was measured."""


def report_html(report: Report) -> str:
    """Return the page for `report`, which may be that of a failed build."""
    caption, perplexities = perplexity_figures(report["perplexity"])
    return render(
        "report.html.jinja",
        report=report,
        verdict=verdict_of(report),
        seconds=sum(stage["seconds"] for stage in report["stages"]),
        perplexity_caption=caption,
        perplexities=perplexities,
        change_text=change_text,
        references=REFERENCES,
        greedy_text=greedy_text,
        mean_errors=mean_errors,
        percent=percent,
        size=size_text,
        time=time_text,
    )


def verdict_of(report: Report) -> tuple[str, str, list[str]]:
    """Say how the build ended: good, bad or soft (nothing compiled), a headline, and reasons."""
    stages: Sequence[Report] = report["stages"]
    failed = [stage for stage in stages if stage["status"] == "failed"]
    if failed:
        names = [" of ".join(filter(None, [s["name"], s["precision"]])) for s in failed]
        return "bad", f"Failed: {' and '.join(names)}", [s.get("reason", "") for s in failed]
    built = [s["precision"] for s in stages if s["name"] == "compile" and s["status"] != "skipped"]
    if not built:
        return "soft", "Nothing was compiled", []
    if report["parity"]["precisions"]:
        return "good", f"{', '.join(built)} built, all differences within limits", []
    verify = next((stage for stage in stages if stage["name"] == "verify"), {})
    return "good", f"{', '.join(built)} built, not verified", [verify.get("reason", "")]


def perplexity_figures(perplexity: Report) -> tuple[str, dict[str, float]]:
    """What perplexity was measured on, and its value by model; of windows, if there were some."""
    windows: Report | None = perplexity.get("windows")
    caption, values = "on the decoded tokens", perplexity
    if windows is not None:
        caption = f"on {windows['windows']} windows of {windows['window_tokens']} tokens"
        values = {score["precision"]: score["perplexity"] for score in windows["scores"]}
    return caption, {name: value for name, value in values.items() if math.isfinite(value)}


def change_text(values: Mapping[str, float], name: str) -> str:
    """How far a model's perplexity is from that of fp16 (or else torch); empty without either."""
    base = next((values[base] for base in BASES if base in values), values[name])
    return f"{100 * (values[name] / base - 1):+.3f} %" if values[name] != base else ""


def greedy_text(precision: str, parity: Report) -> str:
    """Whether the model continues a text as its reference does."""
    first = parity["first_difference"]
    if first is None:
        return f"{parity['greedy_tokens']} greedy tokens equal"
    return (
        f"first difference at token {first['position'] + 1}: {precision} picks {first['token']!r}, "
        f"{parity['reference']} {first['reference_token']!r} by {first['logit_gap']:.2g}"
    )


def mean_errors(errors: Sequence[Report]) -> dict[str, dict[str, float]]:
    """By linear layer and method: the relative error of its output, the mean of all layers."""
    means: dict[str, dict[str, float]] = {}
    for linear in dict.fromkeys(error["linear"] for error in errors):
        layers = [error for error in errors if error["linear"] == linear]
        means[linear] = {  # the report has squares
            method: sum(math.sqrt(layer[method]) for layer in layers) / len(layers)
            for method in ("gptq", "rtn")
        }
    return means


def percent(value: float, whole: float) -> float:
    """`value` in percent of `whole`, 100 at most (and where either is not a number)."""
    return round(100 * (value / whole), 2) if 0 <= value < whole else 100.0
