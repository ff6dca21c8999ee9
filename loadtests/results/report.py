"""The report: one self-contained HTML page from a result and its series. Strict CSP, no script, nothing external."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from loadtests.results import formats
from loadtests.results.events import RunEvent
from loadtests.results.model import RunResult
from loadtests.results.plots.percentiles import draw_percentiles
from loadtests.results.plots.timeline import NARROW, WIDE, Timeline, draw_timeline
from loadtests.results.report_plots import (
    build_curves,
    build_target_timeline,
    build_timeline,
    draw_gauge,
    list_still_metrics,
)
from loadtests.results.report_view import build_environment_facts, build_facts, build_tiles
from loadtests.results.series import SeriesPoint

_TEMPLATES = Path(__file__).with_name("templates")
_TEXT_LIMIT = 1000


def render_report(
    result: RunResult,
    series: Sequence[SeriesPoint],
    events: Sequence[RunEvent],
    environment: Mapping[str, object] | None,
) -> str:
    """The page; every text is cleaned of control characters and escaped, every plot is drawn here."""
    style = (_TEMPLATES / "report.css").read_text(encoding="utf-8")
    timeline = build_timeline(result, series, events)
    target = build_target_timeline(result, series)
    curves = build_curves(result)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            result=result,
            style=Markup(style),
            style_hash=_hash(style),
            tiles=build_tiles(result),
            facts=build_facts(result),
            environment=build_environment_facts(environment),
            timeline=_both(timeline, "Timeline of the run"),
            target_timeline=_both(target, "The target's own metrics over the run") if target.panels else None,
            still_metrics=list_still_metrics(series),
            distribution=Markup("").join(
                draw_percentiles(curves, frame, "Latency by percentile") for frame in (WIDE, NARROW)
            ),
            gauge=draw_gauge,
            rows=result.statistics,
        )
    )


def _both(timeline: Timeline, title: str) -> Markup:
    """The same picture for a wide page and for a phone; the style sheet shows one of them."""
    return Markup("").join(draw_timeline(timeline, frame, title) for frame in (WIDE, NARROW))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_clean,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        seconds=formats.format_seconds,
        rate=formats.format_rate,
        ratio=formats.format_ratio,
        count=formats.format_count,
        size=formats.format_bytes,
        clock=formats.format_clock,
        length_of=formats.format_length,
    )
    environment.globals.update(quantity=formats.format_quantity)
    return environment


def _clean(value: object) -> object:
    is_foreign = isinstance(value, str) and not isinstance(value, Markup)
    return formats.clean_text(str(value), _TEXT_LIMIT) if is_foreign else value


def _hash(style: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
