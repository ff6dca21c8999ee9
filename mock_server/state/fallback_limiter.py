"""Limits in Redis, and in memory while Redis does not answer: each worker then enforces its share of a limit."""

from mock_server.core.gcra import Verdict
from mock_server.core.limits import Limit
from mock_server.core.outage import Outage
from mock_server.state.limiter import Limiter, MemoryLimiter
from mock_server.state.link import AwayError


class FallbackLimiter:
    """Asks `redis` unless there is an outage, and decides in memory when a call fails.

    Of N a minute each of W workers then admits N/W, rounded down, and at least 1: together no more than N, unless
    there are more workers than units.
    """

    def __init__(self, redis: Limiter, memory: MemoryLimiter, outage: Outage, workers: int):
        self._redis = redis
        self._memory = memory
        self._outage = outage
        self._workers = workers
        self._shares: dict[tuple[Limit, ...], tuple[Limit, ...]] = {}

    async def check(self, identity: str, limits: tuple[Limit, ...], cost: int = 1) -> Verdict:
        if not self._outage.is_away:
            try:
                return await self._redis.check(identity, limits, cost)
            except AwayError:
                # The charge may have been made; there it is made at most once, and here it is another account.
                pass
        verdict = await self._memory.check(identity, self._shares.get(limits) or self._share(limits), cost)
        return verdict._replace(is_degraded=True)

    def forget(self) -> None:
        """Drops what memory counted, so that nobody pays twice when Redis counts again."""
        self._memory.clear()

    def _share(self, limits: tuple[Limit, ...]) -> tuple[Limit, ...]:
        shares = tuple(Limit(max(1, limit.count // self._workers), limit.period_s) for limit in limits)
        self._shares[limits] = shares
        return shares
