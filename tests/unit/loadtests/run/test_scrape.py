"""Canonical values come out of a Prometheus text as it is written; what is not there is left out."""

from loadtests.run.scrape import parse_sample
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
