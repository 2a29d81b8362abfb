"""report.html: a build's report as one page that loads nothing, for any screen.

The page is made from report.json alone: the same report gives the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vacc_gen.generator.emit.files import render
from vacc_gen.generator.progress import size_text, time_text

Report = Mapping[str, Any]
"""What report.json holds; docs/report.md says what its fields mean."""

REFERENCES = {"torch": "torch in fp32"}


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
        references=REFERENCES,
        greedy_text=greedy_text,
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


@dataclass(frozen=True)
class Perplexity:
    value: float
    text: str
    change: str
    """From fp16 on the same windows, with the standard error; empty for fp16, and without error."""


def perplexity_figures(perplexity: Report) -> tuple[str, dict[str, Perplexity]]:
    """What perplexity was measured on, and what it came to by model; nothing if not measured."""
    windows: Report | None = perplexity.get("windows")
    if windows is None:
        return "", {}
    caption = f"on {windows['windows']} windows of {windows['window_tokens']} tokens"
    if windows["stride_tokens"] != windows["window_tokens"]:
        caption += f", {windows['stride_tokens']} apart"
    return caption, {score["precision"]: _perplexity(score) for score in windows["scores"]}


def _perplexity(score: Report) -> Perplexity:
    """Texts without decimals that the error does not carry."""
    value = score["perplexity"]
    difference = score.get("nll_difference") or {"standard_error": None}
    error = difference["standard_error"]
    if error is None:
        return Perplexity(value, f"{value:.2f}", "")
    ratio = math.exp(difference["mean"])
    percents = 100 * ratio * error
    places = _decimals(percents)
    change = f"{100 * (ratio - 1):+.{places}f} ± {percents:.{places}f} %"
    return Perplexity(value, f"{value:.{min(2, _decimals(value * error))}f}", change)


def _decimals(error: float) -> int:
    """Decimals down to the error's first digit, 3 at the most."""
    if error < 0.001:
        return 3
    return max(0, -math.floor(math.log10(float(f"{error:.0e}"))))


def greedy_text(precision: str, parity: Report) -> str:
    """Whether the model continues a text as its reference does."""
    first = parity["first_difference"]
    if first is None:
        return f"{parity['greedy_tokens']} greedy tokens equal"
    return (
        f"first difference at token {first['position'] + 1}: {precision} picks {first['token']!r}, "
        f"{parity['reference']} {first['reference_token']!r} by {first['logit_gap']:.2g}"
    )


def percent(value: float, whole: float) -> float:
    """`value` in percent of `whole`, 100 at most (and where either is not a number)."""
    return round(100 * (value / whole), 2) if 0 <= value < whole else 100.0
