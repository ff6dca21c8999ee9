"""Canonical values come out of a Prometheus text as it is written; what is not there is left out."""

from loadtests.run.scrape import join_samples, parse_sample
from loadtests.stacks import MetricSource

TEXT = """
# TYPE consoul_request_total counter
consoul_request_total{endpoint="/chat",method="POST",status="200"} 40.0
consoul_request_total{endpoint="/chat",method="POST",status="429"} 2.0
consoul_request_total{endpoint="/health",method="GET",status="200"} 900.0
# TYPE consoul_circuit_breaker_state gauge
consoul_circuit_breaker_state{provider="openai"} 0.0
consoul_circuit_breaker_state{provider="anthropic"} 2.0
"""


def test_labels_select_and_sum_joins() -> None:
    source = MetricSource("consoul_request_total", {"endpoint": ("/chat",)})

    assert parse_sample(TEXT, {"requests_total": source}) == {"requests_total": 42.0}


def test_max_joins_states() -> None:
    source = MetricSource("consoul_circuit_breaker_state", join="max")

    assert parse_sample(TEXT, {"breaker_state": source}) == {"breaker_state": 2.0}


def test_missing_metric_is_left_out_and_not_zero() -> None:
    assert parse_sample(TEXT, {"redis_degraded": MetricSource("consoul_redis_degraded")}) == {}


def test_one_sample_may_feed_two_names() -> None:
    both = {
        "all": MetricSource("consoul_request_total"),
        "chat": MetricSource("consoul_request_total", {"endpoint": ("/chat",)}),
    }

    assert parse_sample(TEXT, both) == {"all": 942.0, "chat": 42.0}


def test_counters_of_instances_are_added_and_shared_state_is_not() -> None:
    sources = {
        "requests_total": MetricSource("consoul_request_total"),
        "active_sessions": MetricSource("consoul_active_sessions", join="max"),
    }
    first, second = {"requests_total": 40.0, "active_sessions": 7.0}, {"requests_total": 2.0, "active_sessions": 6.0}

    joined = join_samples([first, second], sources)

    assert (joined["requests_total"], joined["active_sessions"]) == (42.0, 7.0)
    assert (joined["requests_total@0"], joined["requests_total@1"]) == (40.0, 2.0)


def test_one_instance_is_not_counted_apart() -> None:
    assert join_samples([{"requests_total": 4.0}], {}) == {"requests_total": 4.0}


def test_an_instance_without_any_error_yet_adds_nothing() -> None:
    sources = {"errors_total": MetricSource("consoul_errors_total")}

    assert join_samples([{"errors_total": 3.0}, {}], sources)["errors_total"] == 3.0
