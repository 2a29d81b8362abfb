"""report.html says what report.json does, loads nothing, and no name becomes markup."""

import math
import re
from xml.etree import ElementTree

import pytest

from vacc_gen.generator.emit.report_html import perplexity_figures, report_html

HOSTILE = """<script>alert('x')</script>"><img src=//a.b/c onerror=x> & "quoted" {{ 7 * 7 }}"""


def stage(name, precision, status="done", **more):
    cost = {"seconds": 1.5, "peak_rss_bytes": 321_000_000, "output_bytes": 0}
    return {"name": name, "precision": precision, "status": status, **cost, **more}


def parity(**more):
    return {
        "prefill_max_abs_diff": 0.0034,
        "decode_max_abs_diff": 0.0083,
        "max_abs_diff_allowed": 0.05,
        "reference": "torch",
        "greedy_tokens": 32,
        "first_difference": None,
        **more,
    }


FAILED = {
    "backend": "vamc",
    "recipe": {"preset": "falcon-7b", "card": "VA16", "tp": 4, "prefill": 1024, "total": 2048},
    "made": {
        "date": "2026-11-29T03:42:08+00:00",
        "versions": {"vacc-gen": "0.2.0", "onnxruntime": "1.32.0"},
        "machine": {"system": "Linux", "processor": "Z80", "cores": 2, "memory_bytes": 65_536},
    },
    "stages": [stage("preflight", None, "failed", reason="too long", hint="cut it")],
    "parity": {"precisions": {}},
    "perplexity": {},
}
WORD = {"position": 7, "token": " may", "reference_token": " should", "logit_gap": 0.0078125}
GPTQ = {"method": "gptq", "bits": 8, "group_size": 32, "activations": "int8"}
REPORT = {
    **FAILED,
    "model": "falcon-tiny",
    "backend": "onnxruntime",
    "stages": [
        stage("preflight", None, notes=["a file was edited by hand"]),
        stage("calibrate", "fp16", "skipped", reason="fp16 needs none"),
        stage("export", "fp16", weights_bytes=5_100_416, kv_cache={"dtype": "fp16", "bytes": 65}),
        stage("quantize", "int8", "reused", weights_bytes=2_929_536, quantization=GPTQ),
        stage("compile", "fp16", output_bytes=5_200_000),
        stage("compile", "int8"),
    ],
    "parity": {
        "precisions": {
            "fp16": parity(),
            "int8": parity(
                decode_max_abs_diff=0.75,
                max_abs_diff_allowed=0.5,
                first_difference=WORD,
            ),
        }
    },
    "perplexity": {
        "windows": {
            "windows": 16,
            "window_tokens": 128,
            "stride_tokens": 128,
            "scores": [{"precision": "fp16", "perplexity": 40.0}],
        },
    },
}
COMPILED_BY_VAMC = {
    **FAILED,
    "stages": [
        stage("compile", "fp16", log=".vacc-gen/logs/fp16.log"),
        stage("verify", "fp16", "skipped", reason="only the card can run it"),
    ],
}


class Page:
    """What a page is made of; it is well-formed XML, too."""

    def __init__(self, html):
        root = ElementTree.fromstring(html)
        for style in root.iter("style"):
            style.text = None
        self.elements = list(root.iter())
        self.text = re.sub(r"\s+", " ", " ".join(root.itertext()))

    def count(self, tag, kind):
        return sum(one.tag == tag and one.get("class") == kind for one in self.elements)


def test_every_figure_is_there():
    page = Page(report_html(REPORT))
    for figure in (
        "Build of falcon-tiny int8 differs from torch in fp32 by more than allowed",
        "recipe falcon-7b",
        "tp 4 on VA16 lengths prompts of 1024 tokens, 2048 in all backend ONNX Runtime",
        "versions vacc-gen 0.2.0, onnxruntime 1.32.0 machine Linux, Z80, 2 cores, 65.5 kB",
        "date 2026-11-29 03:42:08 UTC took 9.0 s",
        "fp16 5.1 MB 65 B fp16",
        "int8 2.9 MB GPTQ, groups of 32, int8 activations",
        "Measured on 16 windows of 128 tokens; lower is better.",
        "perplexity fp16 40.00 Models",
        "fp16 0.0034 0.0083 0.05 32 greedy tokens equal",
        "int8 0.0034 0.7500 0.5 first difference at token 8",
        "int8 picks ' may', torch ' should' by 0.0078",
        "calibrate fp16 skipped fp16 needs none",
        "quantize int8 reused 1.5 s 321 MB",
        "compile fp16 done 1.5 s 321 MB 5.2 MB",
        "a file was edited by hand",
    ):
        assert figure in page.text
    assert (page.count("td", "number good"), page.count("td", "number bad")) == (3, 1)
    bars = [(one.get("value"), one.get("max")) for one in page.elements if one.tag == "meter"]
    assert bars == [("0.0083", "0.05"), ("0.75", "0.5"), ("40.0", "40.0")]


@pytest.mark.parametrize(
    ("mean", "error", "text"),
    [
        (0.0021, 0.0011, "40.12 (+0.2 ± 0.1 %)"),
        (0.00021, 0.000108, "40.12 (+0.02 ± 0.01 %)"),
        (-0.0000004, 0.0, "40.12 (-0.000 ± 0.000 %)"),
        (0.00042, 0.00096, "40.12 (+0.0 ± 0.1 %)"),
        (0.01, 0.0052, "40.1 (+1.0 ± 0.5 %)"),
        (1.0, 0.09, "40 (+172 ± 24 %)"),
        (0.5, None, "40.12"),
    ],
)
def test_a_perplexity_has_no_decimals_that_its_error_does_not_carry(mean, error, text):
    difference = {"reference": "fp16", "mean": mean, "standard_error": error}
    score = {"precision": "int8", "perplexity": 40.123, "nll_difference": difference}
    sizes = {"windows": 16, "window_tokens": 128, "stride_tokens": 64}
    caption, figures = perplexity_figures({"fp16": 1, "windows": {**sizes, "scores": [score]}})
    assert caption == "on 16 windows of 128 tokens, 64 apart"
    assert figures == {"int8": text}


def compared(precision, **more):
    """The report of one precision, which is within its limits unless `more` says otherwise."""
    parities = {precision: parity(**more)}
    compiled = stage("compile", precision, "reused")
    return {**REPORT, "stages": [compiled], "parity": {"precisions": parities}}


TWO = {**REPORT, "parity": {"precisions": {"fp16": parity(), "int8": parity()}}}


@pytest.mark.parametrize(
    ("report", "kind", "headline", "reason"),
    [
        (REPORT, "bad", "int8 differs from torch in fp32 by more than allowed", "vacc-gen build"),
        (compared("int8"), "good", "within its threshold: ready for the compiler", "run . --prec"),
        (compared("int4"), "good", "int4 matches torch in fp32 within its", "to run here"),
        (
            compared("int8", prefill_max_abs_diff=math.nan),
            "bad",
            "int8 differs from torch",
            "build",
        ),
        (TWO, "good", "fp16 and int8 match torch in fp32 within their thresholds", "run . --prec"),
        (FAILED, "bad", "Failed: preflight", "too long Hint: cut it"),
        (COMPILED_BY_VAMC, "good", "fp16 compiled, not verified", "only the card can run it"),
        (COMPILED_BY_VAMC, "good", "fp16 compiled, not verified", "scripts/serve.sh fp16"),
        ({**FAILED, "stages": []}, "soft", "Nothing was compiled", "vacc-gen build"),
    ],
)
def test_it_starts_with_a_verdict(report, kind, headline, reason):
    page = Page(report_html(report))
    assert page.count("div", f"verdict {kind}") == 1
    assert page.text.index(headline) < page.text.index("backend") < page.text.index("Stages")
    assert reason in page.text
    for section in ("Models", "Perplexity", "Parity"):  # or left out
        assert f"<h2>{section}" in report_html(REPORT)
        assert f"<h2>{section}" not in report_html(FAILED)


def hostile(value):
    """`value` with every text in it replaced by one that would be markup."""
    if isinstance(value, dict):
        kept = ("status", "method")  # the program's own words
        return {k: v if k in kept else hostile(v) for k, v in value.items()}
    if isinstance(value, list):
        return [hostile(item) for item in value]
    return HOSTILE if isinstance(value, str) else value


@pytest.mark.parametrize("report", [REPORT, FAILED, hostile(REPORT)], ids=["whole", "failed", "x"])
def test_it_loads_nothing_and_names_do_not_become_markup(report):
    html = report_html(report)
    assert report in (REPORT, FAILED) or "{{ 7 * 7 }}" in html, "not even the template's own"
    page = Page(html)
    policies = [one.get("content") for one in page.elements if one.get("http-equiv")]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]
    for tag, attributes in ((one.tag, one.attrib) for one in page.elements):
        assert tag not in ("script", "link", "img", "iframe", "object", "embed", "base", "form")
        assert not {"src", "href", "xlink:href", "srcset", "action", "style"} & attributes.keys()
        assert not [name for name in attributes if name.startswith("on")]
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    assert "url(" not in style
    assert "@import" not in style
