"""The Redis client against a real server: pipelining, cancellation, loss and return."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator

import pytest

from mock_server.core.outage import Outage
from mock_server.errors import StorageSaturatedError, StorageUnavailableError
from mock_server.state import coalescer as module
from mock_server.state.address import parse_address
from mock_server.state.coalescer import Coalescer
from mock_server.state.link import AwayError
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


async def test_a03_five_calls_in_time_out_are_an_outage_and_no_call_waits_after(
    client: Coalescer, redis_server: RedisServer
) -> None:
    told: list[bool] = []
    client.on_away = lambda: told.append(True)
    await client.execute("SET", "k", "v")
    redis_server.signal(signal.SIGSTOP)
    async with asyncio.timeout(2):
        for count, was_away in ((4, False), (1, False)):
            assert client.outage.is_away is was_away
            calls = [client.execute("GET", "k") for _ in range(count)]
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert {type(result) for result in results} == {AwayError}
    assert told == [True], "away after the fifth"
    started_s = asyncio.get_running_loop().time()
    for _ in range(100):
        with pytest.raises(AwayError) as caught:
            await client.execute("GET", "k")
        assert not caught.value.was_sent
    assert asyncio.get_running_loop().time() - started_s < 0.2
    with pytest.raises(StorageUnavailableError):
        await client.probe()
    redis_server.signal(signal.SIGCONT)
    async with asyncio.timeout(5):
        while client.outage.is_away:
            with contextlib.suppress(StorageUnavailableError):
                await client.probe()
                client.outage.end()
    assert await client.execute("GET", "k") == b"v"


async def test_a11_a_server_that_refuses_writes_is_away_however_many_reads_succeed(
    client: Coalescer, redis_server: RedisServer
) -> None:
    await asyncio.to_thread(redis_server.client().replicaof, "127.0.0.1", "1")
    for _ in range(5):
        assert not client.outage.is_away
        assert await client.execute("GET", "k") is None
        with pytest.raises(AwayError):
            await client.execute("SET", "k", "v")
    assert client.outage.is_away
    with pytest.raises(StorageUnavailableError):
        await client.probe()


async def test_an_answer_makes_up_for_failures_before_it(client: Coalescer, redis_server: RedisServer) -> None:
    for _ in range(2):
        await asyncio.to_thread(redis_server.stop)
        for _ in range(4):
            with pytest.raises(AwayError):
                await client.execute("GET", "k")
        await asyncio.to_thread(redis_server.start)
        assert await client.execute("GET", "k") is None
        assert (client.outage.failures, client.outage.is_away) == (0, False)


async def test_killed_server_fails_calls_and_a_new_one_is_found(client: Coalescer, redis_server: RedisServer) -> None:
    await client.execute("SET", "k", "v")
    redis_server.stop()
    async with asyncio.timeout(2):
        results = await asyncio.gather(*(client.execute("GET", "k") for _ in range(50)), return_exceptions=True)
    assert {type(result) for result in results} == {AwayError}
    assert client.outage.failures == 1, "fifty calls, one connection"
    redis_server.start()
    assert await client.execute("SET", "k", "w") == b"OK"


async def test_a_connection_that_went_stale_while_idle_is_reopened_and_nobody_notices(
    client: Coalescer, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    await client.execute("SET", "k", "v")
    for _ in range(20):
        await asyncio.to_thread(redis_server.client().client_kill_filter, _type="normal", skipme=True)
        assert await client.execute("SET", "k", "v") == b"OK"
    await asyncio.to_thread(redis_server.stop)
    await asyncio.to_thread(redis_server.start)
    assert await client.execute("SET", "k", "v") == b"OK"
    assert not caplog.records


class Stranger(asyncio.Protocol):
    """Answers PING, and then what the test says it does."""

    pongs = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        type(self).pongs += 1
        self.transport.write(b"+PONG\r\n")  # type: ignore[attr-defined]
        self.transport.close()


async def test_server_that_hangs_up_after_the_handshake_leaves_nobody_waiting() -> None:
    server = await asyncio.get_running_loop().create_server(Stranger, "127.0.0.1", 0)
    address = parse_address(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    client = Coalescer(address, max_in_flight=7, outage=Outage(threshold=1000))
    async with server, asyncio.timeout(5):
        for _ in range(20):
            with pytest.raises(StorageUnavailableError):
                await client.execute("GET", "k")
        await client.close()
    assert Stranger.pongs >= 20


@pytest.mark.parametrize("nonsense", [b"-NOSCRIPT what script?\r\n", b"-\xff\xfe\r\n", b"*-5\r\n"])
async def test_server_that_answers_the_handshake_with_nonsense_leaves_nobody_waiting(nonsense: bytes) -> None:
    class Babbler(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(nonsense)  # type: ignore[attr-defined]
            self.transport.close()

    server = await asyncio.get_running_loop().create_server(Babbler, "127.0.0.1", 0)
    address = parse_address(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    client = Coalescer(address, max_in_flight=7)
    async with server, asyncio.timeout(5):
        with pytest.raises(StorageUnavailableError):
            await client.execute("GET", "k")
        await client.close()


@pytest.mark.parametrize("url", ["redis://a..b:6379", "redis://127.0.0.1:1", "unix:///nowhere/redis.sock"])
async def test_address_that_leads_nowhere_fails_calls_at_once(url: str) -> None:
    client = Coalescer(parse_address(url), max_in_flight=7)
    async with asyncio.timeout(2):
        with pytest.raises(StorageUnavailableError):
            await client.execute("GET", "k")
        await client.close()


async def test_slow_server_makes_calls_that_wait_for_their_turn_saturated(redis_server: RedisServer) -> None:
    client = Coalescer(parse_address(redis_server.url()), max_in_flight=1, timeout_s=0.5)
    assert await client.is_reachable()
    nap = (
        "local t = redis.call('TIME')[2] + 0 local n repeat n = (redis.call('TIME')[2] - t) % 1000000 until n > 60000"
    )
    calls = [client.execute("EVAL", nap, 0) for _ in range(40)]
    async with asyncio.timeout(2):
        results = await asyncio.gather(*calls, return_exceptions=True)
    kinds = [type(result) for result in results]
    assert kinds[0] is type(None)
    assert kinds[-1] is StorageSaturatedError
    assert set(kinds) == {type(None), StorageSaturatedError}
    assert await client.is_reachable(), "Redis answers all the while"
    await client.close()


async def test_refused_commands_are_told_once_a_second_without_their_arguments(
    client: Coalescer, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(50):
        with pytest.raises(StorageUnavailableError):
            await client.execute("NOSUCH", "canary")
    assert "(ERR)" in caplog.records[0].message
    assert len(caplog.records) <= 2
    assert "canary" not in caplog.text


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
    (record,) = caplog.records
    assert "(WRONGPASS)" in record.message
    assert "canary" not in caplog.text
    await client.close()
