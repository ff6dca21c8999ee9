"""The instrument judged by itself: each defect is caught, and a sound run is not blamed."""

from collections.abc import Mapping

import pytest

from loadtests.results.fold import Tally
from loadtests.results.model import TargetReport, WatchdogCheck
from loadtests.results.soundness import build_ledger, build_watchdog, reconcile
from loadtests.wire import Alarm, Arrivals, Ended, StageDelta, StageEvent, Started
from tests.unit.loadtests.results.simulation import build_interval, build_plan, build_request, build_stage

OPEN = {
    "name": "open",
    "description": "an open profile for the test",
    "stack": "consoul",
    "stages": [{"name": "hold", "duration": "10s", "rate": "100/s"}],
    "mix": {"chat": 1},
}


def _tally(
    delta: StageDelta | None = None,
    *,
    profile: Mapping[str, object] | None = None,
    ended: bool = True,
    stage: str = "hold",
) -> Tally:
    tally = Tally(build_plan(profile))
    tally.add(Started(0.0, 1, {}))
    for name in tally.stages:
        tally.add(StageEvent(name, "begin", 0.0))
        tally.add(StageEvent(name, "end", 10.0))
    tally.add(build_interval(0, stage, {stage: delta or build_stage({"a": build_request([0.1] * 100)})}))
    if ended:
        tally.add(Ended(10.0, "completed"))
    return tally


def _check(name: str, tally: Tally, target: TargetReport | None = None, counted: int | None = None) -> WatchdogCheck:
    report = target or TargetReport(urls={}, requests_counted=counted)
    watchdog = build_watchdog(tally, reconcile(build_ledger(tally)[-1], 0, report), report)
    return next(check for check in watchdog.checks if check.name == name)


def test_a_sound_run_has_no_broken_check() -> None:
    tally = _tally()
    watchdog = build_watchdog(tally, None, TargetReport(urls={}))
    assert {check.outcome for check in watchdog.checks} <= {"ok", "skipped"}


@pytest.mark.parametrize(
    "ledger", [{"scheduled": 101}, {"started": 99}, {"started": 101, "scheduled": 101}, {"scheduled": 99}]
)
def test_a_ledger_off_by_one_is_caught(ledger: dict[str, int]) -> None:
    tally = _tally(build_stage({"a": build_request([0.1] * 100)}, **ledger))
    assert _check("ledger", tally).outcome == "broken"
    assert not build_ledger(tally)[-1].is_balanced


def test_imbalances_that_cancel_between_stages_are_caught() -> None:
    tally = _tally(build_stage({"a": build_request([0.1])}, scheduled=2))
    tally.add(build_interval(1, "ramp", {"ramp": build_stage({"a": build_request([0.1])}, scheduled=0)}))
    total = build_ledger(tally)[-1]
    assert total.scheduled == total.started
    assert _check("ledger", tally).outcome == "broken"


def test_the_ledger_sums_all_stages() -> None:
    tally = _tally(build_stage({"a": build_request([0.1], failed=2)}, dropped=3, cut_off=4))
    tally.add(build_interval(1, "warm", {"warm": build_stage({"a": build_request([0.1] * 5)})}))
    total = build_ledger(tally)[-1]
    assert (total.stage, total.scheduled, total.started, total.finished) == (None, 15, 12, 6)
    assert (total.failed, total.dropped, total.cut_off, total.is_balanced) == (2, 3, 4, True)


@pytest.mark.parametrize(("suspect", "outcome"), [(1, "ok"), (2, "broken")])
def test_more_than_one_percent_suspect_is_broken(suspect: int, outcome: str) -> None:
    check = _check("timing", _tally(build_stage({"a": build_request([0.1] * 100)}, suspect=suspect)))
    assert check.outcome == outcome


@pytest.mark.parametrize(
    ("cpu_ratio", "whose"), [(0.97, "which was the bottleneck"), (0.02, "something else on this host")]
)
def test_late_timing_says_whether_the_generator_was_busy_or_not_let_run(cpu_ratio: float, whose: str) -> None:
    tally = _tally(build_stage({"a": build_request([0.1] * 100)}, suspect=50))
    tally.cpu_ratio_max = cpu_ratio
    check = _check("timing", tally)
    assert check.outcome == "broken"
    assert whose in check.detail
    assert ("more processes" in check.advice) == (cpu_ratio > 0.5)


@pytest.mark.parametrize(("suspect", "outcome"), [(9, "ok"), (10, "broken")])
def test_a_stage_judged_for_itself_may_not_hide_behind_the_run(suspect: int, outcome: str) -> None:
    tally = _tally(build_stage({"a": build_request([0.1] * 200)}, suspect=suspect))
    tally.add(build_interval(1, "ramp", {"ramp": build_stage({"a": build_request([0.1] * 5000)})}))
    check = _check("timing", tally)
    assert check.outcome == outcome
    assert ("of hold suspect" in check.detail) == (outcome == "broken")


def test_suspects_in_warmup_do_not_count() -> None:
    tally = _tally(build_stage({"a": build_request([0.1] * 10)}, suspect=10), stage="warm")
    assert _check("timing", tally).outcome == "skipped"


def test_a_generator_without_its_last_message_died() -> None:
    check = _check("generator", _tally(ended=False))
    assert check.outcome == "broken"
    assert "died" in check.detail


def test_a_lost_worker_is_broken_and_other_alarms_are_not() -> None:
    tally = _tally()
    tally.add(Alarm(3.0, "loop_lag", "12 ms"))
    assert _check("workers", tally).outcome == "ok"
    tally.add(Alarm(4.0, "worker_lost", "worker 2 vanished"))
    assert _check("workers", tally).outcome == "broken"


def test_code_of_ours_that_raised_is_broken() -> None:
    tally = _tally()
    tally.add(Alarm(3.0, "harness", "KeyError: 'reply'"))
    check = _check("code", tally)
    assert check.outcome == "broken"
    assert "KeyError" in check.detail


def test_dropped_arrivals_warn_that_no_percentile_covers_them() -> None:
    check = _check("dropped", _tally(build_stage({"a": build_request([0.1] * 100)}, dropped=900)))
    assert check.outcome == "warning"
    assert check.detail.startswith("900 of 1,000 arrivals")


def test_a_stage_that_vanished_is_broken_unless_the_run_was_stopped() -> None:
    tally = Tally(build_plan())
    tally.add(StageEvent("warm", "begin", 0.0))
    tally.add(Ended(5.0, "completed"))
    assert "never ran: ramp, hold" in _check("stages", tally).detail
    tally.ended = Ended(5.0, "stopped")
    assert _check("stages", tally).outcome == "skipped"


def test_a_busy_cpu_warns_only() -> None:
    tally = _tally()
    tally.cpu_ratio_max = 0.97
    assert _check("cpu", tally).outcome == "warning"


@pytest.mark.parametrize(
    ("arrivals", "outcome"),
    [
        (Arrivals("w0", "hold", 50_000, 1.002, 0.99, 0.01, 1.03), "ok"),
        (Arrivals("w0", "hold", 500_000, 1.02, 1.0, 0.0, 1.0), "broken"),
        (Arrivals("w0", "hold", 50_000, 1.0, 0.0, 0.0, None), "broken"),
        (Arrivals("w0", "hold", 50_000, 1.0, 1.0, 0.06, 1.0), "broken"),
        (Arrivals("w0", "hold", 50_000, 1.0, 1.0, 0.0, 1.2), "broken"),
        (Arrivals("w0", "hold", 400, 1.1, 1.15, 0.15, 1.5), "ok"),
        (Arrivals("w0", "hold", 400, 1.3, 1.0, 0.0, 1.0), "broken"),
        (Arrivals("w0", "hold", 99, 2.0, 2.0, 1.0, 9.0), "skipped"),
        (Arrivals("w0", "hold", 50_000, None, None, None, None), "ok"),
    ],
)
def test_arrivals_are_judged_by_effect_size_as_far_as_the_sample_allows(arrivals: Arrivals, outcome: str) -> None:
    tally = _tally(profile=OPEN)
    tally.add(arrivals)
    assert _check("arrivals", tally).outcome == outcome


def test_constant_arrivals_must_not_vary() -> None:
    for variation, outcome in ((0.01, "ok"), (1.0, "broken")):
        tally = _tally(profile={**OPEN, "arrivals": "constant"})
        tally.add(Arrivals("w0", "hold", 50_000, 1.0, variation, 0.9, 0.0))
        assert _check("arrivals", tally).outcome == outcome


@pytest.mark.parametrize(("counted", "unexplained"), [(104, 0), (110, 0), (106, 0), (103, 1), (111, 1)])
def test_only_requests_without_answer_explain_a_difference(counted: int, unexplained: int) -> None:
    tally = _tally(build_stage({"a": build_request([0.1] * 100, failed=7)}, cut_off=3, dropped=50))
    total = build_ledger(tally)[-1]
    found = reconcile(total, 3, TargetReport(urls={}, requests_counted=counted))
    assert found is not None
    assert (found.at_least, found.at_most, found.unexplained) == (104, 110, unexplained)


def test_an_unexplained_difference_breaks_on_the_mock_and_warns_on_a_real_target() -> None:
    tally = _tally()
    mock = TargetReport(urls={}, is_mock=True, requests_counted=99)
    assert _check("reconciliation", tally, mock).outcome == "broken"
    assert _check("reconciliation", tally, counted=99).outcome == "warning"
    assert _check("reconciliation", tally, counted=100).outcome == "ok"
    assert _check("reconciliation", tally).outcome == "skipped"
    unread = TargetReport(urls={}, is_mock=True, not_counted="it was restarted")
    assert _check("reconciliation", tally, unread).outcome == "warning"
    assert _check("reconciliation", tally, unread).detail == "it was restarted"
