"""Rows F5 and F6: dead sessions go, in as many cycles as there are batches, and no live one ever does."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from mock_server.core.clock import Clock
from mock_server.errors import StorageUnavailableError, format_time
from mock_server.metrics import StorageMetrics
from mock_server.state.address import parse_address
from mock_server.state.coalescer import Coalescer
from mock_server.state.collection import SessionCollector
from mock_server.state.redis_sessions import RedisSessions
from mock_server.state.sessions import create_session
from tests.integration.mock.conftest import RedisServer
from tests.integration.mock.test_mock_collection import TTL_S, TURN, build_dead
from tests.reliability.conftest import Measure

DEAD = 10_000
BATCH = 100
STALL_S = 0.010
SCHEDULES = 10_000
AT_ONCE = 100


@pytest.fixture
async def client(redis_server: RedisServer) -> AsyncIterator[Coalescer]:
    made = Coalescer(parse_address(redis_server.url()), max_in_flight=1000)
    yield made
    await made.close()


def create_collector(redis: Coalescer, prefix: str, batch_size: int) -> SessionCollector:
    clock, metrics = Clock(time.monotonic, time.time), StorageMetrics(CollectorRegistry())
    return SessionCollector(redis, prefix, TTL_S, 3600.0, batch_size, clock, metrics)


class StallMeter:
    """Runs in every turn of the event loop; keeps the longest turn, in wall and in this thread's processor time."""

    def __init__(self) -> None:
        self.wall_s = self.cpu_s = 0.0

    async def run(self) -> None:
        while True:
            wall_s, cpu_s = time.monotonic(), time.thread_time()
            await asyncio.sleep(0)
            self.wall_s = max(self.wall_s, time.monotonic() - wall_s)
            self.cpu_s = max(self.cpu_s, time.thread_time() - cpu_s)


async def test_f05_ten_thousand_dead_sessions(client: Coalescer, redis_server: RedisServer, measure: Measure) -> None:
    redis = redis_server.client()
    redis.mset({f"p:dead-{number}": build_dead() for number in range(DEAD)})
    for number in range(1000):
        redis.set(f"p:live-{number}", build_dead(age_s=1), ex=TTL_S)
    redis.config_set("slowlog-log-slower-than", 10_000)
    redis.config_resetstat()
    collector = create_collector(client, "p", BATCH)
    await collector.collect()
    meter = StallMeter()
    watching = asyncio.create_task(meter.run())
    cycles, deleted = 1, BATCH
    while taken := await collector.collect():
        cycles += 1
        deleted += taken
    watching.cancel()
    measure(
        f"gone in exactly {DEAD // BATCH} cycles, loop stall <= 10 ms",
        f"{deleted} in {cycles} cycles, longest turn {meter.cpu_s * 1000:.1f} ms of processor time"
        f" ({meter.wall_s * 1000:.1f} ms by the wall), {redis.slowlog_len()} commands over 10 ms",
    )
    assert (deleted, cycles) == (DEAD, DEAD // BATCH)
    assert len(redis.keys("p:live-*")) == 1000
    # By the wall it also measures who else wants this processor.
    assert meter.cpu_s <= STALL_S
    assert meter.wall_s < 1.0


class Schedule:
    """One session, a collector, and others who use, alter or delete the session between the collector's commands."""

    def __init__(self, number: int, redis: Coalescer, rng: random.Random):
        self.key = f"f{number}:s"
        self._kind, self._has_ttl = "gone", False
        self.outage = redis.outage
        self.live_lost = self.deleted = self.kept = 0
        self._redis = redis
        self._rng = rng
        self._store = RedisSessions(redis, f"f{number}", TTL_S, 50)
        self._collector = create_collector(cast(Coalescer, self), f"f{number}", BATCH)
        self._acts: list[Callable[[], Awaitable[None]]] = [
            self._use, self._use, self._persist, self._expire,
            self._write_old, self._write_young, self._corrupt, self._retype,
        ]  # fmt: skip

    @property
    def must_live(self) -> bool:
        """Whether the session can be read, and will expire or is not old enough to have."""
        return self._kind == "young" or (self._kind == "old" and self._has_ttl)

    async def run(self) -> None:
        await self._act()
        for _ in range(self._rng.randint(1, 2)):
            await self._collector.collect()
        await self._redis.execute("DEL", self.key, self.key[:-1] + "{index}")

    async def execute(self, *parts: Any) -> Any:
        """Stands between the collector and Redis: any of the acts may come before any of its commands."""
        while self._rng.random() < 0.35:
            await self._act()
        reply = await self._redis.execute(*parts)
        # The only script of the collector with two keys is the one that deletes.
        if parts[0] in ("EVALSHA", "EVAL") and parts[2] == 2:
            self.deleted += reply
            self.kept += 1 - reply
            self.live_lost += reply and self.must_live
            if reply:
                self._kind = "gone"
        return reply

    async def _act(self) -> None:
        await self._rng.choice(self._acts)()

    async def _use(self) -> None:
        now = format_time(time.time())
        try:
            seen = await self._store.load("s") or create_session("gpt-4", None, now)
            await self._store.append("s", seen, TURN, now)
        except StorageUnavailableError:
            return
        self._kind, self._has_ttl = "young", True

    async def _persist(self) -> None:
        await self._redis.execute("PERSIST", self.key)
        self._has_ttl = False

    async def _expire(self) -> None:
        self._has_ttl = bool(await self._redis.execute("EXPIRE", self.key, TTL_S))

    async def _write_old(self) -> None:
        await self._redis.execute("SET", self.key, build_dead())
        self._kind, self._has_ttl = "old", False

    async def _write_young(self) -> None:
        await self._redis.execute("SET", self.key, build_dead(age_s=1))
        self._kind, self._has_ttl = "young", False

    async def _corrupt(self) -> None:
        await self._redis.execute("SET", self.key, self._rng.randbytes(20))
        self._kind, self._has_ttl = "unreadable", False

    async def _retype(self) -> None:
        await self._redis.execute("DEL", self.key)
        await self._redis.execute("RPUSH", self.key, "x")
        self._kind, self._has_ttl = "unreadable", False


@pytest.mark.slow
async def test_f06_collection_against_active_use(client: Coalescer, measure: Measure) -> None:
    numbers = iter(range(SCHEDULES))
    schedules: list[Schedule] = []

    async def work() -> None:
        for number in numbers:
            schedule = Schedule(number, client, random.Random(number))
            schedules.append(schedule)
            await schedule.run()

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    lost, deleted, kept = (
        sum(getattr(each, name) for each in schedules) for name in ("live_lost", "deleted", "kept")
    )
    measure(
        f"{SCHEDULES:,} random schedules: 0 live sessions deleted",
        f"{len(schedules):,} schedules, {deleted:,} dead deleted, "
        f"{kept:,} kept since they changed, {lost} live deleted",
    )
    assert len(schedules) == SCHEDULES
    assert lost == 0
    # Else nothing was tried.
    assert min(deleted, kept) > SCHEDULES / 20
