"""Limits that go on in memory: each worker's share, marked, and forgotten when Redis counts again."""

import pytest

from mock_server.core.gcra import Verdict
from mock_server.core.limits import Limit, parse_limits
from mock_server.core.outage import Outage
from mock_server.errors import StorageSaturatedError
from mock_server.state.fallback_limiter import FallbackLimiter
from mock_server.state.limiter import MemoryLimiter
from mock_server.state.link import AwayError


class Shared:
    """The limiter in Redis: counts what it was asked, fails as told."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.asked = 0

    async def check(self, identity: str, limits: tuple[Limit, ...], cost: int = 1) -> Verdict:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return Verdict(True, limits[0], 99, 0.0, 0.0)


class Rig:
    def __init__(self, workers: int):
        self.shared, self.outage = Shared(), Outage()
        self.limiter = FallbackLimiter(self.shared, MemoryLimiter(lambda: 100.0), self.outage, workers)

    async def admit(self, limits: str, times: int) -> int:
        verdicts = [await self.limiter.check("me", parse_limits(limits)) for _ in range(times)]
        assert {verdict.is_degraded for verdict in verdicts} == {True}
        return sum(verdict.allowed for verdict in verdicts)


async def test_redis_decides_while_it_answers() -> None:
    rig = Rig(workers=4)
    verdict = await rig.limiter.check("me", parse_limits("100/minute"))
    assert (verdict.is_degraded, verdict.remaining, verdict.limit) == (False, 99, Limit(100, 60))


@pytest.mark.parametrize(
    ("limits", "workers", "admitted"),
    [("100/minute", 4, 25), ("10/minute", 4, 2), ("3/minute", 4, 1), ("10/minute", 1, 10), ("9/hour;100/day", 2, 4)],
)
async def test_c09_each_worker_admits_its_share_during_an_outage(limits: str, workers: int, admitted: int) -> None:
    rig = Rig(workers)
    rig.outage.begin()
    assert await rig.admit(limits, 60) == admitted
    assert rig.shared.asked == 0


async def test_a_single_call_that_fails_is_decided_in_memory() -> None:
    rig = Rig(workers=1)
    rig.shared.error = AwayError()
    assert await rig.admit("10/minute", 1) == 1
    assert rig.shared.asked == 1


async def test_saturation_is_passed_on() -> None:
    rig = Rig(workers=1)
    rig.shared.error = StorageSaturatedError()
    with pytest.raises(StorageSaturatedError):
        await rig.limiter.check("me", parse_limits("10/minute"))


async def test_what_memory_counted_is_forgotten_when_redis_counts_again() -> None:
    rig = Rig(workers=1)
    rig.outage.begin()
    assert await rig.admit("10/minute", 20) == 10
    rig.limiter.forget()
    assert await rig.admit("10/minute", 20) == 10
