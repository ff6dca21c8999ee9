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
    """Outcome of one check; a refused check changes no state. Seconds are exact to a microsecond, rounded up.

    `is_degraded` says that memory decided while Redis was away.
    """

    allowed: bool
    limit: Limit
    remaining: int
    reset_s: float
    retry_after_s: float
    is_degraded: bool = False


def check(limit: Limit, stored: Arrival | None, now_us: int, cost: int = 1) -> tuple[Verdict, Arrival]:
    """Returns the verdict for `cost` units at `now_us`, and the arrival to store (unchanged when refused)."""
    period_us = limit.period_s * MICROSECONDS
    start = stored if stored is not None and stored.whole_us >= now_us else Arrival(now_us, 0)
    after = _advance(start, limit, cost)
    excess_us = after.whole_us - now_us - period_us
    if excess_us > 0 or (excess_us == 0 and after.part > 0):
        retry_us = excess_us + (after.part > 0)
        return build_verdict(False, limit, start.whole_us - now_us, start.part, retry_us), start
    return build_verdict(True, limit, after.whole_us - now_us, after.part), after


def build_verdict(allowed: bool, limit: Limit, ahead_us: int, part: int, retry_us: int = 0) -> Verdict:
    """Returns the verdict on a limit whose arrival lies `ahead_us` plus `part`/count microseconds ahead of now."""
    period_us = limit.period_s * MICROSECONDS
    remaining = max(0, ((period_us - ahead_us) * limit.count - part) // period_us)
    return Verdict(allowed, limit, remaining, (ahead_us + (part > 0)) / 1e6, retry_us / 1e6)


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
