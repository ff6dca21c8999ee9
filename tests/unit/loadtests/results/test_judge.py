"""Thresholds judged: the right scope, the documented side at the limit, and never a pass on missing data."""

import pytest

from loadtests.model import Threshold
from loadtests.results.fold import Tally
from loadtests.results.judge import judge_threshold, judge_thresholds
from loadtests.results.model import ThresholdOutcome
from loadtests.wire import StageEvent
from tests.unit.loadtests.results.simulation import build_interval, build_plan, build_request, build_stage


def _tally() -> Tally:
    tally = Tally(build_plan())
    for name, begin, end in (("warm", 0.0, 20.0), ("ramp", 20.0, 30.0), ("hold", 30.0, 40.0)):
        tally.add(StageEvent(name, "begin", begin))
        tally.add(StageEvent(name, "end", end))
    tally.add(build_interval(0, "warm", {"warm": build_stage({"a": build_request([9.0] * 100)})}))
    requests = {"a": build_request([0.1] * 90, failed=10, refused=9), "b": build_request([2.0] * 100)}
    tally.add(build_interval(20, "ramp", {"ramp": build_stage(requests, dropped=5, cut_off=2, late=4)}))
    tally.add(build_interval(30, "hold", {"hold": build_stage({"b": build_request([2.0] * 100)})}))
    return tally


def _judge(
    check: str,
    *,
    stage: str | None = None,
    request: str | None = None,
    min_samples: int | None = None,
    values: dict[str, float] | None = None,
) -> ThresholdOutcome:
    threshold = Threshold(check=check, stage=stage, request=request, min_samples=min_samples)
    return judge_threshold(_tally(), threshold, values or {})


@pytest.mark.parametrize(
    ("check", "stage", "request_name", "outcome"),
    [
        ("p95 < 3s", None, None, "pass"),
        ("p95 < 1s", None, None, "fail"),
        ("p95 < 1s", "ramp", "a", "pass"),
        ("max < 3s", None, None, "pass"),
        ("mean < 1s", "ramp", None, "fail"),
        ("median >= 2s", "hold", None, "pass"),
        ("service_time_p50 < 2s", "hold", None, "pass"),
        ("error_ratio < 10%", "ramp", "a", "fail"),
        ("error_ratio <= 10%", "ramp", "a", "pass"),
        ("refused_ratio <= 9%", "ramp", "a", "pass"),
        ("rate >= 19/s", "ramp", None, "pass"),
        ("rate > 19/s", "ramp", None, "fail"),
        ("dropped == 0", "ramp", None, "fail"),
        ("dropped == 0", "hold", None, "pass"),
        ("dropped == 5", None, None, "pass"),
        ("cut_off <= 2", "ramp", None, "pass"),
        ("late_ratio < 3%", "ramp", None, "pass"),
        ("late_ratio < 1%", "ramp", None, "fail"),
        ("finished > 0", None, None, "pass"),
        ("failed == 0", None, None, "fail"),
        ("failed == 0", "hold", None, "pass"),
    ],
)
def test_threshold_is_judged_in_its_scope(
    check: str, stage: str | None, request_name: str | None, outcome: str
) -> None:
    assert _judge(check, stage=stage, request=request_name).outcome == outcome


def test_exactly_at_the_limit_less_fails_and_less_or_equal_passes() -> None:
    less, at_most = _judge("p95 < 2s", stage="hold"), _judge("p95 <= 2s", stage="hold")
    assert (less.outcome, at_most.outcome) == ("fail", "pass")
    assert "exactly at the limit" in less.why
    assert _judge("p95 > 2s", stage="hold").outcome == "fail"
    assert _judge("p95 >= 2s", stage="hold").outcome == "pass"


@pytest.mark.parametrize(
    ("check", "stage", "request_name", "why"),
    [
        ("p95 < 2s", "spike", None, "the stage never ran"),
        ("dropped == 0", "spike", None, "the stage never ran"),
        ("failed == 0", "hold", "a", "no request 'a' ended"),
        ("error_ratio < 1%", None, "nobody", "there were: a, b"),
        ("ttft_p95 < 1s", None, None, "no ttft was measured"),
        ("p99 < 3s", None, None, "290 samples, 459 needed"),
        ("p99 < 1ms", None, None, "290 samples, 459 needed"),
        ("dropped == 0", None, "a", "per stage, not per request"),
        ("finished < 10", "hold", "a", "no request 'a' ended"),
    ],
)
def test_without_data_or_samples_it_is_insufficient(
    check: str, stage: str | None, request_name: str | None, why: str
) -> None:
    outcome = _judge(check, stage=stage, request=request_name)
    assert outcome.outcome == "insufficient"
    assert why in outcome.why


def test_finished_above_zero_fails_where_requests_started_and_none_ended() -> None:
    tally = Tally(build_plan())
    tally.add(StageEvent("hold", "begin", 0.0))
    tally.add(build_interval(0, "hold", {"hold": build_stage({}, cut_off=5)}))
    tally.finish()
    assert judge_threshold(tally, Threshold(check="finished > 0"), {}).outcome == "fail"
    assert judge_threshold(tally, Threshold(check="failed == 0"), {}).outcome == "insufficient"


def test_min_samples_of_the_threshold_replaces_what_the_percentile_needs() -> None:
    assert _judge("p99 < 3s", request="b", min_samples=200).outcome == "pass"
    assert _judge("p99 < 3s", request="b").outcome == "insufficient"
    assert _judge("error_ratio < 50%", min_samples=1000).outcome == "insufficient"


@pytest.mark.parametrize(
    ("check", "dropped", "outcome", "why"),
    [
        ("p90 < 3s", 0, "pass", "measured 2.00 s"),
        ("p90 < 3s", 20, "pass", "20 dropped arrivals taken as never answered"),
        ("p90 < 3s", 22, "fail", "9.0"),
        ("p90 < 3s", 40, "fail", "lies among the 40 dropped arrivals"),
        ("p90 > 3s", 40, "insufficient", "lies among the 40 dropped arrivals"),
        ("p99 < 3s", 40_000, "fail", "lies among the 40,000 dropped arrivals"),
        ("service_time_p90 < 3s", 40, "pass", "measured 1.9"),
        ("max < 10s", 40, "pass", "measured 9.0"),
    ],
)
def test_a_dropped_arrival_is_one_that_was_never_answered(check: str, dropped: int, outcome: str, why: str) -> None:
    tally = Tally(build_plan())
    tally.add(StageEvent("hold", "begin", 0.0))
    requests = {"a": build_request([2.0] * 198 + [9.0] * 2)}
    tally.add(build_interval(0, "hold", {"hold": build_stage(requests, dropped=dropped)}))
    tally.finish()
    found = judge_threshold(tally, Threshold(check=check), {})
    assert found.outcome == outcome, found
    assert why in found.why
    assert judge_threshold(tally, Threshold(check="p90 < 3s", request="a"), {}).outcome == "pass"


def test_a_target_metric_judges_only_when_it_was_measured() -> None:
    assert _judge("target.cpu < 85%").outcome == "not_measured"
    assert _judge("target.cpu < 85%", values={"cpu": 84.9}).outcome == "pass"
    assert _judge("target.cpu < 85%", values={"cpu": 85.0}).outcome == "fail"


def test_outcomes_keep_the_order_of_the_profile_and_say_where() -> None:
    outcomes = judge_thresholds(_tally(), {})
    assert [outcome.check for outcome in outcomes][:2] == ["p95 < 2s", "p95 < 200ms"]
    assert len(outcomes) == len(build_plan().profile.thresholds)
    assert [outcome.where for outcome in outcomes[:4]] == ["run", "stage hold", "stage spike", "POST /chat in hold"]
