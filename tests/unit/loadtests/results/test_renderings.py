"""Summary, JUnit and terminal: hostile text is inert, 80 columns suffice, and CI sees what it must."""

import io
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from loadtests.results.fold import Tally
from loadtests.results.junit import render_junit
from loadtests.results.live import build_live
from loadtests.results.model import FailureRow, RunResult, VerdictName
from loadtests.results.summary import render_summary
from loadtests.results.terminal import build_terminal_summary
from tests.unit.loadtests.results.simulation import Simulation, build_plan

HOSTILE = "\x1b]0;owned\x07<b>|`*_x_*`| \x00\x1b[31m</script>"


def _print(renderable: object, width: int = 80) -> str:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None, force_terminal=False).print(renderable)
    return out.getvalue()


@pytest.fixture
def hostile(result: RunResult) -> RunResult:
    failure = FailureRow(
        stage="hold", request=HOSTILE, kind="wrong_body", detail=HOSTILE * 40, count=1, first_unix=0, last_unix=0
    )
    rows = tuple(r.model_copy(update={"request": HOSTILE}) if r.request else r for r in result.statistics)
    thresholds = tuple(t.model_copy(update={"request": HOSTILE}) for t in result.thresholds)
    return result.model_copy(update={"failures": (failure,), "statistics": rows, "thresholds": thresholds})


def _cases(result: RunResult) -> dict[str, ET.Element]:
    return {case.get("name", ""): case for case in ET.fromstring(render_junit(result)).iter("testcase")}


def test_junit_has_a_case_for_each_threshold_the_instrument_and_the_run(result: RunResult) -> None:
    cases = _cases(result)
    assert len(cases) == len(result.thresholds) + 2
    assert cases["p95 < 2s (run)"].find("error") is None
    spike = cases["p99 < 3s (stage spike)"].find("error")
    assert spike is not None
    assert "459 needed" in spike.get("message", "")
    assert cases["target.cpu < 85% (run)"].find("skipped") is not None
    assert cases["the run could be judged"].find("error") is not None


def test_junit_totals_count_its_cases(result: RunResult) -> None:
    suite = ET.fromstring(render_junit(result)).find("testsuite")
    assert suite is not None
    for attribute, tag in (("tests", "testcase"), ("errors", "error"), ("skipped", "skipped")):
        assert int(suite.get(attribute, "-1")) == len(suite.findall(f".//{tag}"))
    assert suite.get("failures") == "0"


@pytest.mark.parametrize("name", ["fail", "invalid", "insufficient", "interrupted"])
def test_junit_never_looks_green_when_the_verdict_is_not_pass(result: RunResult, name: VerdictName) -> None:
    threshold = result.thresholds[0].model_copy(update={"outcome": "fail" if name == "fail" else "pass"})
    check = result.watchdog.checks[0].model_copy(update={"outcome": "broken" if name == "invalid" else "ok"})
    changed = result.model_copy(
        update={
            "thresholds": (threshold,),
            "watchdog": result.watchdog.model_copy(update={"checks": (check,)}),
            "verdict": result.verdict.model_copy(update={"name": name}),
        }
    )
    text = render_junit(changed)
    assert "<failure" in text or "<error" in text


def test_junit_stays_xml_with_hostile_text(hostile: RunResult) -> None:
    assert len(_cases(hostile)) > 2
    assert "\x1b" not in render_junit(hostile)


def test_summary_starts_with_the_verdict_and_escapes_markup(result: RunResult, hostile: RunResult) -> None:
    assert render_summary(result).startswith("# INSUFFICIENT: consoul/load\n\n**Why:** ")
    text = render_summary(hostile)
    assert "<b>" not in text.replace("\\<b\\>", "")
    assert "\x1b" not in text
    tables = [line for line in text.splitlines() if line.startswith("| ")]
    assert all(line.replace("\\|", "").count("|") == line.replace("\\|", "").count(" |") + 1 for line in tables)


def test_summary_of_a_shortened_run_says_so(result: RunResult) -> None:
    assert "never comparable" in render_summary(result)


def test_terminal_summary_fits_80_columns_and_needs_no_colour(result: RunResult) -> None:
    text = _print(build_terminal_summary(result, "results/x"))
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    assert "INSUFFICIENT" in text
    assert "TIME_SCALE=0.1" in text
    assert "results/x/report.html" in text
    assert "GET /health" in text


def test_terminal_sequences_never_reach_the_terminal(hostile: RunResult) -> None:
    text = _print(build_terminal_summary(hostile, "results/\x1b[2J"))
    assert "\x1b" not in text
    assert "owned" not in text


def test_terminal_names_what_broke_in_the_instrument(result: RunResult) -> None:
    broken = result.watchdog.checks[0].model_copy(update={"outcome": "broken", "detail": "died", "advice": "look"})
    changed = result.model_copy(update={"watchdog": result.watchdog.model_copy(update={"checks": (broken,)})})
    assert "generator broken: died → look" in _print(build_terminal_summary(changed, "x"))


def test_live_progress_shows_stage_time_left_rates_and_verdict_so_far() -> None:
    simulation = Simulation(build_plan())
    tally = Tally(simulation.plan)
    for message in simulation.messages():
        tally.add(message)
        tally.closed_seconds()
        if tally.last_s >= 100:
            break
    text = _print(build_live(tally, 100.0))
    assert "1:40 of 4:20" in text
    assert "hold (3 of 5), 1:40 left" in text
    assert "50 users" in text
    assert "3 hold" in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80


def test_live_progress_before_the_first_second_claims_nothing() -> None:
    text = _print(build_live(Tally(build_plan()), 0.0))
    assert "starting" in text
    assert "0 failed (–)" in text
