"""report.html holds every figure of report.json, loads nothing, and no name becomes markup."""

from __future__ import annotations

import copy
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vacc_gen.generator.emit.plots import Value, change_bars, layer_plot
from vacc_gen.generator.emit.report_html import report_html

LINEARS = ("self_attention.query_key_value", "mlp.dense_4h_to_h")
HOSTILE = """<script>alert('x')</script>"><img src=//a.b/c onerror=x> & "quoted" {{ 7 * 7 }}"""


def stage(name: str, precision: str | None, status: str = "done", **more: Any) -> dict[str, Any]:
    cost = {"seconds": 1.5, "peak_rss_bytes": 321_000_000, "output_bytes": 0}
    return {"name": name, "precision": precision, "status": status, **cost, **more}


def parity(**more: Any) -> dict[str, Any]:
    return {
        "prefill_max_abs_diff": 0.0034,
        "decode_max_abs_diff": 0.0083,
        "max_abs_diff_allowed": 0.05,
        "reference": "torch",
        "greedy_tokens": 32,
        "greedy_tokens_equal": True,
        "first_difference": None,
        **more,
    }


ERRORS = [
    {"layer": layer, "linear": linear, "gptq": 1e-6 * (layer + 1), "rtn": 4e-6 * (layer + 1)}
    for layer in range(3)
    for linear in LINEARS
]
REPORT: dict[str, Any] = {
    "version": 1,
    "model": "falcon-tiny",
    "backend": "onnxruntime",
    "stages": [
        stage("preflight", None, notes=["a file was edited by hand"]),
        stage("calibrate", "fp16", "skipped", reason="fp16 needs none"),
        stage(
            "export",
            "fp16",
            weights_bytes=5_100_416,
            group_size=None,
            kv_cache={"dtype": "fp16", "bytes": 65_536},
        ),
        stage(
            "quantize",
            "int8",
            weights_bytes=2_929_536,
            group_size=32,
            quantization={"method": "gptq", "bits": 8, "group_size": 32, "activations": "int8"},
            kv_cache={"dtype": "fp32", "bytes": 131_072},
            linear_errors=ERRORS,
        ),
        stage(
            "quantize",
            "kv8",
            "reused",
            weights_bytes=5_100_416,
            kv_cache={
                "dtype": "int8",
                "bytes": 32_768,
                "calibrated_on": {"source": "verification text", "windows": 19, "tokens": 1216},
            },
        ),
        stage(
            "verify",
            "int8",
            readback={
                "matrices": 17,
                "bits": {"4": 16, "8": 1},
                "group_sizes": [32],
                "scales": 76_160,
                "zero": 0,
                "left_in_float": 0,
                "largest_error": 0.00681,
                "problems": [],
            },
        ),
        stage(
            "verify",
            "kv8",
            readback={"caches": 24, "scales": 32, "left_in_float": 1, "problems": ["one"]},
        ),
        stage("report", None),
    ],
    "parity": {
        "precisions": {
            "fp16": parity(),
            "kv8": parity(
                reference="fp16",
                decode_max_abs_diff=0.75,
                max_abs_diff_allowed=0.5,
                greedy_tokens_equal=False,
                first_difference={
                    "position": 7,
                    "token": " may",
                    "reference_token": " should",
                    "logit_gap": 0.0078125,
                },
            ),
        }
    },
    "perplexity": {"fp16": 40.0, "torch": 39.998, "int8": 40.1, "kv8": 39.96},
    "artifacts": [
        {"path": "deploy/falcon-tiny-fp16/weights.bin", "bytes": 5_100_416, "sha256": "ab" * 32}
    ],
}
FAILED = {
    "version": 1,
    "backend": "vamc",
    "stages": [stage("preflight", None, "failed", reason="the lengths do not fit")],
    "parity": {"precisions": {}},
    "perplexity": {},
    "artifacts": [],
}


class Page(HTMLParser):
    """What a page is made of."""

    VOID = ("meta", "br")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def count(self, tag: str, kind: str | None = None) -> int:
        return sum(t == tag and (kind is None or a.get("class") == kind) for t, a in self.tags)


def hostile(value: Any) -> Any:
    """`value` with every text in it replaced by one that would be markup."""
    if isinstance(value, dict):
        kept = ("status", "method")  # ours, never anybody's
        return {k: v if k in kept else hostile(v) for k, v in value.items()}
    if isinstance(value, list):
        return [hostile(item) for item in value]
    return HOSTILE if isinstance(value, str) else value


def test_every_figure_is_there() -> None:
    text = Page(report_html(REPORT)).text
    for figure in (
        "Build of falcon-tiny",
        "5.1 MB",  # weights
        "GPTQ, groups of 32, int8 activations",
        "65.5 kB fp16",  # caches
        "32.8 kB int8",
        "calibrated on 1,216 tokens of verification text",
        "40.000",  # perplexities
        "39.998 (-0.005 %)",
        "40.100 (+0.250 %)",
        "39.960 (-0.100 %)",
        "torch, fp32",  # parity
        "0.0034",
        "0.7500",
        "all 32 equal",
        "from token 8: ' may', there ' should', preferred by 0.0078",
        "fp16 needs none",  # stages
        "1.5 s",
        "321 MB",
        "a file was edited by hand",
        "deploy/falcon-tiny-fp16/weights.bin",  # artifacts
        "abababababab",
        "0.173 %",  # the square root of the last GPTQ error
        "int8 as meant 17 matrices: 16 of 4 bits, 1 of 8 bits 76,160, of blocks of 32 0 0 0.681 %",
        "kv8 differs: 1 24 inputs and outputs of 8 bits 32, of KV heads 1",
    ):
        assert figure in text


def test_scores_on_windows_of_text() -> None:
    """They come before those of the decoded tokens; what was not built is pale."""
    scores = [
        {"weights": "gptq", "activations": "int8", "built": True, "perplexity": 40.1},
        {"weights": "gptq", "activations": "float", "built": False, "perplexity": 40.06},
        {"weights": "round_to_nearest", "activations": "int8", "built": False, "perplexity": 41.2},
    ]
    float_score = {"weights": "float", "activations": "float", "built": True, "perplexity": 40.0}
    windows = {
        "windows": 16,
        "window_tokens": 128,
        "scores": [
            {"precision": "fp16", **float_score},
            *({"precision": "int8", **score} for score in scores),
        ],
    }
    page = Page(report_html({**REPORT, "perplexity": {"fp16": 77.7, "windows": windows}}))
    for told in (
        "On 16 windows of 128 tokens.",
        "fp16 40.000",
        "int8 GPTQ, int8 activations 40.100 (+0.250 %)",
        "int8 GPTQ, float activations 40.060 (+0.150 %)",
        "int8 rounding to nearest, int8 activations 41.200 (+3.000 %)",
        "int8 computes with int8 activations (accuracy_level 4): perplexity +0.100 % against",
    ):
        assert told in page.text
    assert "77.7" not in page.text
    assert "fp16 computes" not in page.text
    assert (page.count("rect", "built"), page.count("rect", "pale")) == (2, 2)


def test_what_int8_activations_would_cost() -> None:
    made = {"precision": "int4", "weights": "gptq"}
    windows = {
        "windows": 1,
        "window_tokens": 128,
        "scores": [
            {**made, "activations": "float", "built": True, "perplexity": 50.0},
            {**made, "activations": "int8", "built": False, "perplexity": 49.9},
        ],
    }
    page = Page(report_html({**REPORT, "perplexity": {"windows": windows}}))
    assert "above or below int4 (GPTQ, float activations)" in page.text
    assert "int8 ones (accuracy_level 4) would change perplexity by -0.200 %" in page.text


def test_the_plots_hold_a_mark_for_each_value() -> None:
    page = Page(report_html(REPORT))
    assert page.count("rect") == len(REPORT["perplexity"])
    in_the_key = 1
    for method in ("gptq", "rtn"):
        assert page.count("circle", method) == len(ERRORS) + in_the_key
        assert page.count("line", method) == len(ERRORS) - len(LINEARS)


def test_a_difference_beyond_what_is_allowed_shows() -> None:
    page = Page(report_html(REPORT))
    assert page.count("td", "number bad") == 1
    assert page.count("td", "number good") == 3


def test_a_failed_build_says_what_failed() -> None:
    page = Page(report_html(FAILED))
    assert "preflight failed" in page.text
    assert "the lengths do not fit" in page.text
    for section in ("Models", "Perplexity", "Parity", "Error", "Artifacts"):
        assert f"<h2>{section}" not in report_html(FAILED)


@pytest.mark.parametrize("report", [REPORT, FAILED, hostile(REPORT)], ids=["whole", "failed", "x"])
def test_it_loads_nothing(report: dict[str, Any]) -> None:
    page = Page(report_html(report))
    policies = [a["content"] for _, a in page.tags if a.get("http-equiv")]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "img", "iframe", "object", "embed", "base", "form")
        assert not {"src", "href", "xlink:href", "srcset", "action", "style"} & attributes.keys()
        assert not [name for name in attributes if name.startswith("on")]
    styles = re.findall(r"<style>(.*?)</style>", report_html(report), re.DOTALL)
    assert len(styles) == 1
    assert "url(" not in styles[0]
    assert "@import" not in styles[0]
    assert "prefers-color-scheme: dark" in styles[0]


def test_names_do_not_become_markup() -> None:
    html, plain = report_html(hostile(REPORT)), report_html(REPORT)
    assert "<script" not in html
    assert "{{ 7 * 7 }}" in html, "not even the template's own"
    assert Page(html).count("section") == Page(plain).count("section") > 4


def test_the_same_report_makes_the_same_bytes() -> None:
    assert report_html(REPORT) == report_html(copy.deepcopy(REPORT))


@given(st.lists(st.floats(0.5, 1e6), max_size=6), st.floats(0.5, 1e6))
def test_bars_stay_inside_and_begin_or_end_at_zero(others: list[float], base: float) -> None:
    values = [Value(f"{n}", "", value, True) for n, value in enumerate([base, *others])]
    bars = change_bars(values, values[0], "")
    assert len(bars.bars) == len(values)
    for one, bar in zip(values, bars.bars, strict=True):
        end = bar.start + bar.width
        assert -0.01 <= bar.start <= end <= 100.01
        near = bar.start if one.value >= base else end
        assert near == pytest.approx(bars.zero, abs=0.01)


@given(
    st.dictionaries(st.integers(0, 200), st.tuples(st.floats(0, 10), st.floats(0, 10)), min_size=1)
)
@example({0: (0.0, 5e-324)})
def test_dots_stay_inside_and_in_order(errors: dict[int, tuple[float, float]]) -> None:
    by_method = {
        method: {layer: pair[i] for layer, pair in errors.items()}
        for i, method in enumerate(("gptq", "rtn"))
    }
    plot = layer_plot("dense", by_method)
    for points in plot.points.values():
        assert len(points) == len(errors)
        assert [point.x for point in points] == sorted(point.x for point in points)
        assert all(0 <= point.x <= 100 and -0.01 <= point.y <= 100 for point in points)
    assert (plot.first_layer, plot.last_layer) == (min(errors), max(errors))
