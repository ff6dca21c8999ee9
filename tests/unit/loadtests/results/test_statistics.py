"""Statistics: warm-up left out of the run, percentiles only as deep as the sample."""

import pytest

from loadtests.results.fold import Tally
from loadtests.results.histograms import Distribution
from loadtests.results.statistics import build_statistics, build_timing
from loadtests.wire import StageEvent
from tests.unit.loadtests.results.simulation import build_interval, build_plan, build_request, build_stage, encode


def _tally() -> Tally:
    tally = Tally(build_plan())
    tally.add(StageEvent("warm", "begin", 0.0))
    tally.add(build_interval(0, "warm", {"warm": build_stage({"a": build_request([9.0] * 50)})}))
    tally.add(StageEvent("warm", "end", 20.0))
    tally.add(StageEvent("ramp", "begin", 20.0))
    requests = {"a": build_request([0.1] * 100, failed=25, refused=5), "b": build_request([0.2] * 50)}
    tally.add(build_interval(20, "ramp", {"ramp": build_stage(requests)}))
    tally.add(StageEvent("ramp", "end", 70.0))
    return tally


def test_the_run_leaves_warmup_out() -> None:
    run = build_statistics(_tally())[0]
    assert (run.stage, run.request, run.warmup) == (None, None, False)
    assert (run.finished, run.failed, run.refused, run.count, run.duration_s) == (150, 25, 5, 175, 50.0)
    assert run.timings["latency"].max_s == pytest.approx(0.2, rel=0.001)


def test_rate_is_finished_over_the_real_length_and_errors_are_of_all_ended() -> None:
    run = build_statistics(_tally())[0]
    assert run.rate == 3.0
    assert run.error_ratio == pytest.approx(25 / 175)


def test_rows_come_stage_by_stage_and_request_by_request() -> None:
    scopes = [(row.stage, row.request) for row in build_statistics(_tally())]
    assert scopes[:8] == [
        (None, None), (None, "a"), (None, "b"), ("warm", None), ("warm", "a"), ("ramp", None), ("ramp", "a"),
        ("ramp", "b"),
    ]  # fmt: skip
    rows = {(row.stage, row.request): row for row in build_statistics(_tally())}
    assert rows["warm", None].warmup
    assert rows["ramp", "b"].bytes_received == 50 * 400
    assert {"latency", "service_time"} == set(rows["ramp", "a"].timings)


def test_a_stage_that_never_ran_has_unknown_rate_and_errors() -> None:
    rows = {(row.stage, row.request): row for row in build_statistics(_tally())}
    hold = rows["hold", None]
    assert (hold.count, hold.rate, hold.error_ratio, hold.timings) == (0, None, None, {})


@pytest.mark.parametrize(
    ("percentile", "needed"), [("p50", 7), ("p90", 44), ("p95", 90), ("p99", 459), ("p99.9", 4603)]
)
def test_a_percentile_is_unknown_one_sample_short_of_what_it_needs(percentile: str, needed: int) -> None:
    short = build_timing(Distribution.of([encode([0.1] * (needed - 1))]))
    enough = build_timing(Distribution.of([encode([0.1] * needed)]))
    assert short.percentiles_s[percentile] is None
    assert enough.percentiles_s[percentile] == pytest.approx(0.1, rel=0.001)


def test_the_curve_ends_where_the_sample_does() -> None:
    timing = build_timing(Distribution.of([encode([0.1] * 100)]), with_curve=True)
    assert timing.curve[0][0] == 0.0
    assert timing.curve[-1][0] == 95.0
    assert build_timing(Distribution(), with_curve=True).curve == ()
