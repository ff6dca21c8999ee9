"""The simulated provider: takes the time its profile says, fails as often as it is told, through a bounded pool."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from mock_server.core.clock import Clock
from mock_server.core.course import Course, plan_course
from mock_server.core.faults import FailureKind, Fault, draw_fault
from mock_server.core.latency import Draw, LatencyProfile, ProfileName, draw
from mock_server.core.ledger import Entry, Ledger
from mock_server.core.pacing import count_due, due_s
from mock_server.core.text import build_answer, build_tokens
from mock_server.errors import (
    ProviderFailedError,
    ProviderRateLimitedError,
    ProviderTimeoutError,
    ProviderTruncatedError,
)
from mock_server.services.consoul.batches import Batches
from mock_server.services.consoul.metronome import SleepUntil
from mock_server.services.consoul.pool import ProviderPool

_RETRY_AFTER_S = 1.0
_ERRORS: dict[FailureKind, type[ProviderFailedError]] = {
    "error": ProviderFailedError,
    "timeout": ProviderTimeoutError,
    "rate_limited": ProviderRateLimitedError,
    "truncated": ProviderTruncatedError,
}

# Takes a run of tokens that are due at once; the stream goes on when it returns.
Emit = Callable[[Sequence[str]], Awaitable[None]]


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


class Call(Protocol):
    """What the ledger says of who called."""

    @property
    def request_id(self) -> str: ...
    @property
    def transport(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all providers of a worker share; `workers` share out each provider's capacity among them."""

    pool: ProviderPool
    clock: Clock
    sleep_until: SleepUntil
    workers: int = 1
    ledger: Ledger | None = None


class SimulatedProvider:
    """One provider. Latencies and failures come from generators of their own, so one does not move the other."""

    def __init__(
        self,
        name: str,
        config: ProviderConfig,
        surroundings: Surroundings,
        latencies: random.Random,
        faults: random.Random,
    ):
        self._name = name
        self._around = surroundings
        self._pool = surroundings.pool
        self._monotonic_s = surroundings.clock.monotonic_s
        self._sleep_until = surroundings.sleep_until
        self._latencies = latencies
        self._faults = faults
        self._batches = Batches(self._monotonic_s, self._sleep_until)
        self.configure(config)

    def configure(self, config: ProviderConfig) -> None:
        """Sets what later calls are given, and how fast those that wait are served; calls keep their plan."""
        self.config = config
        self._batches.configure(config.capacity / self._around.workers, config.batch_size)
        takes_time = config.latency.total_s[1] > 0 or self._batches.is_bounded
        self._is_immediate = not takes_time and self._around.ledger is None

    async def answer(self, call: Call, model: str, started_s: float, emit: Emit | None = None) -> Completion:
        """Returns an answer after its drawn duration; gives `emit` its tokens, if there is one, as they come.

        The time-out covers the waits and the answer. Raises ProviderFailedError or one of its kinds, and
        ProviderSaturatedError when no place in the pool became free.
        """
        config = self.config
        plan = draw(config.latency, self._latencies)
        fault = draw_fault(config.failure_ratio, config.failure_kind, plan.tokens, self._faults)
        if self._is_immediate and fault is None and emit is None and self._pool.in_use < self._pool.maximum:
            # The hot path: it would take its place in the pool and give it back within this line.
            return Completion(build_answer(plan.tokens, plan.tokens), plan.tokens)
        entry = None
        if self._around.ledger is not None:
            entry = self._record(self._around.ledger, call, model, plan, fault)
        try:
            if not self._pool.has_entered():
                await self._pool.enter(config.timeout_s)
            try:
                await self._go(plan, fault, started_s, config.timeout_s, emit, entry)
            finally:
                self._pool.leave()
        except BaseException as error:
            if entry is not None:
                entry.outcome = "failed" if isinstance(error, ProviderFailedError) else "cancelled"
                if entry.waited_s is None:
                    entry.waited_s = self._monotonic_s() - started_s
            raise
        if entry is not None:
            if emit is None:
                entry.sent_s.append(self._monotonic_s() - started_s, plan.tokens)
            entry.outcome = "completed"
        return Completion(build_answer(plan.tokens, plan.tokens), plan.tokens)

    async def _go(
        self,
        plan: Draw,
        fault: Fault | None,
        started_s: float,
        timeout_s: float,
        emit: Emit | None,
        entry: Entry | None,
    ) -> None:
        """Waits for the provider's capacity, then takes the course of the call."""
        if self._batches.is_bounded and (fault is None or fault.kind != "rate_limited"):
            await self._wait_for_capacity(started_s + timeout_s)
        begun_s = self._monotonic_s()
        if entry is not None:
            entry.waited_s = begun_s - started_s
        course = plan_course(plan, fault, started_s + timeout_s - begun_s)
        if emit is not None and course.tokens:
            await self._pace(plan, course.tokens, started_s, begun_s, emit, entry)
        if course.ends_s > 0 and (emit is None or course.failure is not None):
            await self._sleep_until(begun_s + course.ends_s)
        if course.failure is not None:
            raise _build_error(course, fault)

    async def _wait_for_capacity(self, deadline_s: float) -> None:
        try:
            async with asyncio.timeout(deadline_s - self._monotonic_s()):
                await self._batches.take()
        except TimeoutError:
            raise ProviderTimeoutError(retry_after_s=_RETRY_AFTER_S) from None

    async def _pace(
        self, plan: Draw, count: int, started_s: float, begun_s: float, emit: Emit, entry: Entry | None
    ) -> None:
        """Gives the first `count` tokens, each when it is due, however long `emit` took for the ones before."""
        tokens = build_tokens(plan.tokens, plan.tokens)
        sent = 0
        if plan.first_token_s > 0:
            await self._sleep_until(begun_s + plan.first_token_s)
        while True:
            now_s = self._monotonic_s()
            # A timer may fire a little early: the token it was set for is due.
            due = max(sent + 1, min(count, count_due(plan, now_s - begun_s)))
            if entry is not None:
                entry.sent_s.append(now_s - started_s, due - sent)
            await emit(tokens[sent:due])
            sent = due
            if sent == count:
                return
            await self._sleep_until(begun_s + due_s(plan, sent))

    def _record(self, ledger: Ledger, call: Call, model: str, plan: Draw, fault: Fault | None) -> Entry:
        entry = Entry(
            call.request_id,
            call.transport,
            self._name,
            model,
            self._around.clock.wall_s(),
            plan.first_token_s,
            plan.between_tokens_s,
            plan.tokens,
            None if fault is None else fault.name,
        )
        ledger.record(entry)
        return entry


def _build_error(course: Course, fault: Fault | None) -> ProviderFailedError:
    assert course.failure is not None
    name = fault.name if course.is_injected and fault is not None else None
    return _ERRORS[course.failure](retry_after_s=_RETRY_AFTER_S, fault=name)
