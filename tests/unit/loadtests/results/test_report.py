"""The report: self-contained, inert whatever it shows, small, and complete."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from loadtests.results.events import RunEvent
from loadtests.results.fold import Tally
from loadtests.results.model import RunResult
from loadtests.results.report import render_report
from loadtests.results.series import SeriesPoint
from tests.unit.loadtests.results.simulation import LOAD, Simulation, build_plan, run_simulation

HOSTILE = [
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "{{7*7}}",
    "{% raw %}",
    "a\u2028b",
    "\u202egnp.exe",
    "<svg/onload=alert(1)>",
    "</style><style>*{display:none}",
    "<!--",
    "-->",
    "]]>",
    "&lt;b&gt;",
    "' onmouseover='alert(1)",
    "`${7*7}`",
    "<iframe src=//evil>",
    "</title><h1>x",
    "\x00<b>",
    "<a href='//evil'>",
    "%3Cscript%3E",
    "<math><mi//xlink:href='data:x'>",
    "<base href=//evil>",
    "<meta http-equiv=refresh>",
    "<link rel=stylesheet>",
    "\ufeff<b>",
]


class _Elements(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)
        self.attributes += attrs


@pytest.fixture(scope="module")
def series() -> list[SeriesPoint]:
    return run_simulation(Simulation(build_plan(time_scale=0.1))).finish()


@pytest.fixture(scope="module")
def page(result: RunResult, series: list[SeriesPoint]) -> str:
    return render_report(
        result,
        series,
        [RunEvent(5.0, "alarm", "loop_lag", "31 ms")],
        {"before": {"fields": {"os.name": {"value": "Debian"}}}},
    )


def build_result_with_text(result: RunResult, text: str) -> RunResult:
    """The result with one text in every field that may come from outside."""
    target = result.target.model_copy(update={"urls": {text: text}, "facts": {text: text}})
    rows = tuple(r.model_copy(update={"request": text}) if r.request else r for r in result.statistics)
    thresholds = tuple(
        t.model_copy(update={"request": text, "why": text, "check": t.check}) for t in result.thresholds
    )
    checks = tuple(c.model_copy(update={"detail": text, "advice": text}) for c in result.watchdog.checks)
    verdict = result.verdict.model_copy(update={"why": text, "next_step": text})
    return result.model_copy(
        update={
            "target": target,
            "statistics": rows,
            "thresholds": thresholds,
            "verdict": verdict,
            "watchdog": result.watchdog.model_copy(update={"checks": checks}),
            "versions": {text: text},
            "run_id": text,
            "repeat_command": text,
            "profile": result.profile.model_copy(update={"description": text}),
        }
    )


def test_hostile_texts_add_no_element_and_no_attribute(result: RunResult, series: list[SeriesPoint]) -> None:
    def elements(text: str) -> tuple[list[str], list[str]]:
        page = render_report(
            build_result_with_text(result, text),
            series,
            [RunEvent(1.0, "alarm", text, text)],
            {"before": {"fields": {"os.name": {"value": text}}}},
        )
        parsed = _Elements(page)
        return parsed.found, [name for name, _ in parsed.attributes]

    plain = elements("plain")
    for text in HOSTILE:
        assert elements(text) == plain, text


def test_text_is_never_taken_for_a_template(result: RunResult, series: list[SeriesPoint]) -> None:
    page = render_report(build_result_with_text(result, "{{7*7}}"), series, [], None)
    assert "{{7*7}}" in page


def test_bidi_and_control_characters_are_gone(result: RunResult, series: list[SeriesPoint]) -> None:
    page = render_report(build_result_with_text(result, "\u202ex\u2028y\x00\x1b[31mz"), series, [], None)
    assert not set("\u202e\u2028\x00\x1b") & set(page)


def test_policy_allows_the_one_style_sheet_and_nothing_else(page: str) -> None:
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert policy[1].replace("&#39;", "'").replace("&#43;", "+") == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def test_page_is_self_contained(page: str) -> None:
    parsed = _Elements(page)
    assert not {"script", "link", "img", "iframe", "object", "a", "base"} & set(parsed.found)
    assert not {"src", "href", "style", "srcset"} & {name for name, _ in parsed.attributes}
    assert "url(" not in page
    assert "@import" not in page
    assert not [name for name, _ in parsed.attributes if name.startswith("on")]


def test_page_says_verdict_why_thresholds_ledger_and_how_to_repeat(page: str, result: RunResult) -> None:
    assert "<h1>insufficient</h1>" in page
    for text in (
        "459 needed",
        "p95 &lt; 2s",
        "make test-load-load STACK=consoul TIME_SCALE=0.1",
        "whole run",
        "Debian",
    ):
        assert text in page
    for title in (
        "Thresholds",
        "Timeline",
        "Latency distribution",
        "Requests",
        "own metrics",
        "Ledger",
        "Environment",
    ):
        assert title in page
    assert "loop_lag: 31 ms" in page
    assert result.profile_digest in page


def test_page_of_a_run_without_any_data_is_whole(judge) -> None:  # type: ignore[no-untyped-def]
    page = render_report(judge(Tally(build_plan())), [], [], None)
    assert "<h1>invalid</h1>" in page
    assert "nothing finished" in page
    assert "No snapshot was taken." in page


def test_metrics_of_the_target_that_never_moved_share_one_line(result: RunResult, page: str) -> None:
    assert "0 throughout: Redis degraded." in page
    assert ">CPU cores</text>" in page
    assert ">Memory, MiB</text>" in page
    assert ">Redis degraded</text>" not in page
    assert "None were read." in render_report(result, [], [], None)


def test_an_hour_stays_under_three_megabytes(result: RunResult, series: list[SeriesPoint]) -> None:
    fields = series[5].__struct_fields__
    hour = [
        SeriesPoint(**{**{name: getattr(series[t % len(series)], name) for name in fields}, "t": t})
        for t in range(3600)
    ]
    page = render_report(result, hour, [], None)
    assert len(page.encode()) < 3_000_000


def test_an_open_profile_shows_what_was_asked(judge) -> None:  # type: ignore[no-untyped-def]
    profile = {
        **LOAD,
        "stages": [{"name": "hold", "duration": "10s", "rate": "50/s"}],
        "thresholds": ["rate >= 40/s"],
    }
    tally = run_simulation(Simulation(build_plan(profile)))
    points = tally.finish()
    page = render_report(judge(tally), points, [], None)
    assert ">asked</text>" in page
    assert "open: poisson arrivals" in page
