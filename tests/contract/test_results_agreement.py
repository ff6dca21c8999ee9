"""Every output of a run tells the same: run.json, summary, junit, tables, terminal and report agree to the digit."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from loadtests.results.builder import build_result, render_all, write_all
from loadtests.results.events import build_event
from loadtests.results.fold import Tally
from loadtests.results.formats import format_count, format_milliseconds, format_rate, format_ratio, format_seconds
from loadtests.results.histograms import Distribution
from loadtests.results.model import RunResult, TargetReport
from loadtests.results.store import RunFolder, load_result
from loadtests.results.tables import FAILURE_COLUMNS, HISTORY_COLUMNS, STATISTICS_COLUMNS
from loadtests.results.terminal import build_terminal_summary
from loadtests.wire import Interval, decode, encode
from tests.unit.loadtests.results.simulation import GIT, STARTED_UNIX, VERSIONS, Simulation, build_plan

EXPECTED_FILES = {
    "plan.json", "run.json", "environment.json", "series.jsonl", "events.jsonl", "stats.csv", "stats_history.csv",
    "failures.csv", "report.html", "summary.md", "junit.xml", "histograms",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run folder written message by message, each through the wire's own encoding."""
    plan = build_plan(time_scale=0.5)
    simulation = Simulation(plan)
    made = RunFolder.create(tmp_path_factory.mktemp("results"), plan)
    tally = Tally(plan)
    for at_s, sample in simulation.samples():
        tally.add_target(at_s, sample)
    for message in map(decode, map(encode, simulation.messages())):
        tally.add(message)
        event = build_event(message)
        if event is not None:
            made.append_event(event)
        if isinstance(message, Interval):
            made.append_histograms(message, STARTED_UNIX)
        for point in tally.closed_seconds():
            made.append_series(point)
    for point in tally.finish():
        made.append_series(point)
    counted = sum(stage.started for stage in tally.stages.values())
    target = TargetReport(urls=plan.targets, is_mock=True, requests_counted=counted, values={"cpu": 61.5})
    result = build_result(
        tally, created_unix=STARTED_UNIX, target=target, versions=VERSIONS, git=GIT, is_interrupted=False
    )
    write_all(made, result, {"before": {"schema": 1, "fields": {}}})
    return made


@pytest.fixture(scope="module")
def stored(folder: RunFolder) -> RunResult:
    return load_result(folder.path)


def _read(folder: RunFolder, name: str) -> str:
    return (folder.path / name).read_text(encoding="utf-8")


def test_folder_holds_every_file_of_a_run_and_no_other(folder: RunFolder) -> None:
    assert {path.name for path in folder.path.iterdir()} == EXPECTED_FILES


def test_run_json_round_trips(folder: RunFolder, stored: RunResult) -> None:
    assert stored.to_json() == _read(folder, "run.json")
    assert json.loads(_read(folder, "run.json"))["schema_version"] == 1


def test_figures_of_the_run_are_the_same_everywhere(folder: RunFolder, stored: RunResult) -> None:
    row = stored.row()
    assert row is not None
    out = io.StringIO()
    Console(file=out, width=100, color_system=None).print(build_terminal_summary(stored, str(folder.path)))
    pages = {
        "summary": _read(folder, "summary.md"),
        "report": _read(folder, "report.html"),
        "terminal": out.getvalue(),
    }
    latency = row.timings["latency"]
    figures = [format_count(row.finished), format_rate(row.rate), format_ratio(row.error_ratio)]
    figures += [format_seconds(latency.percentiles_s[name]) for name in ("p50", "p95", "p99")]
    for name, page in pages.items():
        missing = [figure for figure in figures if figure not in page]
        assert not missing, name


def test_tables_hold_the_same_numbers(folder: RunFolder, stored: RunResult) -> None:
    rows = {row["Name"]: row for row in csv.DictReader(io.StringIO(_read(folder, "stats.csv")))}
    for row in (row for row in stored.statistics if row.stage is None):
        cells = rows["Aggregated" if row.request is None else row.request.split(" ")[1]]
        assert (int(cells["Request Count"]), int(cells["Failure Count"])) == (row.count, row.failed)
        percentiles = row.timings["latency"].percentiles_s
        for name, column in (("p50", "50%"), ("p95", "95%"), ("p99", "99%"), ("p99.9", "99.9%")):
            assert cells[column] == (format_milliseconds(percentiles[name]) or "N/A")
    failures = list(csv.DictReader(io.StringIO(_read(folder, "failures.csv"))))
    assert sum(int(each["Occurrences"]) for each in failures) == stored.totals.failed


def test_series_ledger_and_histograms_count_the_same_requests(folder: RunFolder, stored: RunResult) -> None:
    series = folder.load_series()
    assert sum(point.finished for point in series) == stored.totals.finished
    assert sum(point.failed for point in series) == stored.totals.failed
    for stage in stored.stages:
        row = stored.row(stage.name)
        logs = (folder.path / "histograms").glob(f"{stage.name}--*--latency.hlog")
        payloads = [
            line.rsplit(",", 1)[1] for log in logs for line in log.read_text().splitlines() if line[0].isdigit()
        ]
        union = Distribution.of(payloads)
        assert row is not None
        assert union.count == row.timings["latency"].count
        assert union.percentile_s(50) == pytest.approx(row.timings["latency"].percentiles_s["p50"], abs=1e-6)


def test_verdict_and_outcomes_are_the_same_in_junit_and_summary(folder: RunFolder, stored: RunResult) -> None:
    suite = ET.fromstring(_read(folder, "junit.xml")).find("testsuite")
    assert suite is not None
    properties = {each.get("name"): each.get("value") for each in suite.iter("property")}
    assert properties["verdict"] == stored.verdict.name
    assert _read(folder, "summary.md").startswith(f"# {stored.verdict.name.upper()}: ")
    cases = [case for case in suite.iter("testcase") if case.get("classname") != "instrument"]
    for case, threshold in zip(cases, stored.thresholds, strict=True):
        assert (len(case) == 0) == (threshold.outcome == "pass")


def test_rendering_again_changes_nothing(folder: RunFolder) -> None:
    before = {path: path.read_bytes() for path in folder.path.iterdir() if path.is_file()}
    render_all(folder)
    assert {path: path.read_bytes() for path in folder.path.iterdir() if path.is_file()} == before


def test_tables_have_exactly_the_columns_of_locust(tmp_path: Path) -> None:
    script = (
        "import json, sys; from locust.stats import PERCENTILES_TO_REPORT, StatsCSVFileWriter as W;"
        "w = W(None, PERCENTILES_TO_REPORT, sys.argv[1]);"
        "print(json.dumps([w.requests_csv_columns, w.stats_history_csv_columns, w.failures_columns]))"
    )
    environment = {**os.environ, "LOCUST_SKIP_MONKEY_PATCH": "1"}
    command = [sys.executable, "-c", script, str(tmp_path / "x")]
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout
    assert json.loads(printed) == [list(STATISTICS_COLUMNS), list(HISTORY_COLUMNS), list(FAILURE_COLUMNS)]
