"""Places for calls to providers: handed on in order, and never lost."""

import asyncio

import pytest

from mock_server.errors import ProviderSaturatedError
from mock_server.services.consoul.pool import ProviderPool


async def test_pool_hands_places_on_in_order_and_counts_them() -> None:
    pool, order = ProviderPool(2), []

    async def call(number: int) -> None:
        await pool.enter(10.0)
        order.append(number)
        assert pool.in_use <= 2
        await asyncio.sleep(0)
        pool.leave()

    await asyncio.gather(*(call(number) for number in range(20)))
    assert order == list(range(20))
    assert pool.in_use == 0


async def test_full_pool_is_saturation_after_its_timeout() -> None:
    pool = ProviderPool(1)
    await pool.enter(10.0)
    with pytest.raises(ProviderSaturatedError):
        await pool.enter(0.0)
    pool.leave()
    assert pool.in_use == 0
    await pool.enter(0.0)


async def test_cancelled_wait_for_a_place_loses_none() -> None:
    pool = ProviderPool(1)
    await pool.enter(10.0)
    waiting = asyncio.create_task(pool.enter(10.0))
    await asyncio.sleep(0)
    # Handed the place and cancelled in the same tick.
    pool.leave()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert pool.in_use == 0
