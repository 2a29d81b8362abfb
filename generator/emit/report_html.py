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
from vacc_gen.schema.precision import EMBEDDED_ONLY

Report = Mapping[str, Any]
"""What report.json holds; docs/reference/report.md says what its fields mean."""

REFERENCES = {"torch": "torch in fp32"}
EMBEDDED = "onnxruntime"
BACKENDS = {EMBEDDED: "ONNX Runtime (embedded)", "vamc": "the vendor's compiler, vamc"}


def report_html(report: Report) -> str:
    """Return the page for `report`, which may be that of a failed build."""
    caption, perplexities = perplexity_figures(report["perplexity"])
    return render(
        "report.html.jinja",
        report=report,
        verdict=verdict_of(report),
        facts=facts_of(report),
        next_commands=next_commands(report),
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
    matches, differs = _compared(report["parity"]["precisions"])
    if failed or differs:
        names = [" of ".join(filter(None, [s["name"], s["precision"]])) for s in failed]
        headline = f"{' and '.join(differs)} by more than allowed"
        headline = headline if differs else f"Failed: {' and '.join(names)}"
        return "bad", headline, [s.get("reason", "") for s in failed]
    built = _compiled(report)
    if not built:
        reasons = dict.fromkeys(s.get("reason", "") for s in stages if s["name"] == "compile")
        return "soft", "Nothing was compiled", list(reasons)
    if matches:
        within = "its threshold" if len(matches) == 1 else "their thresholds"
        purpose = "to run here" if EMBEDDED_ONLY.issuperset(built) else "for the compiler"
        return "good", f"{' and '.join(matches)} within {within}: ready {purpose}", []
    verify = next((stage for stage in stages if stage["name"] == "verify"), {})
    return "good", f"{', '.join(built)} compiled, not verified", [verify.get("reason", "")]


def _compared(parities: Report) -> tuple[list[str], list[str]]:
    """Say which precision matches which reference, and which differs beyond what is allowed."""
    matches, differs = [], []
    for precision, parity in parities.items():
        reference = REFERENCES.get(parity["reference"], parity["reference"])
        limit = parity["max_abs_diff_allowed"]
        if all(parity[f"{part}_max_abs_diff"] <= limit for part in ("prefill", "decode")):
            matches.append(f"{precision} matches {reference}")
        else:
            differs.append(f"{precision} differs from {reference}")
    return matches, differs


def _compiled(report: Report) -> list[str]:
    stages: Sequence[Report] = report["stages"]
    done = (s for s in stages if s["name"] == "compile" and s["status"] in ("done", "reused"))
    return [stage["precision"] for stage in done]


def facts_of(report: Report) -> dict[str, str]:
    """What was built, and when, with what and where, by the name of each fact."""
    recipe, made, machine = report["recipe"], report["made"], report["made"]["machine"]
    memory = f"{size_text(machine['memory_bytes'])} of memory"
    return {
        "recipe": recipe["preset"],
        "tp": f"{recipe['tp']} on {recipe['card']}" if recipe["card"] else str(recipe["tp"]),
        "lengths": f"prompts of {recipe['prefill']} tokens, {recipe['total']} in all",
        "backend": BACKENDS.get(report["backend"], report["backend"]),
        "versions": ", ".join(map(" ".join, made["versions"].items())),
        "machine": "{system}, {processor}, {cores} cores, ".format(**machine) + memory,
        "date": made["date"].replace("T", " ").replace("+00:00", " UTC"),
        "took": time_text(sum(stage["seconds"] for stage in report["stages"])),
    }


def next_commands(report: Report) -> dict[str, str]:
    """What to type in the workspace, and what for."""
    built = _compiled(report)
    if verdict_of(report)[0] != "good":
        return {"To go on where this build ended": "vacc-gen build"}
    if report["backend"] != EMBEDDED:
        return {"To serve it on the card": f"scripts/serve.sh {built[-1]}"}
    run = f'vacc-gen run . --precision {built[-1]} --prompt "In the beginning"'
    return {"To try it here": run, "Where the compiler is": "vacc-gen build --backend vamc"}


@dataclass(frozen=True)
class Perplexity:
    text: str
    percents: float
    """By which it is higher than that of fp16 (or torch) on these windows; 0 where not known."""
    change: str
    """The same with the standard error; empty for fp16, and without error."""


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
        return Perplexity(f"{value:.2f}", 0.0, "")
    percents = 100 * math.expm1(difference["mean"])
    doubt = (100 + percents) * error
    change = f"{percents:+.{_decimals(doubt)}f} ± {doubt:.{_decimals(doubt)}f} %"
    return Perplexity(f"{value:.{min(2, _decimals(value * error))}f}", percents, change)


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
