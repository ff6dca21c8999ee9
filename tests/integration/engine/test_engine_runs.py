"""A real generating process against a real target: every request is accounted for, whatever happens to either."""

import signal
from collections.abc import Callable

import pytest
from hdrh.histogram import HdrHistogram

from loadtests import wire
from tests.integration.engine.conftest import Child, Target, assert_balanced

Start = Callable[..., Target]
StartChild = Callable[..., Child]


def assert_ended_well(child: Child) -> None:
    """Locust prints its table on stderr; what went wrong would stand there, too."""
    assert child.process.returncode == 0
    assert not [word for word in ("Traceback", "ERROR", "WARNING") if word in child.errors], child.errors


def test_open_run_counts_what_the_target_counts(start_target: Start, start_child: StartChild) -> None:
    target = start_target(TARGET_KEEP_SESSIONS="1")
    stages = [
        {"name": "warm", "duration": "1s", "rate": "300/s", "ramp": "1s", "warmup": True},
        {"name": "hold", "duration": "2s", "rate": "300/s"},
    ]
    child = start_child(target.url, stages=stages, sessions=50).finish()
    assert_ended_well(child)
    ledger = child.ledger()
    assert_balanced(ledger)
    assert ledger["late"] <= 0.1 * ledger["started"], ledger
    assert child.ledger("warm")["scheduled"] == 150
    assert child.ledger("hold")["scheduled"] == 600
    assert ledger["finished"] == target.count()["requests"] == 750
    assert target.count()["sessions"] == 50
    first, last = child.messages[0], child.messages[-1]
    assert isinstance(first, wire.Started)
    assert isinstance(last, wire.Ended)
    assert last.reason == "completed"
    events = [(event.stage, event.event) for event in child.of(wire.StageEvent)]
    assert events == [("warm", "begin"), ("warm", "end"), ("hold", "begin"), ("hold", "end")]
    assert [arrivals.count for arrivals in child.of(wire.Arrivals)] == [150, 600]
    counted = 0
    for interval in child.of(wire.Interval):
        for delta in interval.stages.values():
            for request in delta.requests.values():
                counted += HdrHistogram.decode(request.histograms["latency"]).get_total_count()
    assert counted == 750


def test_closed_run_counts_what_the_target_counts_and_every_injected_failure(
    start_target: Start, start_child: StartChild
) -> None:
    target = start_target(TARGET_EVERY_NTH_FAILS="10")
    stages = [
        {"name": "up", "duration": "2s", "users": 20, "ramp": "2s"},
        {"name": "hold", "duration": "2s", "users": 20},
    ]
    child = start_child(target.url, stages=stages, think_time="100ms", sessions="fresh").finish()
    assert_ended_well(child)
    ledger = child.ledger()
    served = target.count()["requests"]
    assert_balanced(ledger)
    assert ledger["cut_off"] == 0
    assert ledger["started"] == served
    assert ledger["failed"] == ledger["failed:injected"] == served // 10
    assert child.ledger("hold")["finished"] > child.ledger("up")["finished"] > 0
    assert max(interval.users for interval in child.of(wire.Interval)) == 20
    assert child.messages[-1].reason == "completed"  # type: ignore[union-attr]


def test_users_asked_to_leave_a_slow_target_are_replaced_when_more_are_wanted(
    start_target: Start, start_child: StartChild
) -> None:
    target = start_target(TARGET_LATENCY_S="3.3")
    stages = [
        {"name": "many", "duration": "1s", "users": 20},
        {"name": "few", "duration": "1s", "users": 5},
        {"name": "more", "duration": "3s", "users": 15},
    ]
    child = start_child(target.url, stages=stages, think_time="10ms").finish()
    assert_ended_well(child)
    ledger = child.ledger()
    assert_balanced(ledger)
    assert ledger["finished"] == ledger["started"] == target.count()["requests"]
    users = {interval.stage: interval.users for interval in child.of(wire.Interval) if interval.stage}
    assert users["more"] == 15
    in_flight = max(interval.in_flight for interval in child.of(wire.Interval))
    assert in_flight > 20, "those asked to leave still wait for their answers beside those that came"


def test_frozen_target_shows_as_timeouts_and_drops_and_not_as_a_sick_generator(
    start_target: Start, start_child: StartChild
) -> None:
    target = start_target()
    child = start_child(
        target.url, stages=[{"name": "hold", "duration": "3s", "rate": 100}], timeout="1s", max_in_flight=20
    )
    child.read_until(lambda message: isinstance(message, wire.Interval) and bool(message.stages))
    target.freeze()
    child.finish()
    ledger = child.ledger()
    assert_balanced(ledger)
    assert ledger["failed:timeout"] >= 20
    assert ledger["failed"] == ledger["failed:timeout"]
    assert ledger["dropped"] > 20
    lags = [interval.loop_lag_max_s for interval in child.of(wire.Interval)]
    # A machine that is busy with other tests may add a few; a sick generator has nearly all.
    assert ledger["suspect"] <= 0.1 * ledger["scheduled"], (ledger, lags)


@pytest.mark.parametrize("load", [{"rate": 200}, {"users": 20}], ids=["open", "closed"])
def test_sigterm_ends_the_run_with_what_was_in_flight_cut_off(
    start_target: Start, start_child: StartChild, load: dict[str, int]
) -> None:
    target = start_target()
    stages = [{"name": "hold", "duration": "1m", **load}]
    child = start_child(target.url, stages=stages, think_time="20ms", max_in_flight=20)
    child.read_until(lambda message: isinstance(message, wire.Interval) and bool(message.stages))
    target.freeze()
    child.read_until(lambda message: isinstance(message, wire.Interval) and message.in_flight == 20)
    child.process.send_signal(signal.SIGTERM)
    child.finish()
    ledger = child.ledger()
    assert_balanced(ledger)
    assert ledger["cut_off"] == 20
    last = child.messages[-1]
    assert isinstance(last, wire.Ended)
    assert last.reason == "stopped"
    assert child.process.returncode == 0
    assert [event.event for event in child.of(wire.StageEvent)] == ["begin", "end"]


def test_parent_that_is_gone_stops_the_load(start_target: Start, start_child: StartChild) -> None:
    target = start_target()
    child = start_child(target.url, stages=[{"name": "hold", "duration": "1m", "users": 2}])
    child.read_until(lambda message: isinstance(message, wire.Interval))
    child.pipe.close()
    assert child.process.wait(20) == 0


def test_saturated_generator_says_so(start_target: Start, start_child: StartChild) -> None:
    target = start_target()
    child = start_child(target.url, stages=[{"name": "hold", "duration": "3s", "rate": 60_000}]).finish()
    ledger = child.ledger()
    assert_balanced(ledger)
    assert ledger["scheduled"] == 180_000
    assert ledger["suspect"] > 0.01 * (ledger["finished"] + ledger["failed"])
    assert "suspect" in {alarm.kind for alarm in child.of(wire.Alarm)}


def test_key_is_sent_and_never_told(
    start_target: Start, start_child: StartChild, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_KEY", "secret-of-the-test")
    target = start_target(TARGET_WANTED_KEY="secret-of-the-test")
    child = start_child(target.url, stages=[{"name": "hold", "duration": "1s", "rate": 20}]).finish()
    assert child.ledger()["finished"] == 20
    assert "secret-of-the-test" not in repr(child.messages) + child.errors


def test_unusable_plan_ends_with_the_code_for_usage_and_one_line(start_child: StartChild) -> None:
    child = start_child(
        "http://127.0.0.1:1", time_scale=0.001, stages=[{"name": "hold", "duration": "1s", "users": 1}]
    )
    child.finish()
    assert child.process.returncode == 104
    assert child.errors.startswith("error: TIME_SCALE: got 0.001")
    assert child.errors.count("\n") == 1
