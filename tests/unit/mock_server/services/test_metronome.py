"""Waits end on time whatever the others do, and a wait given up costs nobody anything."""

import asyncio
import random

from mock_server.services.consoul.metronome import Metronome
from tests.unit.mock_server.virtual_time import read_clock, run_virtually

TICK_S = 0.001


def test_every_wait_ends_within_a_millisecond_of_its_moment() -> None:
    async def main() -> list[float]:
        metronome, late_s = Metronome(read_clock), []

        async def wait(begin_s: float, deadline_s: float) -> None:
            await asyncio.sleep(begin_s)
            await metronome.sleep_until(deadline_s)
            late_s.append(read_clock() - deadline_s)

        rng = random.Random(1)
        begins = [rng.random() for _ in range(500)]
        await asyncio.gather(*(wait(begin_s, begin_s + 2 * rng.random()) for begin_s in begins))
        return late_s

    late_s = run_virtually(main())
    assert len(late_s) == 500
    assert min(late_s) >= -TICK_S / 2
    assert max(late_s) <= TICK_S + 1e-9


def test_who_is_late_lets_the_others_go_on_and_is_not_held_up() -> None:
    async def main() -> list[float]:
        metronome, woken_s = Metronome(read_clock), []
        await asyncio.sleep(5.0005)
        for _ in range(3):
            await metronome.sleep_until(1.0)
            woken_s.append(read_clock())
        return woken_s

    woken_s = run_virtually(main())
    assert 5.0005 < woken_s[0] < woken_s[1] < woken_s[2] <= 5.0035


def test_waits_given_up_wake_nobody() -> None:
    async def main() -> float:
        metronome = Metronome(read_clock)
        given_up = [asyncio.ensure_future(metronome.sleep_until(1.0)) for _ in range(3)]
        kept = metronome.sleep_until(1.0)
        for future in given_up:
            future.cancel()
        await kept
        assert all(future.cancelled() for future in given_up)
        return read_clock()

    assert 1.0 <= run_virtually(main()) <= 1.0 + TICK_S + 1e-9
