"""report.html: a build's report as one page that loads nothing, for any screen.

The page is made from report.json alone: the same report gives the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from vacc_gen.generator.emit.files import render
from vacc_gen.generator.progress import size_text, time_text
from vacc_gen.schema.precision import EMBEDDED_ONLY

Report = Mapping[str, Any]
"""What report.json holds; docs/reference/report.md says what its fields mean."""

REFERENCE = "torch in fp32"
"""What compiled models are compared with."""


def report_html(report: Report) -> str:
    """Return the page for `report`, which may be that of a failed build."""
    caption, perplexities = perplexity_figures(report["perplexity"])
    return render(
        "report.html.jinja",
        report=report,
        built=_compiled(report),
        verdict=verdict_of(report),
        perplexity_caption=caption,
        perplexities=perplexities,
        reference=REFERENCE,
        greedy_text=greedy_text,
        size=size_text,
        time=time_text,
    )


def verdict_of(report: Report) -> tuple[str, str, list[str]]:
    """Say how the build ended: good, bad or soft (nothing compiled), a headline, and reasons."""
    stages: Sequence[Report] = report["stages"]
    failed = [stage for stage in stages if stage["status"] == "failed"]
    reasons = [stage.get("reason", "") for stage in failed]
    matches, differs = [], []
    for precision, parity in report["parity"]["precisions"].items():
        limit = parity["max_abs_diff_allowed"]
        if all(parity[f"{part}_max_abs_diff"] <= limit for part in ("prefill", "decode")):
            matches.append(precision)
        else:
            differs.append(precision)
    if differs:
        verb = "differs" if len(differs) == 1 else "differ"
        return "bad", f"{_and(differs)} {verb} from {REFERENCE} by more than allowed", reasons
    if failed:
        names = [" of ".join(filter(None, [s["name"], s["precision"]])) for s in failed]
        return "bad", f"Failed: {_and(names)}", reasons
    built = _compiled(report)
    if not built:
        reasons = [stage.get("reason", "") for stage in stages if stage["name"] == "compile"]
        return "soft", "Nothing was compiled", list(dict.fromkeys(reasons))
    if matches:
        one = len(matches) == 1
        verb, within = ("matches", "its threshold") if one else ("match", "their thresholds")
        purpose = "to run here" if EMBEDDED_ONLY.issuperset(built) else "for the compiler"
        headline = f"{_and(matches)} {verb} {REFERENCE} within {within}: ready {purpose}"
        return "good", headline, []
    reasons = [stage.get("reason", "") for stage in stages if stage["name"] == "verify"]
    return "good", f"{', '.join(built)} compiled, not verified", reasons[:1]


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _compiled(report: Report) -> list[str]:
    stages: Sequence[Report] = report["stages"]
    done = (s for s in stages if s["name"] == "compile" and s["status"] in ("done", "reused"))
    return [stage["precision"] for stage in done]


def perplexity_figures(perplexity: Report) -> tuple[str, dict[str, str]]:
    """Say what perplexity was measured on, and what it came to by model; nothing if not measured.

    A model's figure has no decimals that its error does not carry, such as `40.1 (+1.0 ± 0.5 %)`:
    by how much it is higher than that of fp16 (or torch) on these windows, and the standard error.
    """
    windows: Report | None = perplexity.get("windows")
    if windows is None:
        return "", {}
    caption = f"on {windows['windows']} windows of {windows['window_tokens']} tokens"
    if windows["stride_tokens"] != windows["window_tokens"]:
        caption += f", {windows['stride_tokens']} apart"
    return caption, {score["precision"]: _perplexity(score) for score in windows["scores"]}


def _perplexity(score: Report) -> str:
    value, difference = score["perplexity"], score.get("nll_difference") or {}
    error = difference.get("standard_error")
    if error is None:
        return f"{value:.2f}"
    percents = 100 * math.expm1(difference["mean"])
    doubt = (100 + percents) * error
    change = f"{percents:+.{_decimals(doubt)}f} ± {doubt:.{_decimals(doubt)}f} %"
    return f"{value:.{min(2, _decimals(value * error))}f} ({change})"


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
