"""Sessions and limits in a real Redis, shared by several clients as by several workers."""

import asyncio
import json
import random
from collections.abc import AsyncIterator

import pytest

from mock_server.core.gcra import Arrival, check_all
from mock_server.core.limits import Limit
from mock_server.errors import SessionNotFoundError, StorageUnavailableError
from mock_server.state.address import parse_address
from mock_server.state.coalescer import Coalescer
from mock_server.state.limiter import RedisLimiter
from mock_server.state.redis_sessions import RedisSessions
from mock_server.state.sessions import Message, Turn, create_session
from tests.integration.mock.conftest import RedisServer

NOW = "2026-01-01T00:00:00.000000Z"


@pytest.fixture
async def clients(redis_server: RedisServer) -> AsyncIterator[list[Coalescer]]:
    made = [Coalescer(parse_address(redis_server.url()), max_in_flight=100) for _ in range(4)]
    yield made
    for client in made:
        await client.close()


def build_turn(text: str) -> Turn:
    return Turn(Message("user", text), 1, Message("assistant", "answer"), 2)


async def test_four_writers_on_one_session_lose_no_turn(clients: list[Coalescer], redis_server: RedisServer) -> None:
    stores = [RedisSessions(client, "p:", ttl_s=100, max_messages=1000) for client in clients]
    created = 0

    async def write(store: RedisSessions, writer: int) -> None:
        nonlocal created
        for number in range(25):
            seen = await store.load("s") or create_session("gpt-4", None, NOW)
            saved = await store.append("s", seen, build_turn(f"{writer}-{number}"), NOW)
            created += saved.is_new

    await asyncio.gather(*(write(store, writer) for writer, store in enumerate(stores)))
    stored = json.loads(redis_server.client().get("p:s") or b"")
    asked = [message["content"] for message in stored["messages"] if message["role"] == "user"]
    assert sorted(asked) == sorted(f"{writer}-{number}" for writer in range(4) for number in range(25))
    for writer in range(4):
        own = [text for text in asked if text.startswith(f"{writer}-")]
        assert own == [f"{writer}-{number}" for number in range(25)]
    assert stored["version"] == 100
    assert created == 1
    assert set(stored) >= {"messages", "model", "created_at", "updated_at", "version"}


async def test_saving_renews_the_time_to_live_and_counts_the_session(
    clients: list[Coalescer], redis_server: RedisServer
) -> None:
    store = RedisSessions(clients[0], "p", ttl_s=50, max_messages=10)
    for name in ("a", "b"):
        await store.append(name, create_session("gpt-4", None, NOW), build_turn("x"), NOW)
    assert 49 <= redis_server.client().ttl("p:a") <= 50
    assert await store.count() == 2
    # What expired leaves the count.
    redis_server.client().zadd("p:{index}", {"a": 1.0})
    assert await store.count() == 1


async def test_two_keys_that_begin_one_session_at_once_do_not_share_it(
    clients: list[Coalescer], redis_server: RedisServer
) -> None:
    stores = [RedisSessions(client, "p", ttl_s=50, max_messages=10) for client in clients]
    seen = [create_session("gpt-4", owner, NOW) for owner in ("one", "two")]
    await stores[0].append("a", seen[0], build_turn("mine"), NOW)
    with pytest.raises(SessionNotFoundError):
        await stores[1].append("a", seen[1], build_turn("theirs"), NOW)
    stored = json.loads(redis_server.client().get("p:a") or b"")
    assert (stored["owner"], len(stored["messages"])) == ("one", 2)


async def test_session_gone_between_load_and_save_is_made_anew_with_its_turns(
    clients: list[Coalescer], redis_server: RedisServer
) -> None:
    store = RedisSessions(clients[0], "p", ttl_s=50, max_messages=10)
    await store.append("a", create_session("gpt-4", None, NOW), build_turn("one"), NOW)
    seen = await store.load("a")
    assert seen is not None
    redis_server.client().delete("p:a")
    await store.append("a", seen, build_turn("two"), NOW)
    stored = await store.load("a")
    assert stored is not None
    assert len(json.loads(bytes(stored.messages))) == 4


@pytest.mark.parametrize("stored", [b"{}", b"null", b"", b"\xff", b"[" * 5000, b'{"version":1}'])
async def test_unreadable_sessions_are_said_to_be_so_and_kept(
    clients: list[Coalescer], redis_server: RedisServer, stored: bytes
) -> None:
    store = RedisSessions(clients[0], "p", ttl_s=50, max_messages=10)
    redis_server.client().set("p:a", stored)
    with pytest.raises(StorageUnavailableError, match="cannot be read"):
        await store.load("a")
    assert redis_server.client().get("p:a") == stored


async def test_messages_that_are_no_list_are_not_appended_to(
    clients: list[Coalescer], redis_server: RedisServer
) -> None:
    store = RedisSessions(clients[0], "p", ttl_s=50, max_messages=10)
    await store.append("a", create_session("gpt-4", None, NOW), build_turn("one"), NOW)
    whole = json.loads(redis_server.client().get("p:a") or b"")
    redis_server.client().set("p:a", json.dumps(whole | {"messages": {"no": "list"}}))
    with pytest.raises(StorageUnavailableError, match="cannot be read"):
        await store.load("a")


async def test_script_does_the_arithmetic_of_the_core(clients: list[Coalescer], redis_server: RedisServer) -> None:
    """The script runs on the clock of Redis, so what it stored tells the time it saw; the core must say the same."""
    limits = (Limit(7, 1), Limit(90, 60), Limit(1000, 3600))
    limiter, rng, redis = RedisLimiter(clients[0], "r"), random.Random(5), redis_server.client()
    keys = [f"r:me:{limit.count}:{limit.period_s}" for limit in limits]
    stored: list[Arrival | None] = [None, None, None]
    differences = refused = 0
    for _ in range(300):
        cost = rng.choice([1, 1, 1, 2])
        before_us = _time_us(redis.time())
        verdict = await limiter.check("me", limits, cost)
        after_us = _time_us(redis.time())
        texts = redis.mget(keys)
        found = [Arrival(*map(int, text.decode().split(":"))) if text else None for text in texts]  # type: ignore[union-attr]
        if verdict.allowed:
            matches = [us for us in range(before_us, after_us + 1) if check_all(limits, stored, us, cost)[1] == found]
            differences += not matches
        else:
            refused += 1
            kept = [new for new, old in zip(found, stored, strict=True) if new is not None and new != old]
            differences += bool(kept) or check_all(limits, stored, before_us, cost)[0].allowed
        stored = found
        await asyncio.sleep(rng.random() * 0.01)
    assert differences == 0
    assert 0 < refused < 300


async def test_what_remains_is_exact_where_products_leave_the_whole_numbers_of_lua(clients: list[Coalescer]) -> None:
    limiter, limit = RedisLimiter(clients[0], "r"), Limit(999_999_937, 86_400)
    for number in range(1, 200):
        verdict = await limiter.check(str(number), (limit,), cost=number)
        assert verdict.remaining == limit.count - number


def _time_us(parts: object) -> int:
    seconds, micros = parts  # type: ignore[misc]
    return int(seconds) * 1_000_000 + int(micros)  # type: ignore[has-type]


async def test_a_session_asked_for_ahead_and_changed_meanwhile_loses_no_turn(
    clients: list[Coalescer], redis_server: RedisServer
) -> None:
    mine, theirs = (RedisSessions(client, "p:", ttl_s=100, max_messages=100) for client in clients[:2])
    ahead = mine.ask("s")
    await ahead
    await theirs.append("s", create_session("gpt-4", None, NOW), build_turn("theirs"), NOW)
    assert await mine.load("s", ahead) is None, "what was asked for before"
    await mine.append("s", create_session("gpt-4", None, NOW), build_turn("mine"), NOW)
    stored = json.loads(redis_server.client().get("p:s") or b"")
    assert [message["content"] for message in stored["messages"][::2]] == ["theirs", "mine"]
