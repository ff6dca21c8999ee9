import asyncio

import pytest

from mock_server.core.latency import LatencyProfile
from mock_server.core.randomness import create_stream
from mock_server.errors import (
    ProviderFailedError,
    ProviderRateLimitedError,
    ProviderSaturatedError,
    ProviderTimeoutError,
)
from mock_server.services.consoul.provider import ProviderConfig, ProviderPool, SimulatedProvider

PROFILE = LatencyProfile((1.0, 2.0), 0.5, (3, 9))


def create_provider(slept_s: list[float], pool: ProviderPool | None = None, **config: object) -> SimulatedProvider:
    async def sleep(seconds: float) -> None:
        slept_s.append(seconds)

    made = ProviderConfig(**{"latency": PROFILE, "timeout_s": 30.0, **config})  # type: ignore[arg-type]
    return SimulatedProvider(
        made, pool or ProviderPool(10), create_stream(1, "latency"), create_stream(1, "faults"), sleep
    )


@pytest.mark.parametrize(
    ("kind", "error", "fault"),
    [
        ("error", ProviderFailedError, b"provider-error"),
        ("timeout", ProviderTimeoutError, b"provider-timeout"),
        ("rate_limited", ProviderRateLimitedError, b"provider-rate-limited"),
    ],
)
async def test_injected_failures_say_so(kind: str, error: type[ProviderFailedError], fault: bytes) -> None:
    pool = ProviderPool(1)
    provider = create_provider([], pool, failure_ratio=1.0, failure_kind=kind)
    with pytest.raises(error) as caught:
        await provider.complete()
    assert (b"x-mock-fault", fault) in caught.value.headers
    assert caught.value.error_type == "injected"
    assert pool.in_use == 0


async def test_turning_failures_on_does_not_move_latencies() -> None:
    async def draw_latencies(ratio: float) -> list[float]:
        slept_s: list[float] = []
        provider = create_provider(slept_s, failure_ratio=ratio, failure_kind="rate_limited")
        for _ in range(50):
            await asyncio.gather(provider.complete(), return_exceptions=True)
        return slept_s

    healthy, faulty = await draw_latencies(0.0), await draw_latencies(0.3)
    assert 0 < len(faulty) < 50
    assert [seconds for seconds in healthy if seconds in faulty] == faulty


async def test_answer_has_the_tokens_it_counts() -> None:
    completion = await create_provider([]).complete()
    assert len(completion.text.split()) == completion.tokens


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
