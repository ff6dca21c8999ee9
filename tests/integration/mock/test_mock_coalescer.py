"""The Redis client against a real server: pipelining, cancellation, loss and return."""

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest

from mock_server.errors import StorageSaturatedError, StorageUnavailableError
from mock_server.state import coalescer as module
from mock_server.state.address import parse_address
from mock_server.state.coalescer import Coalescer
from mock_server.state.script import Script
from tests.integration.mock.conftest import RedisServer


@pytest.fixture
async def client(redis_server: RedisServer) -> AsyncIterator[Coalescer]:
    coalescer = Coalescer(parse_address(redis_server.url()), max_in_flight=100)
    yield coalescer
    await coalescer.close()


async def test_two_thousand_cancelled_gets_give_no_wrong_reply(redis_server: RedisServer) -> None:
    client = Coalescer(parse_address(redis_server.url()), max_in_flight=3000)
    await asyncio.gather(*(client.execute("SET", f"k{number}", number) for number in range(4000)))
    calls = [client.execute("GET", f"k{number}") for number in range(4000)]
    # One tick: three thousand are on the wire and a thousand still wait when half of each is cancelled.
    await asyncio.sleep(0)
    assert client.in_flight == 3000
    for call in calls[1::2]:
        assert call.cancel()
    assert [int(await call) for call in calls[::2]] == list(range(0, 4000, 2))
    assert await client.execute("GET", "k7") == b"7"
    await client.close()


async def test_one_tick_is_one_pipeline_within_the_places_there_are(redis_server: RedisServer) -> None:
    client = Coalescer(parse_address(redis_server.url()), max_in_flight=7)
    replies = await asyncio.gather(*(client.execute("INCR", "n") for _ in range(500)))
    assert replies == list(range(1, 501))
    assert client.in_flight == 0
    await client.close()


async def test_database_of_the_url_is_the_one_used(redis_server: RedisServer) -> None:
    client = Coalescer(parse_address(redis_server.url(3)), max_in_flight=7)
    await client.execute("SET", "here", 1)
    await client.close()
    assert redis_server.client(3).get("here") == b"1"
    assert redis_server.client(0).get("here") is None


async def test_full_queue_is_saturation_not_absence(client: Coalescer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 10)
    results = await asyncio.gather(*(client.execute("PING") for _ in range(12)), return_exceptions=True)
    assert [type(result) for result in results[10:]] == [StorageSaturatedError] * 2
    assert results[:10] == [b"PONG"] * 10


async def test_frozen_server_fails_calls_and_returns_by_itself(client: Coalescer, redis_server: RedisServer) -> None:
    await client.execute("SET", "k", "v")
    redis_server.signal(signal.SIGSTOP)
    for _ in range(3):
        with pytest.raises(StorageUnavailableError):
            await client.execute("GET", "k")
    redis_server.signal(signal.SIGCONT)
    async with asyncio.timeout(5):
        while not await client.is_reachable():
            await asyncio.sleep(0.02)
    assert await client.execute("GET", "k") == b"v"


async def test_killed_server_fails_calls_and_a_new_one_is_found(client: Coalescer, redis_server: RedisServer) -> None:
    await client.execute("SET", "k", "v")
    redis_server.stop()
    async with asyncio.timeout(2):
        results = await asyncio.gather(*(client.execute("GET", "k") for _ in range(50)), return_exceptions=True)
    assert {type(result) for result in results} == {StorageUnavailableError}
    redis_server.start()
    assert await client.execute("SET", "k", "w") == b"OK"


async def test_flushed_scripts_are_sent_again_and_run_once_for_each_call(
    client: Coalescer, redis_server: RedisServer
) -> None:
    script = Script("return redis.call('INCR', KEYS[1])")
    total = 0
    for _ in range(20):
        replies = await asyncio.gather(*(script.run(client, 1, "n") for _ in range(50)))
        total += len(replies)
        redis_server.client().script_flush()
    assert await client.execute("GET", "n") == str(total).encode()


async def test_wrong_password_is_told_without_showing_it(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    redis_server.client().config_set("requirepass", "right-canary")
    client = Coalescer(parse_address(redis_server.url().replace("//", "//:wrong-canary@")), max_in_flight=7)
    assert not await client.is_reachable()
    assert not await client.is_reachable()
    assert len(caplog.records) == 1
    assert "canary" not in caplog.text
    await client.close()
