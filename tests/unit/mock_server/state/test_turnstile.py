import asyncio
import contextlib
from collections.abc import AsyncIterator

from mock_server.state.turnstile import Turnstile


@contextlib.asynccontextmanager
async def hold(turnstile: Turnstile, key: str) -> AsyncIterator[None]:
    await turnstile.acquire(key)
    try:
        yield
    finally:
        turnstile.release(key)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_at_a_time_in_order_of_arrival() -> None:
    turnstile, order, inside = Turnstile(), [], 0

    async def pass_through(number: int) -> None:
        nonlocal inside
        async with hold(turnstile, "key"):
            inside += 1
            assert inside == 1
            await asyncio.sleep(0)
            order.append(number)
            inside -= 1

    await asyncio.gather(*(pass_through(number) for number in range(50)))
    assert order == list(range(50))


async def test_other_keys_do_not_wait() -> None:
    turnstile = Turnstile()
    async with hold(turnstile, "a"), asyncio.timeout(1), hold(turnstile, "b"):
        pass


async def test_cancelled_waits_leave_the_queue_intact() -> None:
    turnstile, done = Turnstile(), []

    async def pass_through(number: int) -> None:
        async with hold(turnstile, "key"):
            done.append(number)

    await turnstile.acquire("key")
    tasks = [asyncio.create_task(pass_through(number)) for number in range(4)]
    await settle()
    tasks[1].cancel()
    turnstile.release("key")
    # The first was just handed the key and is cancelled before it runs: it must hand it on.
    tasks[0].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert done == [2, 3]


async def test_keys_are_forgotten_when_nobody_holds_them() -> None:
    turnstile = Turnstile()
    for number in range(100):
        async with hold(turnstile, str(number)):
            pass
    assert not turnstile._queues


async def test_a_key_is_held_until_the_last_of_its_queue_left() -> None:
    turnstile = Turnstile()
    assert not turnstile.is_held("a")
    await turnstile.acquire("a")
    assert turnstile.is_held("a")
    assert not turnstile.is_held("b")
    turnstile.release("a")
    assert not turnstile.is_held("a")
