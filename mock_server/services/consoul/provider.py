"""The simulated provider: takes the time its profile says, fails as often as it is told, through a bounded pool."""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec

from mock_server.core.faults import FailureKind, Fault, draw_fault
from mock_server.core.latency import Draw, LatencyProfile, ProfileName, draw
from mock_server.core.text import build_answer
from mock_server.errors import (
    ProviderFailedError,
    ProviderRateLimitedError,
    ProviderSaturatedError,
    ProviderTimeoutError,
)

_RETRY_AFTER_S = 1.0
Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """`failure_ratio` of calls fail in the way `failure_kind` says; `latency` is that of `profile`.

    `capacity` is answers a second of all workers together, given in batches of at most `batch_size`; 0 is no bound.
    """

    latency: LatencyProfile
    timeout_s: float
    failure_ratio: float = 0.0
    failure_kind: FailureKind = "error"
    capacity: float = 0.0
    batch_size: int = 8
    profile: ProfileName = "custom"
    custom: LatencyProfile | None = None


class Completion(msgspec.Struct, frozen=True, gc=False):
    """A provider's whole answer."""

    text: str
    tokens: int


class ProviderPool:
    """Places for calls to providers, shared by all of them; a call waits for one as for a connection."""

    def __init__(self, maximum: int):
        self.maximum = maximum
        self._queue: deque[asyncio.Future[None]] = deque()
        self.in_use = 0

    async def enter(self, timeout_s: float) -> None:
        """Takes a place; raises ProviderSaturatedError when none is free within `timeout_s`."""
        if self.in_use < self.maximum:
            self.in_use += 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(place)
        try:
            async with asyncio.timeout(timeout_s):
                await place
        except BaseException as error:
            if place.done() and not place.cancelled():
                self.leave()
            if isinstance(error, TimeoutError):
                raise ProviderSaturatedError(retry_after_s=_RETRY_AFTER_S) from None
            raise

    def leave(self) -> None:
        """Hands the place to the call that waits longest, else frees it."""
        while self._queue:
            place = self._queue.popleft()
            if not place.done():
                place.set_result(None)
                return
        self.in_use -= 1


class SimulatedProvider:
    """One provider. Latencies and failures come from generators of their own, so one does not move the other."""

    def __init__(
        self,
        config: ProviderConfig,
        pool: ProviderPool,
        latencies: random.Random,
        faults: random.Random,
        sleep: Sleep,
    ):
        self.config = config
        self._pool = pool
        self._latencies = latencies
        self._faults = faults
        self._sleep = sleep

    def configure(self, config: ProviderConfig) -> None:
        """Sets what later calls are given; calls under way keep their plan."""
        self.config = config

    async def complete(self) -> Completion:
        """Returns an answer after its drawn duration. Raises ProviderFailedError or one of its kinds."""
        config = self.config
        plan = draw(config.latency, self._latencies)
        fault = draw_fault(config.failure_ratio, config.failure_kind, plan.tokens, self._faults)
        await self._pool.enter(config.timeout_s)
        try:
            if fault is not None:
                await self._fail(fault, plan, config.timeout_s)
            if plan.total_s > config.timeout_s:
                await self._sleep(config.timeout_s)
                raise ProviderTimeoutError(retry_after_s=_RETRY_AFTER_S)
            if plan.total_s > 0:
                await self._sleep(plan.total_s)
        finally:
            self._pool.leave()
        return Completion(build_answer(plan.tokens, plan.tokens), plan.tokens)

    async def _fail(self, fault: Fault, plan: Draw, timeout_s: float) -> None:
        if fault.kind == "rate_limited":
            raise ProviderRateLimitedError(retry_after_s=_RETRY_AFTER_S, fault=fault.name)
        if fault.kind == "timeout":
            await self._sleep(timeout_s)
            raise ProviderTimeoutError(retry_after_s=_RETRY_AFTER_S, fault=fault.name)
        await self._sleep(plan.first_token_s)
        raise ProviderFailedError(retry_after_s=_RETRY_AFTER_S, fault=fault.name)
