"""Generic cell rate algorithm with burst = the limit, in whole numbers only, so that N means exactly N.

A limit of N per period has an emission interval of period/N. Times are microseconds held as a whole part and a
remainder counted in N-ths, which makes every sum exact. The script in `state/limiter.py` does the same arithmetic.
"""

from typing import NamedTuple

from mock_server.core.limits import Limit

MICROSECONDS = 1_000_000


class Arrival(NamedTuple):
    """Theoretical arrival time of the next unit: `whole_us` plus `part`/count microseconds."""

    whole_us: int
    part: int


class Verdict(NamedTuple):
    """Outcome of one check; a refused check changes no state. Seconds are exact to a microsecond, rounded up."""

    allowed: bool
    limit: Limit
    remaining: int
    reset_s: float
    retry_after_s: float


def check(limit: Limit, stored: Arrival | None, now_us: int, cost: int = 1) -> tuple[Verdict, Arrival]:
    """Returns the verdict for `cost` units at `now_us`, and the arrival to store (unchanged when refused)."""
    period_us = limit.period_s * MICROSECONDS
    start = stored if stored is not None and stored.whole_us >= now_us else Arrival(now_us, 0)
    after = _advance(start, limit, cost)
    excess_us = after.whole_us - now_us - period_us
    if excess_us > 0 or (excess_us == 0 and after.part > 0):
        retry_us = excess_us + (after.part > 0)
        return Verdict(False, limit, _remaining(start, limit, now_us), _seconds(start, now_us), retry_us / 1e6), start
    return Verdict(True, limit, _remaining(after, limit, now_us), _seconds(after, now_us), 0.0), after


def check_all(
    limits: tuple[Limit, ...], stored: list[Arrival | None], now_us: int, cost: int = 1
) -> tuple[Verdict, list[Arrival | None]]:
    """Checks several limits as one: charges all of them or none.

    Returns the verdict of the limit that refuses for longest, else of the one with least remaining.
    """
    results = [check(limit, arrival, now_us, cost) for limit, arrival in zip(limits, stored, strict=True)]
    refused = [verdict for verdict, _ in results if not verdict.allowed]
    if refused:
        return max(refused, key=lambda verdict: verdict.retry_after_s), stored
    tightest = min((verdict for verdict, _ in results), key=lambda verdict: verdict.remaining)
    return tightest, [arrival for _, arrival in results]


def _advance(start: Arrival, limit: Limit, cost: int) -> Arrival:
    whole, rest = divmod(limit.period_s * MICROSECONDS, limit.count)
    carry, part = divmod(start.part + cost * rest, limit.count)
    return Arrival(start.whole_us + cost * whole + carry, part)


def _remaining(arrival: Arrival, limit: Limit, now_us: int) -> int:
    period_us = limit.period_s * MICROSECONDS
    free_us = now_us + period_us - arrival.whole_us
    return max(0, (free_us * limit.count - arrival.part) // period_us)


def _seconds(arrival: Arrival, now_us: int) -> float:
    return max(0, arrival.whole_us + (arrival.part > 0) - now_us) / 1e6
