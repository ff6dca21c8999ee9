"""Latency by percentile, on an axis that gives each further nine the same room."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from loadtests.results.formats import format_seconds_tick
from loadtests.results.plots.scale import Scale, linear_ticks, log_ticks, spread_labels
from loadtests.results.plots.svg import element, join, line_path
from loadtests.results.plots.timeline import Frame

# In order of importance: where two would touch, the later one is left out.
_TICKS = (0.0, 50.0, 99.0, 90.0, 99.9, 95.0, 75.0, 99.99)
_TICK_GAP = 32.0
_LOG_ABOVE = 30.0
_HEIGHT = 260.0
_TOP = 14.0
_BOTTOM = 40.0
_LABEL_WIDTH = 7.6


@dataclass(frozen=True)
class Curve:
    """One stage's latencies: (percentile, seconds), as deep as its sample allows."""

    label: str
    style: str
    points: Sequence[tuple[float, float]]


def draw_percentiles(curves: Sequence[Curve], frame: Frame, title: str) -> Markup:
    """One `svg` element; empty curves are left out, and with none at all it says so."""
    shown = [curve for curve in curves if len(curve.points) > 1]
    if not shown:
        return element("p", "No stage has enough samples for a distribution.", class_="note")
    right = min(max(len(curve.label) for curve in shown) * _LABEL_WIDTH + 16, frame.width / 4)
    deepest = max(curve.points[-1][0] for curve in shown)
    base = _TOP + _HEIGHT
    x = Scale(0.0, _nines(deepest), frame.left, frame.width - right)
    y, ticks = _value_scale([v for curve in shown for _, v in curve.points], base)
    parts = [element("title", title), *_draw_axes(ticks, deepest, x, y, frame)]
    for curve in shown:
        pixels = [(x.place(_nines(p)), y.place(v)) for p, v in curve.points]
        parts.append(element("path", class_=f"ln {curve.style}", d=line_path(pixels)))
    parts += _draw_labels(shown, x, y, base)
    height = base + _BOTTOM
    return element(
        "svg", join(parts), class_=f"plot {frame.style}", viewBox=f"0 0 {frame.width:g} {height:g}", role="img"
    )


def _nines(percentile: float) -> float:
    return -math.log10(1 - percentile / 100)


def _value_scale(values: Sequence[float], base: float) -> tuple[Scale, list[float]]:
    low, high = max(min(values), 1e-5), max(values)
    is_log = high / low > _LOG_ABOVE
    ticks = log_ticks(low, high) if is_log else linear_ticks(high, 5)
    return Scale(ticks[0], ticks[-1], base, _TOP, is_log), ticks


def _draw_axes(ticks: Sequence[float], deepest: float, x: Scale, y: Scale, frame: Frame) -> list[Markup]:
    parts = []
    for index, tick in enumerate(ticks):
        at = y.place(tick)
        parts.append(element("line", class_="grid" if index else "axis", x1=x.start, x2=x.end, y1=at, y2=at))
        parts.append(element("text", format_seconds_tick(tick), class_="tick y", x=x.start - 7, y=at + 4))
    placed: list[float] = []
    for percentile in _TICKS:
        at = x.place(_nines(percentile))
        if percentile <= deepest and all(abs(at - other) >= _TICK_GAP for other in placed):
            parts.append(element("line", class_="grid", x1=at, x2=at, y1=_TOP, y2=y.start))
            label = "min" if percentile == 0 else f"p{percentile:g}"
            parts.append(element("text", label, class_="tick x", x=at, y=y.start + 17))
            placed.append(at)
    middle = (x.start + x.end) / 2
    parts.append(element("text", "share of requests at or below", class_="axis-title", x=middle, y=y.start + 34))
    return parts


def _draw_labels(curves: Sequence[Curve], x: Scale, y: Scale, base: float) -> list[Markup]:
    wanted = [y.place(curve.points[-1][1]) for curve in curves]
    places = spread_labels(wanted, 14.0, _TOP, base)
    return [
        element("text", curve.label, class_=f"label {curve.style}", x=x.end + 8, y=place + 4)
        for curve, place in zip(curves, places, strict=True)
    ]
