"""The knee of a provider lies where the formula says: offered rates against served ones, in virtual time."""

import asyncio

import pytest

from mock_server.core.capacity import mean_wait_s, steady_step_s, step_s
from mock_server.services.consoul.batches import Batches
from tests.unit.mock_server.virtual_time import read_clock, run_virtually, sleep_until

CAPACITY, BATCH_SIZE = 100.0, 32


def create_batches(capacity: float = CAPACITY, batch_size: int = BATCH_SIZE) -> Batches:
    batches = Batches(read_clock, sleep_until)
    batches.configure(capacity, batch_size)
    return batches


def offer(rate: float, duration_s: float) -> tuple[list[tuple[float, float]], int]:
    """Returns (end, wait) of each call served while `rate` calls a second came, and how many still waited."""

    async def main() -> tuple[list[tuple[float, float]], int]:
        batches, served = create_batches(), []

        async def call() -> None:
            started_s = read_clock()
            await batches.take()
            served.append((read_clock(), read_clock() - started_s))

        calls = []
        for number in range(int(rate * duration_s)):
            await sleep_until(number / rate)
            calls.append(asyncio.create_task(call()))
        found, left = list(served), len(calls) - len(served)
        batches.configure(0, 1)
        await asyncio.gather(*calls)
        return found, left

    return run_virtually(main())


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
def test_below_the_knee_all_are_served_after_the_time_of_the_formula(share: float) -> None:
    rate, duration_s = share * CAPACITY, 120.0
    served, left = offer(rate, duration_s)
    steady = [wait_s for ended_s, wait_s in served if ended_s > duration_s / 2]
    assert left <= 2 * BATCH_SIZE
    assert sum(ended_s > duration_s / 2 for ended_s, _ in served) / (duration_s / 2) == pytest.approx(rate, rel=0.02)
    assert sum(steady) / len(steady) == pytest.approx(mean_wait_s(rate, CAPACITY, BATCH_SIZE), rel=0.05)


def test_beyond_the_knee_the_capacity_is_served_and_the_queue_grows_by_the_rest() -> None:
    rate = 1.1 * CAPACITY
    (served, left), (_, left_later) = offer(rate, 60.0), offer(rate, 120.0)
    assert sum(ended_s > 30 for ended_s, _ in served) / 30 == pytest.approx(CAPACITY, rel=0.02)
    assert (left_later - left) / 60 == pytest.approx(rate - CAPACITY, rel=0.05)


def test_the_knee_is_where_a_step_is_full() -> None:
    assert step_s(BATCH_SIZE, CAPACITY, BATCH_SIZE) == pytest.approx(BATCH_SIZE / CAPACITY)
    assert steady_step_s(CAPACITY, CAPACITY, BATCH_SIZE) == pytest.approx(BATCH_SIZE / CAPACITY)
    assert steady_step_s(2 * CAPACITY, CAPACITY, BATCH_SIZE) == pytest.approx(BATCH_SIZE / CAPACITY)
    for rate in (30.0, 60.0, 90.0):
        calls = rate * steady_step_s(rate, CAPACITY, BATCH_SIZE)
        assert step_s(calls, CAPACITY, BATCH_SIZE) == pytest.approx(calls / rate)  # type: ignore[arg-type]


def test_calls_are_served_in_order_a_batch_at_a_time() -> None:
    async def main() -> list[tuple[int, float]]:
        batches, served = create_batches(10.0, 2), []

        async def call(number: int) -> None:
            await batches.take()
            served.append((number, round(read_clock(), 6)))

        await asyncio.gather(*(call(number) for number in range(5)))
        return served

    assert run_virtually(main()) == [(0, 0.2), (1, 0.2), (2, 0.4), (3, 0.4), (4, 0.55)]


def test_a_step_noticed_late_moves_none_of_those_after_it() -> None:
    async def wake_late(deadline_s: float) -> None:
        await sleep_until(deadline_s + 0.3)

    async def main() -> float:
        batches = Batches(read_clock, wake_late)
        batches.configure(1.0, 1)
        await asyncio.gather(*(batches.take() for _ in range(5)))
        return read_clock()

    assert run_virtually(main()) == pytest.approx(5.3)


def test_cancelled_calls_leave_the_queue_and_take_no_place() -> None:
    async def main() -> float:
        batches = create_batches(1.0, 1)
        waiting = [asyncio.create_task(batches.take()) for _ in range(4)]
        await asyncio.sleep(0.5)
        for task in waiting[1:3]:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return read_clock()

    assert run_virtually(main()) == pytest.approx(2.0)


def test_capacity_changes_while_calls_wait() -> None:
    async def main() -> list[float]:
        batches, ends_s = create_batches(1.0, 1), []

        async def call() -> None:
            await batches.take()
            ends_s.append(round(read_clock(), 6))

        calls = [asyncio.create_task(call()) for _ in range(8)]
        await asyncio.sleep(1.5)
        # The step under way keeps its time; those that wait take the new at once.
        batches.configure(4.0, 2)
        await asyncio.sleep(1.2)
        batches.configure(0, 1)
        await asyncio.gather(*calls)
        return ends_s

    assert run_virtually(main()) == [1.0, 2.0, 2.0, 2.0, 2.5, 2.5, 3.0, 3.0]


@pytest.mark.parametrize("between", [0.0, 50.0])
def test_nobody_waits_for_the_step_of_a_capacity_that_was_almost_nothing(between: float) -> None:
    async def main() -> list[float]:
        batches, ends_s = create_batches(0.001, 1), []

        async def call() -> None:
            await batches.take()
            ends_s.append(round(read_clock(), 6))

        calls = [asyncio.create_task(call()) for _ in range(2)]
        await asyncio.sleep(1.0)
        batches.configure(between, 1)
        batches.configure(2.0, 1)
        await asyncio.gather(calls[1], call())
        await calls[0]
        return ends_s

    # The one being served keeps its thousand seconds.
    assert run_virtually(main()) == ([1.0, 1.5, 1000.0] if between == 0 else [1.5, 2.0, 1000.0])
