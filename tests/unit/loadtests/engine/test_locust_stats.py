"""Locust's own statistics show what the recorder counted."""

import numpy as np
import pytest
from locust.stats import RequestStats

from loadtests.engine.histogram import count_seconds
from loadtests.engine.locust_stats import feed
from loadtests.engine.recorder import Cell


def cell() -> Cell:
    latencies = np.array([0.1] * 90 + [0.9] * 10)
    made = Cell(0, "POST /chat", finished=98, failed=4, bytes_received=1000, latency=count_seconds(latencies))
    made.failures[("timeout", "no answer")] = 2
    made.failures[("wrong_status", "status 500")] = 2
    return made


def test_counts_times_and_failures_arrive() -> None:
    stats = RequestStats()
    feed(stats, [cell()], unix_s=1_000_000.5)
    feed(stats, [cell()], unix_s=1_000_001.5)
    for entry in (stats.get("/chat", "POST"), stats.total):
        assert (entry.num_requests, entry.num_failures, entry.num_none_requests) == (204, 8, 4)
        assert entry.get_response_time_percentile(0.5) == 100
        assert entry.get_response_time_percentile(0.95) == 900
        assert entry.avg_response_time == pytest.approx(180, rel=0.01)
        assert entry.total_content_length == 2000
        assert dict(entry.num_reqs_per_sec) == {1_000_000: 102, 1_000_001: 102}
    assert sorted((error.error, error.occurrences) for error in stats.errors.values()) == [
        ("timeout: no answer", 4),
        ("wrong_status: status 500", 4),
    ]


def test_seconds_long_past_are_forgotten() -> None:
    stats = RequestStats()
    for second in range(500):
        feed(stats, [cell()], unix_s=float(second))
    assert len(stats.total.num_reqs_per_sec) <= 61
    assert stats.total.num_requests == 51_000
