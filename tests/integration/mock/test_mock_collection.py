"""Collection of dead sessions in a real Redis, by several workers of a real mock."""

import asyncio
import itertools
import json
import logging
import time
from collections.abc import AsyncIterator, Callable

import pytest
from prometheus_client import CollectorRegistry

from mock_server.core.clock import Clock
from mock_server.errors import format_time
from mock_server.metrics import StorageMetrics
from mock_server.state.address import parse_address
from mock_server.state.coalescer import Coalescer
from mock_server.state.collection import SessionCollector
from mock_server.state.redis_sessions import RedisSessions
from mock_server.state.sessions import Message, Turn, create_session
from tests.integration.mock.conftest import RedisServer, StartMock, wait_until

TTL_S = 100
TURN = Turn(Message("user", "a"), 1, Message("assistant", "b"), 2)
Create = Callable[..., SessionCollector]


def build_dead(age_s: float = 2 * TTL_S) -> bytes:
    then = format_time(time.time() - age_s)
    return json.dumps(
        {
            "version": 1,
            "created_at": then,
            "updated_at": then,
            "model": "gpt-4",
            "owner": None,
            "tokens": [1, 2],
            "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
        },
        separators=(",", ":"),
    ).encode()


def find_keys(server: RedisServer, pattern: str = "*") -> set[str]:
    return {key.decode() if isinstance(key, bytes) else key for key in server.client().keys(pattern)}


@pytest.fixture
async def client(redis_server: RedisServer) -> AsyncIterator[Coalescer]:
    made = Coalescer(parse_address(redis_server.url()), max_in_flight=100)
    yield made
    await made.close()


@pytest.fixture
def create(client: Coalescer) -> Create:
    def create(
        batch_size: int = 100, interval_s: float = 3600.0, spared: str = "", prefix: str = "p"
    ) -> SessionCollector:
        metrics = StorageMetrics(CollectorRegistry())
        clock = Clock(time.monotonic, time.time)
        return SessionCollector(client, prefix, TTL_S, interval_s, batch_size, clock, metrics, spared)

    return create


async def test_takes_the_dead_of_every_kind_and_leaves_what_lives_or_is_not_a_session(
    create: Create, client: Coalescer, redis_server: RedisServer
) -> None:
    redis = redis_server.client()
    store = RedisSessions(client, "p", TTL_S, 50)
    await store.append("live", create_session("gpt-4", None, format_time(0)), TURN, format_time(0))
    redis.set("p:young", build_dead(age_s=1))
    dead = {"old": build_dead(), "empty": b"", "cut": build_dead(1)[:-5], "number": b"17"}
    for name, value in dead.items():
        redis.set(f"p:{name}", value)
    redis.set("p:odd-with-ttl", b"no json", ex=50)
    redis.rpush("p:list", "x")
    redis.zadd("p:{index}", {"old": time.time() + 50, "live": time.time() + 50})
    spared = {"p:no id!": b"", "p:{other}": b"", "q:old": build_dead(), "p": b""}
    redis.mset(spared)
    redis.set("p:limits:abc", b"123:4")
    collector = create(spared="p:limits")
    assert await collector.collect() == len(dead) + 2
    assert find_keys(redis_server) == {
        "p:live", "p:young", "p:{index}", "p:limits:abc", *spared,
    }  # fmt: skip
    assert redis.zrange("p:{index}", 0, -1) == [b"live"], "the index forgets what is gone"
    assert await collector.collect() == 0


async def test_a_cycle_stops_at_its_batch_and_the_next_goes_on(create: Create, redis_server: RedisServer) -> None:
    redis = redis_server.client()
    redis.mset({f"p:{number}": build_dead() for number in range(250)})
    redis.mset({f"q:{number}": b"" for number in range(2000)})
    collector = create(batch_size=40)
    assert [await collector.collect() for _ in range(8)] == [40, 40, 40, 40, 40, 40, 10, 0]
    redis.set("p:again", build_dead())
    assert await collector.collect() == 1


async def test_one_worker_collects_in_an_interval_and_any_may_in_the_next(
    create: Create, redis_server: RedisServer
) -> None:
    redis = redis_server.client()
    redis.mset({f"p:{number}": build_dead() for number in range(100)})
    collectors = [create(batch_size=10, interval_s=0.5) for _ in range(4)]
    async with asyncio.timeout(30):
        assert sum(await asyncio.gather(*(each.collect_in_turn() for each in collectors))) == 10
        assert redis.pttl("p:{collection}") <= 450
        while redis.exists("p:{collection}"):
            await asyncio.sleep(0.01)
        assert sum(await asyncio.gather(*(each.collect_in_turn() for each in collectors))) == 10


async def test_first_cycle_comes_after_one_interval_and_redis_away_is_told_once(
    create: Create, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "mock_server.state.collection")
    redis_server.client().set("p:old", build_dead())
    waits = itertools.count(1)

    async def sleep(seconds: float) -> None:
        number = next(waits)
        assert seconds == 3600.0
        if number == 1:
            assert redis_server.client().exists("p:old"), "nothing before the first interval is over"
        elif number == 2:
            assert not redis_server.client().exists("p:old")
            await asyncio.to_thread(redis_server.stop)
        elif number == 5:
            await asyncio.to_thread(redis_server.start)
            redis_server.client().set("p:old", build_dead())
        elif number == 6:
            assert not redis_server.client().exists("p:old")
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await create().run(sleep)
    told = [record for record in caplog.records if "not collected" in record.message]
    assert len(told) == 1


@pytest.mark.slow
def test_a_mock_of_two_workers_collects_a_batch_each_interval(
    start_mock: StartMock, redis_server: RedisServer
) -> None:
    redis = redis_server.client()
    redis.mset({f"consoul:session:{number}": build_dead(age_s=4000) for number in range(25)})
    mock = start_mock(
        REDIS_URL=redis_server.url(),
        CONSOUL_WORKERS="2",
        CONSOUL_SESSION_GC_INTERVAL="1",
        CONSOUL_SESSION_GC_BATCH_SIZE="10",
        CONSOUL_DEFAULT_LIMITS="100/hour",
    )
    assert mock.chat("live").status == 200
    started_s = time.monotonic()
    wait_until(lambda: mock.sample("consoul_session_gc_deleted_total") == 25, "the dead are gone")
    assert time.monotonic() - started_s > 1.0
    keys = find_keys(redis_server, "consoul:session:*")
    assert {"consoul:session:live", "consoul:session:{index}"} <= keys
    assert not keys & {f"consoul:session:{number}" for number in range(25)}
    assert len(redis.keys("consoul:ratelimit:*")) == 1
    assert mock.sample("consoul_session_gc_duration_seconds_count") >= 3
    mock.process.terminate()
    assert mock.process.wait(10) == 0
    assert "error" not in mock.log.read_text()
