"""The CSV tables: Locust's columns, spreadsheet formulas guarded."""

import csv
import io

import pytest

from loadtests.results.model import FailureRow, RunResult
from loadtests.results.tables import guard_cell, render_failures, render_history, render_statistics
from tests.unit.loadtests.results.simulation import Simulation, build_plan, run_simulation


def _read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_statistics_have_a_row_for_each_request_and_the_sum(result: RunResult) -> None:
    rows = _read(render_statistics(result))
    assert [(row["Type"], row["Name"]) for row in rows] == [("GET", "/health"), ("POST", "/chat"), ("", "Aggregated")]
    run = result.row()
    assert run is not None
    assert int(rows[2]["Request Count"]) == run.count
    assert float(rows[2]["95%"]) == pytest.approx((run.timings["latency"].percentiles_s["p95"] or 0) * 1000)
    assert rows[2]["99.99%"] == "N/A"
    assert rows[2]["100%"] == rows[2]["Max Response Time"]


def test_history_counts_up_to_the_whole_run() -> None:
    tally = run_simulation(Simulation(build_plan(time_scale=0.1)))
    rows = _read(render_history(tally.finish()))
    ended = sum(stage.finished + stage.failed for stage in tally.stages.values())
    assert int(rows[-1]["Total Request Count"]) == ended
    assert rows[0]["Name"] == "Aggregated"
    assert float(rows[-1]["Total Min Response Time"]) <= float(rows[-1]["Total Median Response Time"])


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_each_formula_prefix_is_guarded_and_survives_a_round_trip(start: str) -> None:
    hostile = f'{start}HYPERLINK("http://x","y"),\n1'
    out = io.StringIO()
    csv.writer(out).writerow([guard_cell(hostile)])
    ((cell,),) = csv.reader(io.StringIO(out.getvalue(), newline=""))
    assert cell == "'" + hostile


def test_numbers_and_plain_text_are_not_guarded() -> None:
    assert guard_cell(-1) == -1
    assert guard_cell("a=b") == "a=b"


def test_hostile_names_and_messages_are_guarded_in_the_files(result: RunResult) -> None:
    row = result.statistics[1].model_copy(update={"request": "=cmd|' /C calc'!A0"})
    failure = FailureRow(
        stage="hold", request="@SUM(A1)", kind="wrong_body", detail="x\x1b[2J", count=2, first_unix=0, last_unix=60
    )
    hostile = result.model_copy(update={"statistics": (row,), "failures": (failure, failure)})
    assert _read(render_statistics(hostile))[0]["Name"].startswith("'=")
    assert _read(render_failures(hostile)) == [
        {
            "Method": "",
            "Name": "'@SUM(A1)",
            "Error": "wrong_body: x",
            "Occurrences": "4",
            "First Seen": "1970-01-01T00:00:00Z",
            "Last Seen": "1970-01-01T00:01:00Z",
        }
    ]
