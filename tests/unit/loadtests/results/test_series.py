"""One record a second: complete, once, and honest about what is missing."""

import pytest

from loadtests.results.fold import Tally
from loadtests.results.series import TargetSeries, rate_name
from loadtests.wire import Interval, Started
from tests.unit.loadtests.results.simulation import (
    STARTED_UNIX,
    build_interval,
    build_plan,
    build_request,
    build_stage,
)


def _tally(processes: int = 1) -> Tally:
    tally = Tally(build_plan())
    tally.add(Started(STARTED_UNIX, processes, {}))
    return tally


def _second(second: int, values: list[float], worker: str = "w0", failed: int = 0) -> Interval:
    return build_interval(second, "hold", {"hold": build_stage({"a": build_request(values, failed=failed)})}, worker)


def test_a_second_closes_once_when_its_data_is_in() -> None:
    tally = _tally()
    assert tally.closed_seconds() == []
    tally.add(_second(0, [0.1, 0.1], failed=2))
    (point,) = tally.closed_seconds()
    assert (point.t, point.unix, point.stage) == (0, STARTED_UNIX, "hold")
    assert (point.finished, point.failed, point.achieved_rate, point.error_ratio) == (2, 2, 2.0, 0.5)
    assert point.p50_s == pytest.approx(0.1, rel=0.001)
    assert (point.users, point.in_flight, point.cpu_ratio) == (10, 3, 0.2)
    assert tally.closed_seconds() == []


def test_a_second_waits_for_every_process_and_sums_them() -> None:
    tally = _tally(processes=2)
    tally.add(_second(0, [0.1]))
    assert tally.closed_seconds() == []
    tally.add(_second(0, [0.3, 0.3], "w1"))
    (point,) = tally.closed_seconds()
    assert (point.finished, point.users, point.achieved_rate) == (3, 20, 3.0)


def test_a_process_silent_for_five_seconds_is_not_waited_for() -> None:
    tally = _tally(processes=2)
    tally.add(_second(0, [0.1], "w1"))
    for second in range(7):
        tally.add(_second(second, [0.1]))
    assert [point.t for point in tally.closed_seconds()] == list(range(7))


def test_rates_are_over_the_length_as_measured() -> None:
    tally = _tally()
    base = _second(0, [0.1] * 10)
    fields = {name: getattr(base, name) for name in base.__struct_fields__}
    tally.add(Interval(**{**fields, "start_s": 0.0, "end_s": 1.25, "asked_rate": 10.0}))
    (point,) = tally.closed_seconds()
    assert (point.achieved_rate, point.asked_rate) == (8.0, 10.0)


def test_a_fragment_of_a_second_says_how_short_it_was_and_nothing_about_cpu() -> None:
    tally = _tally()
    base = _second(1, [0.1])
    fields = {name: getattr(base, name) for name in base.__struct_fields__}
    tally.add(_second(0, [0.1]))
    tally.add(Interval(**{**fields, "start_s": 1.0, "end_s": 1.03, "cpu_ratio": 0.99}))
    assert [point.length_s for point in tally.finish()] == [1.0, 0.03]
    assert tally.cpu_ratio_max == 0.2


def test_a_second_in_which_nothing_ended_has_unknown_percentiles_and_errors() -> None:
    tally = _tally()
    tally.add(build_interval(0, None, {}))
    (point,) = tally.closed_seconds()
    assert (point.p50_s, point.p99_s, point.error_ratio, point.stage) == (None, None, None, None)
    assert point.achieved_rate == 0.0


def test_the_rest_comes_out_at_the_end() -> None:
    tally = _tally(processes=2)
    tally.add(_second(0, [0.1]))
    tally.add(_second(1, [0.2]))
    assert [point.t for point in tally.finish()] == [0, 1]
    assert tally.latest is not None
    assert tally.latest.run_p50_s == pytest.approx(0.1, rel=0.001)


def test_data_later_than_its_closed_second_is_counted_in_the_next() -> None:
    tally = _tally()
    tally.add(_second(0, [0.1]))
    tally.closed_seconds()
    tally.add(_second(0, [0.1], "w9"))
    tally.add(_second(1, [0.1]))
    assert sum(point.finished for point in tally.finish()) == 2


def test_counters_of_the_target_become_rates_and_gauges_stay() -> None:
    target = TargetSeries()
    target.add(0.2, {"requests_total": 100, "cpu_s_total": 1.0, "memory_bytes": 5e6})
    target.add(2.2, {"requests_total": 300, "cpu_s_total": 2.0, "memory_bytes": 6e6})
    assert target.take(0) == {"memory_bytes": 5e6}
    assert target.take(1) == {}
    assert target.take(2) == {"requests_per_s": 100.0, "cpu_cores": 0.5, "memory_bytes": 6e6}


def test_a_counter_that_went_down_gives_no_rate() -> None:
    target = TargetSeries()
    target.add(0.0, {"requests_total": 100})
    target.add(1.0, {"requests_total": 3, "memory_bytes": float("nan")})
    target.add(2.0, {"requests_total": 13})
    assert target.take(1) == {}
    assert target.take(2) == {"requests_per_s": 10.0}
    assert rate_name("errors_total") == "errors_per_s"


def test_the_target_sample_lands_in_its_second() -> None:
    tally = _tally()
    tally.add_target(0.4, {"redis_degraded": 1.0})
    tally.add(_second(0, [0.1]))
    tally.add(_second(1, [0.1]))
    assert [point.target for point in tally.finish()] == [{"redis_degraded": 1.0}, {}]
