"""What a run leaves and touches: histograms with every request, a lab that was reset, the key that was sent."""

from collections.abc import Callable, Iterator
from urllib.request import urlopen

import pytest
import redis
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from loadtests.run.scrape import parse_sample
from loadtests.stacks import MetricSource
from loadtests.wire import HISTOGRAM_DIGITS, HISTOGRAM_HIGHEST_US, HISTOGRAM_LOWEST_US

from .conftest import Lab, Outcome

Finish = Callable[..., Outcome]


@pytest.fixture
def stored(lab: Lab) -> Iterator["redis.Redis"]:
    client = redis.Redis.from_url(f"{lab.state['redis_url']}/0")
    yield client
    client.close()


def admitted(lab: Lab, tier: str) -> float:
    source = MetricSource("consoul_rate_limit_decisions_total", {"tier": (tier,), "decision": ("allowed",)})
    with urlopen(lab.state["services"]["consoul"]["metrics_url"]) as answer:
        return parse_sample(answer.read().decode(), {"admitted": source}).get("admitted", 0.0)


def test_histogram_logs_hold_every_request_and_give_the_same_percentile(finish_soundly: Finish) -> None:
    outcome = finish_soundly()
    (path,) = (outcome.folder / "histograms").glob("*--latency.hlog")
    whole = HdrHistogram(HISTOGRAM_LOWEST_US, HISTOGRAM_HIGHEST_US, HISTOGRAM_DIGITS)
    reader = HistogramLogReader(str(path), whole)
    try:
        while (interval := reader.get_next_interval_histogram()) is not None:
            whole.add(interval)
    finally:
        reader.close()

    row = next(row for row in outcome.result["statistics"] if row["stage"] is None and row["request"] is None)
    assert whole.get_total_count() == row["finished"] > 100
    assert whole.get_value_at_percentile(95) == pytest.approx(
        row["timings"]["latency"]["percentiles_s"]["p95"] * 1e6, rel=0.01, abs=16
    )


def test_the_labs_sessions_are_cleared_first_and_other_keys_are_not(
    finish_soundly: Finish, stored: "redis.Redis"
) -> None:
    stored.set("consoul:session:left-from-before", "{}")
    stored.set("somebody:else", "kept")
    finish_soundly()

    assert stored.exists("consoul:session:left-from-before") == 0
    assert stored.get("somebody:else") == b"kept"


def test_a_profile_may_keep_the_state_it_finds(finish_soundly: Finish, stored: "redis.Redis") -> None:
    stored.set("consoul:session:left-from-before", "{}")
    finish_soundly({"reset": False})

    assert stored.exists("consoul:session:left-from-before") == 1


def test_the_lab_is_sent_its_own_key_and_the_callers_key_wins(finish_soundly: Finish, lab: Lab) -> None:
    before = admitted(lab, "lab")
    outcome = finish_soundly()
    assert admitted(lab, "lab") - before >= outcome.result["reconciliation"]["counted"] > 0

    before = admitted(lab, "premium")
    finish_soundly(None, API_KEY="premium-key")
    assert admitted(lab, "premium") > before
