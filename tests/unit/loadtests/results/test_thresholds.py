"""The threshold grammar: what it reads, what it refuses and how it says so."""

import pytest

from loadtests.results.thresholds import needed_samples, parse_condition


@pytest.mark.parametrize(
    ("text", "metric", "statistic", "operator", "limit", "unit"),
    [
        ("p95 < 2s", "latency", "p95", "<", 2.0, "s"),
        ("p99 <= 300ms", "latency", "p99", "<=", 0.3, "s"),
        ("p99.9<1m30s", "latency", "p99.9", "<", 90.0, "s"),
        ("ttft_p95 < 1s", "ttft", "p95", "<", 1.0, "s"),
        ("service_time_mean < 50ms", "service_time", "mean", "<", 0.05, "s"),
        ("median < 5ms", "latency", "median", "<", 0.005, "s"),
        ("min > 1ms", "latency", "min", ">", 0.001, "s"),
        ("error_ratio < 1%", "error_ratio", None, "<", 0.01, "ratio"),
        ("error_ratio == 0", "error_ratio", None, "==", 0.0, "ratio"),
        ("late_ratio <= 0.5%", "late_ratio", None, "<=", 0.005, "ratio"),
        ("rate >= 9900/s", "rate", None, ">=", 9900.0, "/s"),
        ("rate >= 60/m", "rate", None, ">=", 1.0, "/s"),
        ("dropped == 0", "dropped", None, "==", 0.0, "count"),
        ("finished > 0", "finished", None, ">", 0.0, "count"),
        ("target.cpu < 85%", "target.cpu", None, "<", 85.0, "%"),
        ("target.memory_slope_mb_per_10min < 1", "target.memory_slope_mb_per_10min", None, "<", 1.0, "number"),
    ],
)
def test_condition_is_read(
    text: str, metric: str, statistic: str | None, operator: str, limit: float, unit: str
) -> None:
    condition = parse_condition(text)
    assert (condition.metric, condition.statistic, condition.operator) == (metric, statistic, operator)
    assert condition.limit == pytest.approx(limit)
    assert (condition.unit, condition.text) == (unit, text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("p95", "want `metric operator limit`"),
        ("", "want `metric operator limit`"),
        ("p95 < ", "want `metric operator limit`"),
        ("p95 = 2s", "unknown operator '='"),
        ("p95 != 2s", "unknown operator '!='"),
        ("p95 < 2", "got limit '2', want a duration with its unit"),
        ("p95 < 2%", "want a duration"),
        ("p95 < -2s", "want a duration"),
        ("p0 < 2s", "must lie between 0 and 100"),
        ("p100 < 2s", "must lie between 0 and 100"),
        ("eror_ratio < 1%", "did you mean 'error_ratio'"),
        ("P95 < 1s", "did you mean 'p95'"),
        ("error_ratio < 0.01", "want a percentage"),
        ("error_ratio < 101%", "want a percentage"),
        ("error_ratio < nan%", "want a percentage"),
        ("rate >= 9900", "want a rate with its unit"),
        ("dropped == 0/s", "want a whole number"),
        ("dropped == -1", "want a whole number"),
        ("dropped == ²", "want a whole number"),
        ("target. < 1", "unknown metric"),
        ("target.cpu < fast", "want a number"),
    ],
)
def test_refusal_names_the_text_and_what_is_allowed(text: str, says: str) -> None:
    with pytest.raises(ValueError, match="threshold") as refusal:
        parse_condition(text)
    assert says in str(refusal.value)
    assert repr(text) in str(refusal.value)


def test_exactly_at_the_limit_less_fails_and_less_or_equal_passes() -> None:
    assert not parse_condition("p95 < 2s").holds(2.0)
    assert parse_condition("p95 <= 2s").holds(2.0)
    assert not parse_condition("rate > 100/s").holds(100.0)
    assert parse_condition("rate >= 100/s").holds(100.0)
    assert parse_condition("dropped == 0").holds(0)
    assert not parse_condition("dropped == 0").holds(1)


@pytest.mark.parametrize(("percentile", "needed"), [(50, 7), (90, 44), (95, 90), (99, 459), (99.9, 4603)])
def test_needed_samples_grow_with_the_depth(percentile: float, needed: int) -> None:
    assert needed_samples(percentile) == needed


def test_a_condition_without_percentile_needs_one_sample() -> None:
    assert parse_condition("error_ratio < 1%").needed_samples == 1
    assert parse_condition("p95 < 1s").needed_samples == 90
