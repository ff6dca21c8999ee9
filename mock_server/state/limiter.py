"""Rate limits shared by all workers: one round trip, one atomic script, on the clock of Redis; or in memory."""

from collections.abc import Callable
from typing import Protocol

from mock_server.core.gcra import MICROSECONDS, Arrival, Verdict, build_verdict, check_all
from mock_server.core.limits import Limit
from mock_server.state.coalescer import Coalescer
from mock_server.state.link import ScriptMissingError
from mock_server.state.script import WritingScript

MAX_IDENTITIES_IN_MEMORY = 100_000

# The arithmetic of core/gcra.py. A stored value is "whole:part". All that decides stays below 2^53, where the numbers
# of Lua are exact. What is left of a limit may not: it only chooses the tightest, and the caller computes it anew.
_GCRA = WritingScript("""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local cost = tonumber(ARGV[1])
local refused, tightest, values = nil, nil, {}
local least = math.huge
for i = 1, #KEYS do
  local count, period = tonumber(ARGV[i * 2]), tonumber(ARGV[i * 2 + 1])
  local whole, part = now, 0
  local stored = redis.call('GET', KEYS[i])
  if stored then
    local at, rest = string.match(stored, '^(%d+):(%d+)$')
    if at and tonumber(at) >= now then whole, part = tonumber(at), tonumber(rest) end
  end
  local step = math.floor(period / count)
  local sum = part + cost * (period - step * count)
  local carry = math.floor(sum / count)
  local after, after_part = whole + cost * step + carry, sum - carry * count
  local excess = after - now - period
  if excess > 0 or (excess == 0 and after_part > 0) then
    if after_part > 0 then excess = excess + 1 end
    if not refused or excess > refused[5] then refused = {0, i, whole - now, part, excess} end
  else
    local left = ((period - (after - now)) * count - after_part) / period
    if left < least then least, tightest = left, {1, i, after - now, after_part, 0} end
    values[i] = {string.format('%.0f:%.0f', after, after_part), math.ceil((after - now) / 1000) + 1}
  end
end
if refused then return refused end
for i = 1, #KEYS do redis.call('SET', KEYS[i], values[i][1], 'PX', values[i][2]) end
return tightest
""")


class Limiter(Protocol):
    """Decides whether an identity may spend `cost` units: all its limits must agree, and all or none are charged."""

    async def check(self, identity: str, limits: tuple[Limit, ...], cost: int = 1) -> Verdict:
        """Returns the verdict; `identity` is a digest. Raises StorageUnavailableError."""


class RedisLimiter:
    """The limiter every worker and instance shares; no worker's clock takes part."""

    def __init__(self, redis: Coalescer, key_prefix: str):
        self._redis = redis
        self._prefix = key_prefix.removesuffix(":")
        self._calls: dict[tuple[Limit, ...], tuple[list[str], list[int]]] = {}

    async def check(self, identity: str, limits: tuple[Limit, ...], cost: int = 1) -> Verdict:
        endings, arguments = self._calls.get(limits) or self._prepare(limits)
        beginning = f"{self._prefix}:{identity}:"
        keys = [beginning + ending for ending in endings]
        try:
            # The same as `run`, without a coroutine of its own: it is asked for each request.
            reply = await _GCRA.call(self._redis, len(keys), *keys, cost, *arguments)
        except ScriptMissingError:
            reply = await _GCRA.run_whole(self._redis, len(keys), *keys, cost, *arguments)
        if self._redis.outage.refusals:
            _GCRA.confirm(self._redis)
        allowed, index, ahead_us, part, retry_us = reply
        return build_verdict(bool(allowed), limits[index - 1], ahead_us, part, retry_us)

    def _prepare(self, limits: tuple[Limit, ...]) -> tuple[list[str], list[int]]:
        endings = [f"{limit.count}:{limit.period_s}" for limit in limits]
        arguments = [number for limit in limits for number in (limit.count, limit.period_s * MICROSECONDS)]
        self._calls[limits] = endings, arguments
        return endings, arguments


class MemoryLimiter:
    """The same limits for one process; forgets the longest unused identities beyond a bound."""

    def __init__(self, monotonic_s: Callable[[], float]):
        self._monotonic_s = monotonic_s
        self._arrivals: dict[tuple[str, tuple[Limit, ...]], list[Arrival | None]] = {}

    async def check(self, identity: str, limits: tuple[Limit, ...], cost: int = 1) -> Verdict:
        key = (identity, limits)
        stored = self._arrivals.pop(key, None) or [None] * len(limits)
        verdict, self._arrivals[key] = check_all(limits, stored, int(self._monotonic_s() * 1e6), cost)
        if len(self._arrivals) > MAX_IDENTITIES_IN_MEMORY:
            del self._arrivals[next(iter(self._arrivals))]
        return verdict

    def clear(self) -> None:
        """Forgets everything it counted."""
        self._arrivals.clear()
