"""Where the marks of a report's plots lie, in percent of the plot's width and height.

Percent keep texts and dots at their size whatever the width of the screen.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

METHODS = ("gptq", "rtn")
FEW_LAYERS = 40
"""Up to so many, dots have room to be larger."""


@dataclass(frozen=True)
class Value:
    """Something measured."""

    name: str
    detail: str
    value: float
    is_built: bool
    """Whether it is of something that was built, or is there to compare with."""


@dataclass(frozen=True)
class Bar:
    """One bar from the zero line to a value."""

    name: str
    detail: str
    figure: str
    kind: str
    """built or pale."""
    start: float
    width: float


@dataclass(frozen=True)
class Bars:
    """Bars to both sides of a zero line."""

    caption: str
    zero: float
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Point:
    """A dot and what it says when pointed at."""

    x: float
    y: float
    label: str


@dataclass(frozen=True)
class Line:
    """A stroke from one dot to the next."""

    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True)
class LayerPlot:
    """Errors of one linear layer in every decoder layer, by method."""

    linear: str
    ticks: tuple[str, ...]
    """From the top to zero."""
    summary: str
    points: Mapping[str, tuple[Point, ...]]
    lines: Mapping[str, tuple[Line, ...]]
    first_layer: int
    last_layer: int
    radius: float


def change_bars(values: Sequence[Value], base: Value, caption: str) -> Bars:
    """How far each of `values` is from `base`, in percent of it."""
    changes = [100 * (one.value / base.value - 1) for one in values]
    low, high = min(0.0, *changes), max(0.0, *changes)
    span = high - low or 1.0
    bars = []
    for one, change in zip(values, changes, strict=True):
        figure = f"{one.value:.3f}" if one is base else f"{one.value:.3f} ({change:+.3f} %)"
        kind = "built" if one.is_built else "pale"
        start = _percent((min(change, 0.0) - low) / span)
        width = _percent(abs(change) / span)
        bars.append(Bar(one.name, one.detail, figure, kind, start, width))
    return Bars(caption, _percent(-low / span), tuple(bars))


def layer_plot(linear: str, errors: Mapping[str, Mapping[int, float]]) -> LayerPlot:
    """Plot `errors`, by method and decoder layer, from zero up; each is a share of 1."""
    layers = sorted({layer for by_layer in errors.values() for layer in by_layer})
    top = _round_up(max(error for by_layer in errors.values() for error in by_layer.values()))
    span = max(layers[-1] - layers[0], 1)
    points = {
        method: tuple(
            Point(
                x=_percent((layer - layers[0]) / span),
                y=_percent(1 - error / top),
                label=f"layer {layer}, {method}: {100 * error:.3g} %",
            )
            for layer, error in sorted(by_layer.items())
        )
        for method, by_layer in errors.items()
    }
    means = ", ".join(
        f"{method} {100 * sum(by_layer.values()) / len(by_layer):.3g} % on average"
        for method, by_layer in errors.items()
    )
    return LayerPlot(
        linear=linear,
        ticks=(f"{100 * top:.3g} %", f"{50 * top:.3g} %", "0"),
        summary=means,
        points=points,
        lines={method: _joined(dots) for method, dots in points.items()},
        first_layer=layers[0],
        last_layer=layers[-1],
        radius=3.5 if len(layers) <= FEW_LAYERS else 2,
    )


def _joined(points: Sequence[Point]) -> tuple[Line, ...]:
    return tuple(Line(one.x, one.y, other.x, other.y) for one, other in pairwise(points))


def _round_up(value: float) -> float:
    """The next round number, as an axis ends with; 1 for zero and what is as good as zero."""
    if value < sys.float_info.min:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(
        step * power
        for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10)
        if step * power >= value * (1 - 1e-9)
    )


def _percent(share: float) -> float:
    return round(100 * share, 3)
