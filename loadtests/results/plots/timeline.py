"""The timeline: panels over one time axis, stages shaded through all of them, alarms marked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from loadtests.results.formats import format_clock, format_stage
from loadtests.results.plots.scale import Scale, linear_ticks, log_ticks, spread_labels, time_ticks
from loadtests.results.plots.svg import Point, area_path, element, join, line_path
from loadtests.results.plots.thin import Sample, thin

_LOG_ABOVE = 40.0
_LABEL_GAP = 13.0
_CHARACTER_WIDTH = 7.0


@dataclass(frozen=True)
class Line:
    """One curve: its direct label, its style class and its samples (seconds, value)."""

    label: str
    style: str
    samples: Sequence[Sample]
    is_area: bool = False


@dataclass(frozen=True)
class Limit:
    """A horizontal mark over a part of the time, such as a threshold."""

    value: float
    begin_s: float
    end_s: float
    label: str


@dataclass(frozen=True)
class Panel:
    """One plot on a value axis of its own; `format_tick` writes value and unit, `empty` stands where nothing is."""

    title: str
    lines: Sequence[Line]
    format_tick: Callable[[float], str]
    height: float = 116.0
    may_be_log: bool = False
    limits: Sequence[Limit] = ()
    empty: str = "no data"
    least: float = 0.0


@dataclass(frozen=True)
class Band:
    """A stage on the time axis."""

    label: str
    begin_s: float
    end_s: float
    is_warmup: bool


@dataclass(frozen=True)
class Mark:
    """A moment worth a line through all panels."""

    at_s: float
    label: str


@dataclass(frozen=True)
class Timeline:
    """Panels, bands and marks over `duration_s`; `hints` are texts for a pointer, each over its span of time."""

    duration_s: float
    panels: Sequence[Panel]
    bands: Sequence[Band]
    marks: Sequence[Mark] = ()
    hints: Sequence[tuple[float, float, str]] = ()


@dataclass(frozen=True)
class Frame:
    """Measures of a drawing in pixels: for a wide page, or for a phone."""

    width: float
    left: float
    right: float
    time_tick_count: int
    buckets: int
    top: float = 30.0
    title: float = 24.0
    gap: float = 16.0
    bottom: float = 24.0
    style: str = field(default="wide")


WIDE = Frame(width=1040, left=58, right=74, time_tick_count=12, buckets=450, style="wide")
NARROW = Frame(width=368, left=52, right=72, time_tick_count=5, buckets=150, style="narrow")


def draw_timeline(timeline: Timeline, frame: Frame, title: str) -> Markup:
    """The whole picture as one `svg` element with its title for screen readers."""
    x = Scale(0.0, max(timeline.duration_s, 1.0), frame.left, frame.width - frame.right)
    offsets: list[float] = []
    y = frame.top
    for panel in timeline.panels:
        offsets.append(y + frame.title)
        y += frame.title + panel.height + frame.gap
    bottom = y - frame.gap
    height = bottom + frame.bottom
    parts = [element("title", title), *_draw_bands(timeline.bands, x, frame, bottom)]
    for panel, offset in zip(timeline.panels, offsets, strict=True):
        parts.append(_draw_panel(panel, x, offset, frame))
    parts += [_draw_time_axis(timeline.duration_s, x, bottom, frame), *_draw_marks(timeline.marks, x, frame, bottom)]
    parts += _draw_hints(timeline.hints, x, frame, bottom)
    return element(
        "svg", join(parts), class_=f"plot {frame.style}", viewBox=f"0 0 {frame.width:g} {height:g}", role="img"
    )


def _draw_bands(bands: Sequence[Band], x: Scale, frame: Frame, bottom: float) -> list[Markup]:
    parts = []
    for index, band in enumerate(bands):
        left, right = x.place(band.begin_s), x.place(band.end_s)
        style = "band warm" if band.is_warmup else f"band b{index % 2}"
        parts.append(
            element("rect", class_=style, x=left, y=frame.top - 6, width=right - left, height=bottom - frame.top + 6)
        )
        fitting = _fit(band, right - left - 4)
        if fitting:
            parts.append(element("text", fitting, class_="stage", x=(left + right) / 2, y=frame.top - 13))
    return parts


def _fit(band: Band, width: float) -> str:
    """The longest text about the stage that its width takes; nothing rather than a stump."""
    characters = int(width / _CHARACTER_WIDTH)
    whole = format_stage(band.label, is_warmup=band.is_warmup)
    if len(whole) <= characters:
        return whole
    if len(band.label) <= characters:
        return band.label
    return band.label[: characters - 1] + "…" if characters >= 5 else ""


def _draw_panel(panel: Panel, x: Scale, top: float, frame: Frame) -> Markup:
    base = top + panel.height
    head = element("text", panel.title, class_="panel", x=frame.left + 6, y=top - 9)
    values = [value for line in panel.lines for _, value in line.samples if value is not None]
    if not values or max(values) <= 0:
        text = element("text", panel.empty, class_="none", x=(frame.left + frame.width - frame.right) / 2, y=top + 22)
        axis = element("line", class_="axis", x1=frame.left, x2=frame.width - frame.right, y1=base, y2=base)
        return join([head, text, axis])
    y, ticks = _value_scale(panel, values, top, base)
    parts = [head, *_draw_grid(ticks, panel, y, frame)]
    drawn = [(line, _pixels(line, x, y, frame.buckets)) for line in panel.lines]
    parts += [_draw_line(line, points, base) for line, points in drawn]
    parts += [_draw_limit(limit, x, y) for limit in panel.limits if y.low <= limit.value <= y.high]
    parts += _draw_labels(panel.lines, y, frame)
    return join(parts)


def _value_scale(panel: Panel, values: Sequence[float], top: float, base: float) -> tuple[Scale, list[float]]:
    high = max([*values, panel.least])
    positive = sorted(value for value in values if value > 0)
    is_log = panel.may_be_log and high / positive[len(positive) // 10] > _LOG_ABOVE
    # A threshold is shown when it is not so far away that it would flatten the curve.
    high = max([high, *(limit.value for limit in panel.limits if is_log or limit.value < 2.5 * high)])
    ticks = log_ticks(positive[0], high) if is_log else linear_ticks(high, 4 if panel.height > 80 else 2)
    return Scale(ticks[0], ticks[-1], base, top, is_log), ticks


def _draw_grid(ticks: Sequence[float], panel: Panel, y: Scale, frame: Frame) -> list[Markup]:
    parts = []
    last_y = float("inf")
    for index, tick in enumerate(ticks):
        at = y.place(tick)
        parts.append(
            element(
                "line",
                class_="axis" if index == 0 else "grid",
                x1=frame.left,
                x2=frame.width - frame.right,
                y1=at,
                y2=at,
            )
        )
        if last_y - at >= _LABEL_GAP:
            parts.append(element("text", panel.format_tick(tick), class_="tick y", x=frame.left - 7, y=at + 4))
            last_y = at
    return parts


def _draw_limit(limit: Limit, x: Scale, y: Scale) -> Markup:
    at = y.place(limit.value)
    left, right = x.place(limit.begin_s), x.place(limit.end_s)
    line = element("line", class_="limit", x1=left, x2=right, y1=at, y2=at)
    is_at_top = at - y.end < _LABEL_GAP
    return join(
        [line, element("text", limit.label, class_="limit-label", x=left + 4, y=at + (13 if is_at_top else -4))]
    )


def _pixels(line: Line, x: Scale, y: Scale, buckets: int) -> list[Point]:
    return [
        (x.place(t), None if value is None or (y.is_log and value <= 0) else y.place(value))
        for t, value in thin(line.samples, buckets)
    ]


def _draw_line(line: Line, points: Sequence[Point], base: float) -> Markup:
    stroke = element("path", class_=f"ln {line.style}", d=line_path(points))
    if not line.is_area:
        return stroke
    return join([element("path", class_=f"area {line.style}", d=area_path(points, base)), stroke])


def _draw_labels(lines: Sequence[Line], y: Scale, frame: Frame) -> list[Markup]:
    """Each curve's name at the height of its last tenth, moved apart where two would meet."""
    ends = [(line, _mean_end(line.samples)) for line in lines if line.label]
    known = [(line, y.place(max(end, y.low))) for line, end in ends if end is not None]
    # The scale's pixels run downwards: its start is the base, its end the top.
    places = spread_labels([at for _, at in known], _LABEL_GAP, y.end + 2, y.start - 1)
    x = frame.width - frame.right + 8
    return [
        element("text", line.label, class_=f"label {line.style}", x=x, y=place + 4)
        for (line, _), place in zip(known, places, strict=True)
    ]


def _mean_end(samples: Sequence[Sample]) -> float | None:
    known = [value for _, value in samples if value is not None]
    last = known[-max(1, len(known) // 10) :]
    return sum(last) / len(last) if last else None


def _draw_time_axis(duration_s: float, x: Scale, bottom: float, frame: Frame) -> Markup:
    ticks = time_ticks(duration_s, frame.time_tick_count)
    parts = [element("text", format_clock(t), class_="tick x", x=x.place(t), y=bottom + 16) for t in ticks]
    parts += [element("line", class_="axis", x1=x.place(t), x2=x.place(t), y1=bottom, y2=bottom + 4) for t in ticks]
    return join(parts)


def _draw_marks(marks: Sequence[Mark], x: Scale, frame: Frame, bottom: float) -> list[Markup]:
    parts = []
    for mark in marks:
        at = x.place(mark.at_s)
        line = element("line", class_="alarm", x1=at, x2=at, y1=frame.top - 6, y2=bottom)
        flag = element("path", class_="alarm-flag", d=f"M{at - 4:.1f} {frame.top - 6:g}h8l-4 6z")
        parts.append(element("g", element("title", f"{format_clock(mark.at_s)}: {mark.label}"), line, flag))
    return parts


def _draw_hints(hints: Sequence[tuple[float, float, str]], x: Scale, frame: Frame, bottom: float) -> list[Markup]:
    if frame.style != "wide":
        return []
    return [
        element(
            "rect",
            element("title", text),
            class_="hint",
            x=x.place(begin),
            y=frame.top - 6,
            width=max(x.place(end) - x.place(begin), 0.5),
            height=bottom - frame.top + 6,
        )
        for begin, end, text in hints
    ]
