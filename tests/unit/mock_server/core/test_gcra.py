import random
from fractions import Fraction

import pytest

from mock_server.core.gcra import Arrival, check, check_all
from mock_server.core.limits import Limit

MINUTE_US = 60_000_000


def admit(limit: Limit, times_us: list[int], cost: int = 1) -> list[bool]:
    stored: Arrival | None = None
    outcomes = []
    for now_us in times_us:
        verdict, stored = check(limit, stored, now_us, cost)
        outcomes.append(verdict.allowed)
    return outcomes


def admit_by_reference(limit: Limit, times_us: list[int], cost: int = 1) -> list[bool]:
    """The textbook algorithm on exact fractions."""
    interval = Fraction(limit.period_s * 1_000_000, limit.count)
    arrival = Fraction(0)
    outcomes = []
    for now_us in times_us:
        after = max(arrival, Fraction(now_us)) + cost * interval
        allowed = after - now_us <= limit.count * interval
        arrival = after if allowed else arrival
        outcomes.append(allowed)
    return outcomes


@pytest.mark.parametrize("count", [1, 7, 60, 1000, 99_991])
def test_admits_exactly_the_limit_at_once(count: int) -> None:
    assert sum(admit(Limit(count, 60), [5] * (count + 50))) == count


@pytest.mark.parametrize("cost", [1, 3])
@pytest.mark.parametrize("limit", [Limit(7, 1), Limit(100, 60), Limit(13, 3600), Limit(100_000_000, 60)])
def test_c03_ten_thousand_random_arrivals_agree_with_the_reference(limit: Limit, cost: int) -> None:
    rng = random.Random(f"{limit}{cost}")
    mean_us = limit.period_s * 1e6 / limit.count * cost
    now_us = 1_700_000_000_000_000
    times_us = []
    for _ in range(10_000):
        now_us += int(rng.expovariate(1.3 / mean_us)) if rng.random() < 0.9 else 0
        times_us.append(now_us)
    outcomes = admit(limit, times_us, cost)
    assert outcomes == admit_by_reference(limit, times_us, cost)
    assert sum(outcomes) > 0


def test_retry_after_is_true_to_the_microsecond() -> None:
    limit = Limit(7, 60)
    stored = None
    for _ in range(7):
        _, stored = check(limit, stored, 1000)
    refused, stored = check(limit, stored, 1000)
    assert not refused.allowed
    retry_us = round(refused.retry_after_s * 1e6)
    assert not check(limit, stored, 1000 + retry_us - 1)[0].allowed
    assert check(limit, stored, 1000 + retry_us)[0].allowed


def test_refusal_costs_nothing() -> None:
    limit = Limit(2, 60)
    _, stored = check(limit, None, 0, cost=2)
    before = stored
    _, stored = check(limit, stored, 0)
    assert stored == before


def test_remaining_and_reset_follow_the_budget() -> None:
    limit = Limit(60, 60)
    verdict, stored = check(limit, None, 0, cost=10)
    assert (verdict.remaining, verdict.reset_s) == (50, 10.0)
    verdict, _ = check(limit, stored, 5_000_000)
    assert (verdict.remaining, verdict.reset_s) == (54, 6.0)


def test_several_limits_are_charged_all_or_none() -> None:
    limits = (Limit(100, 60), Limit(2, 1))
    stored: list[Arrival | None] = [None, None]
    for _ in range(2):
        verdict, stored = check_all(limits, stored, 0)
        assert verdict.allowed
    before = list(stored)
    verdict, stored = check_all(limits, stored, 0)
    assert not verdict.allowed
    assert verdict.limit == Limit(2, 1)
    assert stored == before


def test_verdict_of_several_limits_is_that_of_the_tightest() -> None:
    verdict, _ = check_all((Limit(100, 60), Limit(5, 1)), [None, None], 0)
    assert (verdict.limit, verdict.remaining) == (Limit(5, 1), 4)


def test_a_full_period_of_rest_restores_the_whole_burst() -> None:
    assert sum(admit(Limit(10, 60), [0] * 10 + [MINUTE_US] * 11)) == 20
