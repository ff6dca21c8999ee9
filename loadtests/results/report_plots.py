"""What the report's plots show: which lines, on which axis, with which limits and marks. Draws nothing itself."""

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from loadtests.results.events import RunEvent
from loadtests.results.formats import (
    clean_text,
    format_clock,
    format_count,
    format_rate,
    format_ratio,
    format_seconds,
    format_seconds_tick,
)
from loadtests.results.model import RunResult, ThresholdOutcome
from loadtests.results.plots.percentiles import Curve
from loadtests.results.plots.svg import element
from loadtests.results.plots.thin import Sample
from loadtests.results.plots.timeline import Band, Limit, Line, Mark, Panel, Timeline
from loadtests.results.series import FRAGMENT_S, SeriesPoint
from loadtests.results.thresholds import parse_condition

_HINTS = 260
_COLOURS = 6
_RAMP = 10
_TARGET_PANELS = 12
_MEBIBYTE = 1024**2
_SPELT = {"cpu": "CPU", "redis": "Redis", "gc": "GC", "http": "HTTP"}
_GAUGE_WIDTH = 120.0
_GAUGE_LIMIT_AT = 90.0


def build_timeline(result: RunResult, series: Sequence[SeriesPoint], events: Sequence[RunEvent]) -> Timeline:
    """Rate, users, latency, errors and the generator's own load over the run, fragments of a second left out."""
    duration_s = _duration_s(result, series)
    series = [point for point in series if point.length_s >= FRAGMENT_S]
    panels = [_rate_panel(series), _users_panel(series), _latency_panel(result, series), _error_panel(series)]
    panels.append(_generator_panel(series))
    return Timeline(
        duration_s=duration_s,
        panels=panels,
        bands=_bands(result),
        marks=[Mark(e.t, f"{e.name}: {e.detail}") for e in events if e.kind == "alarm"],
        hints=_hints(series),
    )


def build_target_timeline(result: RunResult, series: Sequence[SeriesPoint]) -> Timeline:
    """A low panel for each of the target's own metrics that was ever other than 0."""
    moving, _ = _split_metrics(series)
    panels = [_target_panel(name, series) for name in moving[:_TARGET_PANELS]]
    return Timeline(duration_s=_duration_s(result, series), panels=panels, bands=_bands(result))


def list_still_metrics(series: Sequence[SeriesPoint]) -> list[str]:
    """Titles of the target's metrics that were 0 throughout, which need no panel."""
    _, still = _split_metrics(series)
    return [_target_title(name) for name in still]


def build_curves(result: RunResult) -> list[Curve]:
    """Latency by percentile for each stage that has any; warm-up too, drawn faint."""
    rows = [row for row in result.statistics if row.stage is not None and row.request is None]
    shown = [row for row in rows if "latency" in row.timings]
    judged = [row for row in shown if not row.warmup]
    styles = {row.stage: _curve_style(index, len(judged)) for index, row in enumerate(judged)}
    return [Curve(row.stage or "", styles.get(row.stage, "warm-line"), row.timings["latency"].curve) for row in shown]


def draw_gauge(outcome: ThresholdOutcome) -> Markup:
    """Value against limit as a small bar, the limit marked; nothing where no such proportion exists."""
    if outcome.value is None or outcome.limit <= 0:
        return Markup("")
    share = min(outcome.value / outcome.limit, _GAUGE_WIDTH / _GAUGE_LIMIT_AT)
    return element(
        "svg",
        element("rect", class_="gauge-track", width=_GAUGE_WIDTH, height=6, y=4, rx=3),
        element("rect", class_=f"gauge-value {outcome.outcome}", width=share * _GAUGE_LIMIT_AT, height=6, y=4, rx=3),
        element("line", class_="gauge-limit", x1=_GAUGE_LIMIT_AT, x2=_GAUGE_LIMIT_AT, y1=0, y2=14),
        class_="gauge",
        viewBox=f"0 0 {_GAUGE_WIDTH:g} 14",
        role="img",
        aria_hidden="true",
    )


def _curve_style(index: int, count: int) -> str:
    """A colour of its own for each of a few curves; more than that share a ramp from the first to the last."""
    return f"c{index}" if count <= _COLOURS else f"r{round(index * (_RAMP - 1) / (count - 1))}"


def _rate_panel(series: Sequence[SeriesPoint]) -> Panel:
    lines = [Line("achieved", "achieved", _samples(series, "achieved_rate"))]
    if any(point.asked_rate is not None for point in series):
        lines.insert(0, Line("asked", "asked", _samples(series, "asked_rate")))
    return Panel("Rate, finished requests a second", lines, _plain_rate, empty="nothing finished")


def _users_panel(series: Sequence[SeriesPoint]) -> Panel:
    flight = Line("in flight", "flight", _samples(series, "in_flight"))
    if not any(point.users for point in series) or any(point.asked_rate is not None for point in series):
        return Panel("Requests in flight", [flight], _plain_number, 72, empty="none")
    users = Line("users", "users", _samples(series, "users"), is_area=True)
    return Panel("Users, and requests in flight", [users, flight], _plain_number, 92, empty="no users")


def _latency_panel(result: RunResult, series: Sequence[SeriesPoint]) -> Panel:
    lines = [Line(name, name, _samples(series, f"{name}_s")) for name in ("p50", "p95", "p99")]
    return Panel(
        "Latency from the intended start",
        lines,
        format_seconds_tick,
        170,
        may_be_log=True,
        limits=_limits(result),
        empty="nothing measured",
    )


def _error_panel(series: Sequence[SeriesPoint]) -> Panel:
    lines = [Line("errors", "errors", [(p.t + 0.5, (p.error_ratio or 0.0) * 100) for p in series], is_area=True)]
    if any(point.dropped for point in series):
        dropped = [(p.t + 0.5, 100 * p.dropped / max(p.dropped + p.started, 1)) for p in series]
        lines.append(Line("dropped", "dropped", dropped))
    return Panel("Errors, share of requests", lines, _percent, 64, empty="no failed request", least=1.0)


def _generator_panel(series: Sequence[SeriesPoint]) -> Panel:
    cpu = Line("CPU", "cpu", [(p.t + 0.5, p.cpu_ratio * 100) for p in series])
    return Panel("Generator, CPU of its busiest process", [cpu], _percent, 56, empty="not measured", least=100.0)


def _split_metrics(series: Sequence[SeriesPoint]) -> tuple[list[str], list[str]]:
    names = sorted({name for point in series for name in point.target})
    moving = {name for point in series for name, value in point.target.items() if value}
    return [name for name in names if name in moving], [name for name in names if name not in moving]


def _target_panel(name: str, series: Sequence[SeriesPoint]) -> Panel:
    samples = [(point.t + 0.5, point.target.get(name)) for point in series]
    title = _target_title(name)
    if name.endswith("_bytes"):
        samples = [(t, None if value is None else value / _MEBIBYTE) for t, value in samples]
    return Panel(title, [Line("", "c0", samples)], _plain_number, 64, empty="none above 0")


def _target_title(name: str) -> str:
    """`memory_bytes` → `Memory, MiB`; `requests_per_s` → `Requests a second`; `cpu_cores` → `CPU cores`."""
    for suffix, unit in (("_bytes", ", MiB"), ("_per_s", " a second"), ("_ratio", ", ratio"), ("_s", ", seconds")):
        if name.endswith(suffix):
            name, tail = name.removesuffix(suffix), unit
            break
    else:
        tail = ""
    words = [_SPELT.get(word, word) for word in name.split("_") if word]
    title = " ".join(words) + tail
    return title[:1].upper() + title[1:]


def _samples(series: Sequence[SeriesPoint], name: str) -> list[Sample]:
    return [(point.t + 0.5, getattr(point, name)) for point in series]


def _duration_s(result: RunResult, series: Sequence[SeriesPoint]) -> float:
    whole = [point.t + 1.0 for point in series if point.length_s >= FRAGMENT_S]
    return max([result.duration_s, *whole[-1:]])


def _bands(result: RunResult) -> list[Band]:
    return [
        Band(stage.name, stage.begin_s, stage.end_s, stage.warmup)
        for stage in result.stages
        if stage.begin_s is not None and stage.end_s is not None
    ]


def _limits(result: RunResult) -> list[Limit]:
    """Upper limits on latency percentiles over all requests, drawn where they are judged."""
    limits = []
    for threshold in result.thresholds:
        condition = parse_condition(threshold.check)
        if condition.metric != "latency" or threshold.request is not None or condition.operator not in {"<", "<="}:
            continue
        scope = [s for s in result.stages if s.name == threshold.stage or (threshold.stage is None and not s.warmup)]
        begin = min((s.begin_s for s in scope if s.begin_s is not None), default=0.0)
        end = max((s.end_s for s in scope if s.end_s is not None), default=result.duration_s)
        limits.append(Limit(condition.limit, begin, end, condition.text))
    return limits


def _hints(series: Sequence[SeriesPoint]) -> list[tuple[float, float, str]]:
    step = max(1, -(-len(series) // _HINTS))
    groups: Iterable[Sequence[SeriesPoint]] = (series[i : i + step] for i in range(0, len(series), step))
    return [(float(g[0].t), float(g[-1].t + 1), _hint(max(g, key=lambda p: p.p99_s or 0.0))) for g in groups]


def _hint(point: SeriesPoint) -> str:
    percentiles = (("p50", point.p50_s), ("p95", point.p95_s), ("p99", point.p99_s))
    asked = f" of {format_rate(point.asked_rate)} asked" if point.asked_rate is not None else ""
    return "\n".join(
        [
            f"{format_clock(point.t)}  {clean_text(point.stage or 'between stages')}",
            f"{format_rate(point.achieved_rate)}{asked}, {format_count(point.users)} users",
            ", ".join(f"{name} {format_seconds(value)}" for name, value in percentiles),
            f"{format_ratio(point.error_ratio)} errors, {format_count(point.in_flight)} in flight",
        ]
    )


def _plain_rate(value: float) -> str:
    return format_count(value) if value >= 10 or value == int(value) else f"{value:g}"


def _plain_number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:g}"


def _percent(value: float) -> str:
    return f"{value:g} %"
